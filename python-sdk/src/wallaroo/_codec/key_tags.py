"""Keys of further types: sent as tagged tuples, and given back as the application gave them. See spec/protocol.md.

A tag is the first element of a tuple and begins with ``!``. A tuple of the application that begins so is tagged too, so
no two different keys are sent alike. Values of subclasses of ``str``, ``bytes`` and ``int``, and numpy's integers, are
sent as the plain value and not given back as they were. Modules are imported when they are needed: a worker starts
faster.
"""

from __future__ import annotations

import sys
from datetime import date, datetime, timezone
from enum import Enum
from functools import reduce
from typing import Any, Callable

from wallaroo._codec.keys import DEEPEST_TUPLE

_MARK = "!"
_BOOL, _UUID, _DATE, _DATETIME, _ENUM, _NAMEDTUPLE, _TUPLE = (
    _MARK + name for name in ("bool", "uuid", "date", "datetime", "enum", "namedtuple", "tuple")
)


def tagged(key: Any, depth: int = 0) -> Any:
    """Return ``key`` as it is sent; unchanged if it is of no type that can be a key.

    Raises:
        ValueError: It is of such a type, but other workers could not make it again.

    Example:
        >>> tagged(True), tagged(("a", date(2024, 5, 1))), tagged(7)
        (('!bool', 1), ('a', ('!date', '2024-05-01')), 7)
    """
    kind = type(key)
    if kind in _PLAIN or depth > DEEPEST_TUPLE:
        return key
    if kind is tuple:
        items = [tagged(item, depth + 1) for item in key]
        return (_TUPLE, *items) if _begins_with_tag(items) else tuple(items)
    if kind in _TAGGERS:
        return _TAGGERS[kind](key)
    if isinstance(key, Enum):
        return _tagged_member(key)
    plain = _plain(key)
    if plain is not None:
        return plain
    if isinstance(key, tuple) and hasattr(kind, "_fields"):
        return (_NAMEDTUPLE, _path(kind), *(tagged(item, depth + 1) for item in key))
    if (kind.__module__, kind.__qualname__) == ("uuid", "UUID"):
        return _UUID, str(key)
    return key


def untagged(key: Any) -> Any:
    """Return a key as the application gave it.

    Raises:
        LookupError: A class that it names is not there any more.

    Example:
        >>> untagged(("!bool", 1)), untagged(("a", ("!date", "2024-05-01")))
        (True, ('a', datetime.date(2024, 5, 1)))
    """
    if key.__class__ is not tuple:
        return key
    if _begins_with_tag(key) and key[0] in _MAKERS:
        return _MAKERS[key[0]](*key[1:])
    return tuple(map(untagged, key))


_PLAIN = frozenset((str, bytes, int))


def _begins_with_tag(items: Any) -> bool:
    return bool(items) and items[0].__class__ is str and items[0].startswith(_MARK)


def _plain(key: Any) -> Any:
    """Return the plain value of a subclass of a plain type, or of a numpy integer; ``None`` for anything else."""
    if isinstance(key, str):
        return str.__str__(key)
    if isinstance(key, int):
        return int.__int__(key)
    if isinstance(key, bytes):
        return bytes.__getitem__(key, slice(None))
    if any(base.__module__ == "numpy" and base.__name__ == "integer" for base in type(key).__mro__):
        return int(key)
    return None


def _tagged_datetime(key: datetime) -> tuple[Any, ...]:
    zone, name = key.tzinfo, ""
    if zone is not None and type(zone) is not timezone:
        name = getattr(zone, "key", None) or ""
        if type(zone).__name__ != "ZoneInfo" or not name:
            raise ValueError(
                f"{key!r} has a time zone that is no ZoneInfo of a name and no datetime.timezone; convert it with "
                ".astimezone(timezone.utc)"
            )
        key = key.replace(tzinfo=None)
    return _DATETIME, key.isoformat(), name, key.fold


def _datetime(text: str, zone: str, fold: int) -> datetime:
    made = datetime.fromisoformat(text).replace(fold=fold)
    if not zone:
        return made
    from zoneinfo import ZoneInfo

    return made.replace(tzinfo=ZoneInfo(zone))


def _tagged_member(key: Enum) -> tuple[Any, ...]:
    kind, name = type(key), key._name_
    if not isinstance(name, str) or kind.__members__.get(name) is not key:
        raise ValueError(f"{key!r} is no member with a name; use its value for a key")
    return _ENUM, _path(kind), name


def _member(path: str, name: str) -> Any:
    return _class_at(path)[name]


def _named_tuple(path: str, *items: Any) -> Any:
    return _class_at(path)._make(map(untagged, items))


def _uuid(text: str) -> Any:
    from uuid import UUID

    return UUID(text)


_TAGGERS: dict[type, Callable[[Any], Any]] = {
    bool: lambda key: (_BOOL, int(key)),
    date: lambda key: (_DATE, key.isoformat()),
    datetime: _tagged_datetime,
}
_MAKERS: dict[str, Callable[..., Any]] = {
    _BOOL: bool,
    _UUID: _uuid,
    _DATE: date.fromisoformat,
    _DATETIME: _datetime,
    _ENUM: _member,
    _NAMEDTUPLE: _named_tuple,
    _TUPLE: lambda *items: tuple(map(untagged, items)),
}

_paths: dict[type, str] = {}
_classes: dict[str, Any] = {}


def _path(kind: type) -> str:
    """Return where a class is, for other workers to find it.

    Raises:
        ValueError: It is not found there.
    """
    path = _paths.get(kind)
    if path is None:
        path = f"{kind.__module__}:{kind.__qualname__}"
        try:
            found = _class_at(path)
        except LookupError:
            found = None
        if found is not kind:
            raise ValueError(f"a key is of class {kind.__qualname__}, which is not found in module {kind.__module__}")
        _paths[kind] = path
    return path


def _class_at(path: str) -> Any:
    found = _classes.get(path)
    if found is None:
        module, _, names = path.partition(":")
        try:
            __import__(module)
            found = reduce(getattr, names.split("."), sys.modules[module])
        except (ImportError, AttributeError) as error:
            raise LookupError(f"the class {names} of a key is not found in module {module}: {error}") from error
        _classes[path] = found
    return found

"""Reads and sets the attributes of plain objects in a way that keeps the objects fast.

CPython 3.11 and 3.12 keep attributes in the object itself until somebody asks for its ``__dict__``, as pickling does.
From then on every access goes through that dict, which makes steps that use the object slower
(spec/performance.md). So this module reads attributes one by one where it can know all their names, and sets them one
by one. Their order is then that of the first object of the class.

An object is plain here when pickling would store nothing but its class's name and its ``__dict__``.
"""

from __future__ import annotations

import copyreg
import gc
import pickle
import sys
from io import BytesIO
from itertools import chain
from operator import attrgetter
from types import GetSetDescriptorType
from typing import Any, Callable, NamedTuple

ASKING_SLOWS = sys.implementation.name == "cpython" and (3, 11) <= sys.version_info[:2] <= (3, 12)
"""Whether it makes an object slower to ask for its ``__dict__``. From 3.13 on dict and object share what they hold."""

# What takes part in pickling, or stands between an object and its ``__dict__``.
_OWN_WAYS = [
    "__reduce__",
    "__reduce_ex__",
    "__getstate__",
    "__setstate__",
    "__getnewargs__",
    "__getnewargs_ex__",
    "__new__",
    "__getattribute__",
    "__class__",
    "__slots__",
]


Give = Callable[[Any, dict[str, Any]], None]


def is_plain(kind: type) -> bool:
    """Whether objects of class ``kind`` consist of their class and their ``__dict__`` alone."""
    *own, top = kind.__mro__
    return (
        top is object
        and all(type(base) is type and base.__flags__ & _HEAP_TYPE and _size(base) == _size(_AnyClass) for base in own)
        and not any(way in vars(base) for base in own for way in _OWN_WAYS)
        and all(isinstance(vars(base).get("__dict__", _DICT_OF_A_CLASS), GetSetDescriptorType) for base in own)
        and kind not in copyreg.dispatch_table
    )


class _AnyClass:
    pass


def _size(kind: type) -> int:
    """Return what CPython's objects of a class take; more than those of another have something a map does not show."""
    return getattr(kind, "__basicsize__", 0)


_HEAP_TYPE = 1 << 9
_DICT_OF_A_CLASS = vars(_AnyClass)["__dict__"]


def dicts(objects: list[Any]) -> list[dict[str, Any]]:
    """Return the ``__dict__`` of each of ``objects``."""
    return list(map(_dict, objects))


_dict: Callable[[Any], dict[str, Any]] = attrgetter("__dict__")


def whole(kind: type) -> Give:
    """Return what gives an object of a plain class its ``__dict__``, whatever its ``__setattr__`` does."""
    descriptor = next(vars(base)["__dict__"] for base in kind.__mro__ if "__dict__" in vars(base))
    return descriptor.__set__  # type: ignore[no-any-return]


def one_by_one(kind: type) -> Give:
    """Return what gives an object of a plain class its attributes so that they stay in it, where that makes it faster.

    A property would be asked to take its own; so a class that has any gets the ``__dict__``.
    """
    own = [vars(base).items() for base in kind.__mro__[:-1]]
    described = (value for name, value in chain.from_iterable(own) if name not in ("__dict__", "__weakref__"))
    has_properties = any(hasattr(type(value), "__set__") for value in described)
    return _give if ASKING_SLOWS and not has_properties else whole(kind)


def _give(plain: Any, attributes: dict[str, Any]) -> None:
    try:
        for name, value in attributes.items():
            object.__setattr__(plain, name, value)
    except TypeError:  # A name that is no str.
        vars(plain).update(attributes)


def give_as_pickle(made: Any, attributes: dict[str, Any]) -> None:
    """Give an object its attributes as unpickling does. A pickle has no state to give if there are none.

    A class that has slots since then gets them by name, too, which pickle would refuse.
    """
    if not attributes:
        return
    set_state = getattr(made, "__setstate__", None)
    if set_state is not None:
        set_state(attributes)
    elif hasattr(made, "__dict__"):
        vars(made).update(attributes)
    else:
        for name, value in attributes.items():
            object.__setattr__(made, name, value)


def given(made: Any, attributes: dict[str, Any]) -> None:
    """Give an object the attributes it had when :meth:`Attributes.reduce` took it apart: pickles call this by its name.

    Its class may be newer than the pickle, and no longer plain.
    """
    kind = type(made)
    give = _gives.get(kind)
    if give is None:
        give = _gives[kind] = one_by_one(kind) if is_plain(kind) else give_as_pickle
    give(made, attributes)


_gives: dict[type, Give] = {}


class _Known(NamedTuple):
    """What most objects of a class have, by the first one that was seen."""

    names: dict[str, None]
    get: Callable[[Any], Any]


class Attributes:
    """Reads the attributes of plain objects. The first object of a class is asked for its ``__dict__``, to learn names.

    Example:
        >>> class Total:
        ...     def __init__(self, count):
        ...         self.count = count
        >>> Attributes().of([Total(1), Total(2)])
        [{'count': 1}, {'count': 2}]
    """

    def __init__(self) -> None:
        # ``None``: objects of the class have to be asked.
        self._known: dict[type, _Known | None] = {}

    def of(self, objects: list[Any]) -> list[dict[str, Any]]:
        """Return what is in the ``__dict__`` of each of ``objects``: that dict, or a copy."""
        if not ASKING_SLOWS:
            return dicts(objects)
        known = self._known.get(type(objects[0])) if len(set(map(type, objects))) == 1 else None
        if known is None or len(known.names) == 1:
            return list(map(self._of_one, objects))
        # The same as below for one object, by columns.
        names, get = known
        try:
            values = list(map(get, objects))
        except AttributeError:
            return list(map(self._of_one, objects))
        referents = map(len, map(gc.get_referents, objects))
        if_all = len(names) + 1
        return [
            dict(zip(names, of_one)) if count == if_all else _dict(each)
            for each, of_one, count in zip(objects, values, referents)
        ]

    def reduce(self, plain: Any) -> tuple[Any, ...]:
        """Return what pickle's ``__reduce_ex__`` would, but have attributes given one by one if they are known ones."""
        kind = type(plain)
        attributes = self._of_one(plain)
        known = self._known.get(kind)
        if known is not None and attributes.keys() <= known.names.keys():
            return copyreg.__newobj__, (kind,), attributes, None, None, given  # type: ignore[attr-defined]
        return copyreg.__newobj__, (kind,), attributes or None  # type: ignore[attr-defined]

    def _of_one(self, plain: Any) -> dict[str, Any]:
        """Return what is in the ``__dict__`` of ``plain``, without asking for it where its names are known.

        If it has the known names, and refers to as many values and its class, then it has no others. One that was asked
        before refers to its dict and its class.
        """
        kind = type(plain)
        known = self._known.get(kind)
        if known is None:
            if kind not in self._known:
                self._learn(kind, _dict(plain))
            return _dict(plain)
        names, get = known
        try:
            values = get(plain)
        except AttributeError:
            return _dict(plain)
        referents = gc.get_referents(plain)
        if len(referents) != len(names) + 1:
            return _dict(plain)
        if len(names) > 1:
            return dict(zip(names, values))
        (name,) = names
        if referents[0] is not values or (type(values) is dict and values.get(name) is values):
            return _dict(plain)
        return {name: values}

    def _learn(self, kind: type, attributes: dict[str, Any]) -> None:
        if not attributes:
            return  # The next object may show it.
        # A name that is in the class, too, can be read of an object that does not have it.
        special = (*attributes, "__getattr__", "__setattr__")
        in_class = any(name in vars(base) for base in kind.__mro__[:-1] for name in special)
        readable = not in_class and all(type(name) is str and "." not in name for name in attributes)
        self._known[kind] = _Known(dict.fromkeys(attributes), attrgetter(*attributes)) if readable else None


class StatePickler(dict[type, Callable[[Any], Any]]):
    """Pickles objects that go on being used. A dispatch table: how objects of each class are taken apart.

    Example:
        >>> pickle.loads(StatePickler(5).dumps({"a": [1, 2]}))
        {'a': [1, 2]}
    """

    def __init__(self, protocol: int) -> None:
        super().__init__()
        self._protocol = protocol
        self._attributes = Attributes()

    def dumps(self, thing: Any) -> bytes:
        """Return ``thing`` pickled.

        Raises:
            Exception: What the user's pickling raised.
        """
        if not ASKING_SLOWS:
            return pickle.dumps(thing, self._protocol)
        buffer = BytesIO()
        pickler = pickle.Pickler(buffer, self._protocol)
        pickler.dispatch_table = self
        pickler.dump(thing)
        return buffer.getvalue()

    def __missing__(self, kind: type) -> Callable[[Any], Any]:
        if issubclass(kind, type):
            raise KeyError(kind)  # A class is pickled by its name.
        reduce = copyreg.dispatch_table.get(kind)
        if reduce is None:
            reduce = self._attributes.reduce if is_plain(kind) else self._reduce
        self[kind] = reduce
        return reduce

    def _reduce(self, thing: Any) -> Any:
        """Take an object apart as pickle does without a dispatch table."""
        return thing.__reduce_ex__(self._protocol)

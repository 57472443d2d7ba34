"""Whether code can go on with a state that older code made: what a new state has, the old one must have too.

Nothing of the user's is called but what pickling calls, and ``__getstate__`` may leave attributes out on purpose: so a
new state is pickled and loaded before it is compared.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator
from types import MemberDescriptorType
from typing import Any

from wallaroo._codec.copies import PICKLE_PROTOCOL
from wallaroo.worker._traceback import class_name

_MOST_OBJECTS = 10_000
"""Of one state. The rest of a larger one is not looked at."""

_CONTAINERS = (list, tuple, set, frozenset)
_OWN_WAYS = ("__setstate__", "__getattr__", "__getattribute__")
"""What a class may fill attributes with that are not there."""

_UNSET = object()


def as_loaded(new: Any) -> Any:
    """Return a new state as it would be loaded from its snapshot, or as it is if it cannot be pickled."""
    try:
        return pickle.loads(pickle.dumps(new, PICKLE_PROTOCOL))
    except BaseException:  # noqa: BLE001 - the user's pickling; and a state need not be picklable
        return new


def problem_of(state: Any, new: Any) -> str | None:
    """Say what ``state`` lacks, as the end of a sentence about it; ``None`` if the present code can go on with it.

    Args:
        state: Loaded from a snapshot.
        new: A state that the present code made, :func:`as_loaded`.
    """
    try:
        return _other_type(state, new) or next(_unfilled(state, new), None) or next(_unfilled_fields(state), None)
    except BaseException:  # noqa: BLE001 - the user's classes: it says nothing about the snapshot
        return None


def _other_type(state: Any, new: Any) -> str | None:
    if isinstance(state, type(new)) or isinstance(new, type(state)):
        return None
    kind, new_kind = class_name(type(state)), class_name(type(new))
    return f"is of type {kind}, and a new one of type {new_kind}: no step can change that, so give the state a new name"


def _unfilled(state: Any, new: Any) -> Iterator[str]:
    """Compare a state with a new one, attribute by attribute, as far as both have the same."""
    waiting = [(state, new)]
    seen: set[int] = set()
    while waiting and len(seen) < _MOST_OBJECTS:
        old, made = waiting.pop()
        kind = type(old)
        if kind is not type(made) or id(old) in seen:
            continue
        seen.add(id(old))
        there, wanted = _attributes(old), _attributes(made)
        for name, value in wanted.items():
            if name in there:
                waiting.append((there[name], value))
            elif not _has_own_way(kind) and not _in_class(kind, name):
                yield _lacks(kind, name, within=old is not state)


def _unfilled_fields(state: Any) -> Iterator[str]:
    """Look for dataclasses that lack a field anywhere in a state."""
    waiting, seen = [state], {id(state)}
    while waiting:
        each = waiting.pop()
        kind = type(each)
        there = _attributes(each)
        for name in _required_fields(kind):
            if name not in there and not _has_own_way(kind) and not _in_class(kind, name):
                yield _lacks(kind, name, within=each is not state)
        for part in _parts(each, there):
            if len(seen) < _MOST_OBJECTS and id(part) not in seen:
                seen.add(id(part))
                waiting.append(part)


def _required_fields(kind: type) -> Iterator[str]:
    """Return the fields of a dataclass that its ``__init__`` gives values to."""
    for name, field in getattr(kind, "__dataclass_fields__", {}).items():
        if field.init and field._field_type.name == "_FIELD":
            yield name


def _parts(thing: Any, attributes: dict[str, Any]) -> Iterable[Any]:
    if isinstance(thing, dict):
        return [*dict.values(thing), *attributes.values()]
    if isinstance(thing, _CONTAINERS):
        return [*thing, *attributes.values()]
    return attributes.values()


def _attributes(thing: Any) -> dict[str, Any]:
    """Return what an object of a class of the user's has in its ``__dict__`` and its slots."""
    kind = type(thing)
    if kind.__module__ == "builtins" or isinstance(thing, type):
        return {}
    found = dict(getattr(thing, "__dict__", ()))
    for base in kind.__mro__:
        for name, member in vars(base).items():
            if isinstance(member, MemberDescriptorType):
                value = getattr(thing, name, _UNSET)
                if value is not _UNSET:
                    found[name] = value
    return found


def _has_own_way(kind: type) -> bool:
    return any(name in vars(base) for base in kind.__mro__[:-1] for name in _OWN_WAYS)


def _in_class(kind: type, name: str) -> bool:
    """Whether an object without the attribute has one of its class."""
    found = next((vars(base)[name] for base in kind.__mro__ if name in vars(base)), _UNSET)
    return found is not _UNSET and not isinstance(found, MemberDescriptorType)


def _lacks(kind: type, name: str, *, within: bool) -> str:
    what = f"holds a {class_name(kind)} that has" if within else "has"
    whose = "one" if within else class_name(kind)
    return (
        f"{what} no attribute {name}, which a new {whose} has: give the class a default, as {name} = None, or define"
        " __setstate__ in it"
    )

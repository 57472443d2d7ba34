"""Plain objects as MessagePack: the name of the class and a map of the attributes, without a pickle.

An object is plain when pickling would do nothing but store its class's name and its ``__dict__``, and every attribute
is exactly a str, bytes, int, float, bool or None. Such a group is
written and read several times faster than a pickle.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable
from itertools import accumulate, chain
from typing import Any, Callable

import msgpack

from wallaroo._codec.attributes import Attributes, Give, dicts, give_as_pickle, is_plain, one_by_one, whole

SCALAR_TYPES: frozenset[type] = frozenset((str, bytes, int, float, bool, type(None)))


def _name(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _find(name: str) -> Any:
    """Return the class of that name. Its module is imported if it is not yet."""
    module, _, path = name.partition(":")
    __import__(module)
    found: Any = sys.modules[module]
    for part in path.split("."):
        found = getattr(found, part)
    return found


class _Names(dict[type, "str | None"]):
    """The name of each class of plain objects, ``None`` for other classes."""

    def __missing__(self, kind: type) -> str | None:
        name = None
        if is_plain(kind):
            try:
                name = _name(kind) if _find(_name(kind)) is kind else None
            except Exception:  # noqa: BLE001 - a class that cannot be found by its name
                name = None
        self[kind] = name
        return name


class _Classes(dict[str, "tuple[Callable[[type], Any], type, Give]"]):
    """What makes an object of the class of each name: ``__new__``, the class, and what gives it its attributes.

    The class may no longer be plain: the object may have been encoded by older code. It is then made as pickle would.
    """

    def __init__(self, give: Callable[[type], Give]) -> None:
        super().__init__()
        self._give = give

    def __missing__(self, name: str) -> tuple[Callable[[type], Any], type, Give]:
        kind = _find(name)
        if type(kind) is type and is_plain(kind):
            self[name] = object.__new__, kind, self._give(kind)
        else:
            self[name] = kind.__new__, kind, give_as_pickle
        return self[name]


class PlainObjects:
    """Encodes and decodes lists of plain objects: flat ``class, attributes``, two elements an object.

    Args:
        lasting: Whether the objects are used afterwards, so that they should stay fast.

    Example:
        >>> objects = PlainObjects()
        >>> objects.are([LookupError, str])
        False
    """

    def __init__(self, *, lasting: bool = False) -> None:
        self._names = _Names()
        self._classes = _Classes(one_by_one if lasting else whole)
        self._attributes_of = Attributes().of if lasting else dicts
        # Strict: attributes of other types than those below are an error.
        self._pack = msgpack.Packer(use_bin_type=True, strict_types=True).pack

    def are(self, types: Iterable[type]) -> bool:
        """Whether all ``types`` are classes of plain objects."""
        names = self._names
        return all(names[kind] is not None for kind in types)

    def encode(self, groups: Collection[list[Any]]) -> list[bytes] | None:
        """Encode each list of ``groups``; all values are objects of classes that :meth:`are` plain.

        By columns: only packing is a call for each list.

        Returns:
            The bytes of each, or ``None`` when some object has attributes that are no scalars, or too large.
        """
        values = list(chain.from_iterable(groups))
        attributes = self._attributes_of(values)
        if not SCALAR_TYPES.issuperset(map(type, chain.from_iterable(map(dict.values, attributes)))):
            return None
        flat: list[Any] = [None] * (2 * len(values))
        flat[0::2] = map(self._names.__getitem__, map(type, values))
        flat[1::2] = attributes
        ends = [2 * end for end in accumulate(map(len, groups))]
        pack = self._pack
        try:
            return [pack(flat[start:end]) for start, end in zip([0, *ends], ends)]
        except (OverflowError, UnicodeEncodeError, TypeError):
            # An int beyond 64 bits, a str with a lone surrogate, or an attribute whose name is no str.
            return None

    def decode(self, flat: Iterable[Any]) -> list[Any]:
        """Return the objects of encoded lists whose elements are given unpacked.

        Raises:
            Exception: A class cannot be found, or there is something else in them.
        """
        classes = self._classes
        objects: list[Any] = []
        append = objects.append
        fields = iter(flat)
        for name, attributes in zip(fields, fields):
            new, kind, give = classes[name]
            made = new(kind)
            give(made, attributes)
            append(made)
        return objects

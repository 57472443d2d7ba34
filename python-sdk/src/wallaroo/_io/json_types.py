"""From what JSON has to values of the types that a dataclass names.

A converter is made once for each annotation. It checks what it is given: a message of another shape is an error of that
message, which says where in it.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import types
import typing
import uuid
from typing import Any, Callable, Union

from wallaroo._errors import WallarooParameterError

Converter = Callable[[Any], Any]

_KNOWN = (
    "str, int, float, bool, None, Any, Optional, Union, Literal, list, tuple, set, dict with str keys, datetime, date, "
    "time, UUID, Decimal, Enum and dataclasses of these"
)
_UNIONS = (Union, getattr(types, "UnionType", Union))


def is_dataclass(kind: Any) -> bool:
    """Whether ``kind`` is a dataclass, and not an object of one."""
    return isinstance(kind, type) and dataclasses.is_dataclass(kind)


class MismatchError(ValueError):
    """A value is not of the type that its place has.

    Args:
        path: Where in the message, as ``.items[2].price``.
        problem: What is wrong with it.
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path = path
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.path.lstrip('.')}: {self.problem}" if self.path else self.problem

    def below(self, place: str) -> MismatchError:
        """Return the same error as the message that holds ``place`` sees it."""
        return MismatchError(place + self.path, self.problem)


def converter_of(where: str, kind: Any) -> Converter:
    """Return a function that makes a value of type ``kind`` of what JSON has.

    Args:
        where: For errors: the codec, and the field that has the type.
        kind: A class or an annotation.

    Raises:
        WallarooParameterError: There is no such conversion.
    """
    return _Converters().of(where, kind)


class _Converters:
    """Makes converters; one for each dataclass, which may hold itself."""

    def __init__(self) -> None:
        self._made: dict[type, Converter] = {}

    def of(self, where: str, kind: Any) -> Converter:
        if kind is Any or kind is object:
            return _same
        if kind is None:
            kind = type(None)
        origin, args = typing.get_origin(kind), typing.get_args(kind)
        if origin in _UNIONS:
            return _union([self.of(where, member) for member in args], _shown(kind))
        if origin is typing.Literal:
            return _one_of(args)
        if origin is getattr(typing, "Annotated", None):
            return self.of(where, args[0])
        container = self._container(where, origin or kind, args)
        if container is not None:
            return container
        if isinstance(kind, type):
            if dataclasses.is_dataclass(kind):
                return self._dataclass(where, kind)
            if issubclass(kind, enum.Enum):
                return _parsed(kind, kind.__name__, (str, int, float))
            if kind in _SCALARS:
                return _SCALARS[kind]
        raise WallarooParameterError(
            f"{where} is {_shown(kind)}, which JSON cannot be converted to", hint=f"known are {_KNOWN}"
        )

    def _container(self, where: str, kind: Any, args: tuple[Any, ...]) -> Converter | None:
        if kind is dict:
            key, value = args or (str, Any)
            if key not in (str, Any):
                raise WallarooParameterError(
                    f"{where} is a dict with keys of {_shown(key)}, and keys in JSON are str", hint="use dict[str, ...]"
                )
            return _dict_of(self.of(where, value))
        if kind in (list, set, frozenset):
            return _list_of(self.of(where, *args) if args else _same, kind)
        if kind is tuple:
            if not args or args[1:] == (...,):
                return _list_of(self.of(where, args[0]) if args else _same, tuple)
            return _tuple_of([self.of(where, arg) for arg in args])
        return None

    def _dataclass(self, where: str, kind: Any) -> Converter:
        if kind in self._made:
            return self._made[kind]
        fields: list[tuple[str, Converter, bool]] = []
        self._made[kind] = convert = _dataclass_of(kind, fields)
        try:
            annotations = typing.get_type_hints(kind)
        except (NameError, AttributeError, TypeError, SyntaxError) as error:
            raise WallarooParameterError(
                f"{where}: the annotations of {kind.__name__} cannot be read: {error}",
                hint="define the types at the top of a module; Python 3.9 has Optional[int], and no int | None",
            ) from None
        for field in dataclasses.fields(kind):
            if field.init:
                missing = dataclasses.MISSING
                required = field.default is missing and field.default_factory is missing
                converter = self.of(f"{where}: {kind.__name__}.{field.name}", annotations[field.name])
                fields.append((field.name, converter, required))
        return convert


def _shown(kind: Any) -> str:
    return kind.__name__ if type(kind) is type else str(kind).replace("typing.", "")


def _same(value: Any) -> Any:
    return value


def _mismatch(expected: str, value: Any) -> MismatchError:
    text = repr(value)
    return MismatchError("", f"expected {expected}, got {text if len(text) <= 80 else text[:80] + '…'}")


def _exactly(kind: type) -> Converter:
    name = kind.__name__

    def check(value: Any) -> Any:
        if value.__class__ is not kind:
            raise _mismatch("null" if value is not None and kind is type(None) else name, value)
        return value

    return check


def _float(value: Any) -> float:
    if value.__class__ is not float and value.__class__ is not int:
        raise _mismatch("float", value)
    try:
        return float(value)
    except OverflowError:
        raise _mismatch("float", value) from None


def _parsed(parse: Callable[[Any], Any], name: str, kinds: tuple[type, ...] = (str,)) -> Converter:
    def convert(value: Any) -> Any:
        if value.__class__ not in kinds:
            raise _mismatch(name, value)
        try:
            return parse(value)
        except (ValueError, ArithmeticError):
            raise _mismatch(name, value) from None

    return convert


def _datetime(text: str) -> datetime.datetime:
    # Before Python 3.11 fromisoformat does not know the Z.
    return datetime.datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)


def _decimal(value: Any) -> decimal.Decimal:
    return decimal.Decimal(str(value))


_SCALARS: dict[Any, Converter] = {
    **{kind: _exactly(kind) for kind in (str, int, bool, type(None))},
    float: _float,
    datetime.datetime: _parsed(_datetime, "datetime"),
    datetime.date: _parsed(datetime.date.fromisoformat, "date"),
    datetime.time: _parsed(datetime.time.fromisoformat, "time"),
    uuid.UUID: _parsed(uuid.UUID, "UUID"),
    decimal.Decimal: _parsed(_decimal, "Decimal", (str, int, float)),
}


def _union(members: list[Converter], name: str) -> Converter:
    def convert(value: Any) -> Any:
        for member in members:
            try:
                return member(value)
            except MismatchError:
                pass
        raise _mismatch(name, value)

    return convert


def _one_of(allowed: tuple[Any, ...]) -> Converter:
    def check(value: Any) -> Any:
        for each in allowed:
            if value == each and value.__class__ is each.__class__:
                return value
        raise _mismatch("one of " + ", ".join(map(repr, allowed)), value)

    return check


def _list_of(item: Converter, kind: Any) -> Converter:
    def convert(value: Any) -> Any:
        if value.__class__ is not list:
            raise _mismatch("list", value)
        return kind(_converted(value, [item] * len(value)))

    return convert


def _tuple_of(items: list[Converter]) -> Converter:
    def convert(value: Any) -> Any:
        if value.__class__ is not list or len(value) != len(items):
            raise _mismatch(f"a list of {len(items)}", value)
        return tuple(_converted(value, items))

    return convert


def _converted(values: list[Any], converters: list[Converter]) -> list[Any]:
    made: list[Any] = []
    try:
        for value, convert in zip(values, converters):
            made.append(convert(value))
    except MismatchError as error:
        raise error.below(f"[{len(made)}]") from None
    return made


def _dict_of(item: Converter) -> Converter:
    def convert(value: Any) -> Any:
        if value.__class__ is not dict:
            raise _mismatch("dict", value)
        if item is _same:
            return value
        name = ""
        try:
            made = {}
            for name, each in value.items():
                made[name] = item(each)
        except MismatchError as error:
            raise error.below(f"[{name!r}]") from None
        return made

    return convert


def _dataclass_of(kind: Any, fields: list[tuple[str, Converter, bool]]) -> Converter:
    def convert(value: Any) -> Any:
        if value.__class__ is not dict:
            raise _mismatch(f"an object with the fields of {kind.__name__}", value)
        arguments = {}
        for name, field, required in fields:
            if name in value:
                try:
                    arguments[name] = field(value[name])
                except MismatchError as error:
                    raise error.below(f".{name}") from None
            elif required:
                raise MismatchError("", f"field {name!r} of {kind.__name__} is missing")
        return kind(**arguments)

    return convert

"""The codec of JSON, one value a line."""

from __future__ import annotations

import sys
from typing import Any, Callable, TypeVar, get_origin, overload

from wallaroo._errors import WallarooParameterError
from wallaroo._io.codecs import Codec, LineCodec, Payload, refused
from wallaroo._steps.objects import shown_type

T = TypeVar("T")

_BOM = b"\xef\xbb\xbf"

_Encode = Callable[[Any], Payload]
_Decode = Callable[[bytes], Any]


@overload
def json_lines(type: None = None) -> Codec[Any]: ...
@overload
def json_lines(type: type[dict[Any, Any]]) -> Codec[dict[str, Any]]: ...
@overload
def json_lines(type: type[T]) -> Codec[T]: ...
def json_lines(type: Any = None) -> Codec[Any]:
    r"""Return the codec of JSON in lines of UTF-8: one value a line (JSON Lines, NDJSON).

    Blank lines and a line with ``null`` are left out. A line that is not JSON, or has another shape than ``type``,
    becomes a dead letter. Fields that ``type`` does not have are ignored when read.

    Values that JSON does not have are written as follows: a tuple or set as a list, a dataclass or model as an object,
    an ``Enum`` as its value, a ``datetime``, ``date`` or ``time`` in ISO 8601, a ``UUID`` or ``Decimal`` as text, numpy
    numbers and arrays as numbers and lists. A float that is not finite is an error.

    Args:
        type: The type of the messages: ``dict`` or ``list``, also as ``dict[str, int]``; a dataclass, whose fields may
            be of the same types, ``Optional``, ``Union``, ``Literal``, tuples and sets; a pydantic 2 model, or a
            ``msgspec.Struct``. ``None``: messages are what JSON has, and any value can be written.

    Raises:
        WallarooParameterError: ``type`` is none of these, or a field of it has a type that JSON cannot be converted to.

    Example:
        >>> import wallaroo
        >>> wallaroo.json_lines().encode({"word": "tea", "counts": (1, 2)})
        '{"word":"tea","counts":[1,2]}\n'
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class Order:
        ...     item: str
        ...     price: float = 0.0
        >>> orders = wallaroo.json_lines(Order)
        >>> orders.decode(b'{"item": "tea", "price": 3}')
        Order(item='tea', price=3.0)
        >>> orders.encode(Order("tea"))
        '{"item":"tea","price":0.0}\n'
        >>> orders.decode(b'{"item": "tea", "price": "three"}')
        Traceback (most recent call last):
        ValueError: json_lines(Order): price: expected float, got 'three'
    """
    kind = get_origin(type) or type
    name = "json_lines()" if type is None else f"json_lines({_shown(type)})"
    decode, payload = _functions(name, type)
    checked = payload if type is None else _checked(name, kind, payload)
    decode = _without_blanks(decode)
    return LineCodec(name, decode, _with_end(checked), decode, checked)


def _functions(name: str, kind: Any) -> tuple[_Decode, _Encode]:
    # Imported here because it takes 10 ms, a sixth of a worker's start, and most applications have no JSON.
    from wallaroo._io.json_types import MismatchError, converter_of, is_dataclass
    from wallaroo._io.json_values import dump, load

    if kind is None:
        return load, dump
    if isinstance(kind, type) and hasattr(kind, "__pydantic_validator__"):
        return _pydantic(kind)
    if isinstance(kind, type) and hasattr(kind, "__struct_fields__"):
        return _msgspec(kind)
    if (get_origin(kind) or kind) in (dict, list) or is_dataclass(kind):
        convert = converter_of(name, kind)

        def decode(bs: bytes) -> Any:
            try:
                return convert(load(bs))
            except MismatchError as error:
                raise ValueError(f"{name}: {error}") from None

        return decode, dump
    raise WallarooParameterError(
        f"{name}: type is {shown_type(kind)}, not dict, list, a dataclass, a pydantic 2 model or a msgspec.Struct",
        hint="leave it out to get what JSON has: dicts, lists, str and numbers",
    )


def _pydantic(kind: Any) -> tuple[_Decode, _Encode]:
    # Public for models and for pydantic's dataclasses alike. The class has been made, so pydantic is there.
    adapter = sys.modules["pydantic"].TypeAdapter(kind)

    def dump(data: Any) -> bytes:
        # By alias, since that is how fields are named when read.
        return adapter.dump_json(data, by_alias=True)  # type: ignore[no-any-return]

    return adapter.validate_json, dump


def _msgspec(kind: Any) -> tuple[_Decode, _Encode]:
    msgspec_json = sys.modules["msgspec"].json
    return msgspec_json.Decoder(kind).decode, msgspec_json.Encoder().encode


def _without_blanks(decode: _Decode) -> _Decode:
    """Return ``decode``, for lines that may be blank or begin with a byte order mark: both are errors to it."""

    def decode_line(bs: bytes) -> Any:
        try:
            return decode(bs)
        except Exception:
            text = bs.strip()
            if not text or text == _BOM:
                return None
            if not text.startswith(_BOM):
                raise
        return decode(text[len(_BOM) :])

    return decode_line


def _shown(kind: Any) -> str:
    # A generic alias has the name of its class, and says more.
    return str(getattr(kind, "__name__", kind)) if get_origin(kind) is None else str(kind).replace("typing.", "")


def _checked(name: str, kind: Any, payload: _Encode) -> _Encode:
    def encode(data: Any) -> Payload:
        if not isinstance(data, kind):
            raise refused(name, kind.__name__, data)
        return payload(data)

    return encode


def _with_end(payload: _Encode) -> _Encode:
    def encode(data: Any) -> Payload:
        text = payload(data)
        return text + "\n" if isinstance(text, str) else text + b"\n"

    return encode

"""Fields by name: of a mapping the item, of any other object the attribute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable

from wallaroo._errors import WallarooParameterError


class _IsMapping(dict[type, bool]):
    """Whether objects of a class are mappings; the classes that were seen, since asking ``Mapping`` takes longer."""

    def __missing__(self, kind: type) -> bool:
        self[kind] = is_mapping = issubclass(kind, Mapping)
        return is_mapping


def field_getter(where: str, name: str) -> Callable[[Any], Any]:
    """Return a function from a message to its field of that name.

    Args:
        where: Where the name was given, for errors.
        name: A key of the messages if they are mappings, else an attribute.

    Raises:
        WallarooParameterError: The name is empty.

    Example:
        >>> from types import SimpleNamespace
        >>> user = field_getter("key_by('user')", "user")
        >>> user({"user": "ada"}), user(SimpleNamespace(user="eve"))
        ('ada', 'eve')
        >>> user({"name": "ada"})
        Traceback (most recent call last):
        LookupError: the message has no field 'user'; its fields are: 'name'
    """
    if not name:
        raise WallarooParameterError(f"{where}: the name of the field is empty", hint="give the name of a field")
    is_mapping, dictionary = _IsMapping(), dict

    def get(message: Any) -> Any:
        kind = message.__class__
        try:
            # Most mappings are: it takes 10 ns less than to look the class up.
            if kind is dictionary or is_mapping[kind]:
                return message[name]
            return getattr(message, name)
        except (KeyError, AttributeError):
            raise LookupError(_missing(message, name)) from None

    return get


def _missing(message: Any, name: str) -> str:
    known = list(message) if isinstance(message, Mapping) else _attributes(message)
    shown = ", ".join(map(repr, known[:_MOST_SHOWN])) + (", …" if len(known) > _MOST_SHOWN else "")
    what = "the message" if isinstance(message, Mapping) else f"a message of type {type(message).__name__}"
    return f"{what} has no field {name!r}; " + (f"its fields are: {shown}" if known else "it has no fields")


_MOST_SHOWN = 20


def _attributes(message: Any) -> list[str]:
    named = getattr(message, "_fields", None)
    return list(named) if isinstance(named, tuple) else list(getattr(message, "__dict__", ()))

"""Encoders: what a sink config accepts, and the decorator that makes an encoder from a function."""

from __future__ import annotations

from typing import Callable, Generic, Protocol, TypeVar, Union

from wallaroo._steps.decorated import Decorated

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)

Message = Union[str, bytes, None]
"""What an encoder returns: ``str`` is written as UTF-8, ``None`` not at all."""

M = TypeVar("M", bound=Message)
M_co = TypeVar("M_co", bound=Message, covariant=True)


class EncodesMessages(Protocol[T_contra]):
    """An object with ``encode(data)``, which turns a message into what the sink writes."""

    def encode(self, data: T_contra, /) -> Message:
        """Return the bytes or text to write."""
        ...


EncoderLike = Union[EncodesMessages[T], Callable[[], EncodesMessages[T]]]
"""Such an object, or a class of such objects."""


class Encoder(Decorated[Callable[[T_contra], M_co]], Generic[T_contra, M_co]):
    r"""A function decorated with :func:`encoder`: called like the function.

    Generic in what the function takes and what it returns. Name it to annotate a function that makes encoders.

    Example:
        >>> import wallaroo
        >>> def ending_in(end: str) -> wallaroo.Encoder[str, str]:
        ...     @wallaroo.encoder
        ...     def encode(data: str) -> str:
        ...         return data + end
        ...     return encode
        >>> ending_in("!")("tea")
        'tea!'
    """

    def __init__(self, function: Callable[[T_contra], M_co]) -> None:
        super().__init__("encoder", function, "data")
        # The function itself, and no method that calls it, nor a property, which pyright takes for no method.
        self.encode = function

    def __call__(self, data: T_contra, /) -> M_co:
        """Call the function."""
        return self.function(data)


def encoder(function: Callable[[T], M]) -> Encoder[T, M]:
    r"""Make an encoder of a function ``f(data)``.

    Args:
        function: Returns what the sink writes: ``bytes``, ``str``, which is written as UTF-8, or ``None`` for nothing.

    Raises:
        WallarooParameterError: The function cannot be called with one argument.

    Example:
        >>> @encoder
        ... def line(data: str) -> str:
        ...     return data + "\n"
        >>> line("tea")
        'tea\n'
    """
    return Encoder(function)

"""Decorated functions that return a message's key."""

from __future__ import annotations

from datetime import date
from enum import Enum
from typing import TYPE_CHECKING, Any, Callable, Generic, SupportsIndex, TypeVar, Union

from wallaroo._steps.decorated import Decorated, shown_name

if TYPE_CHECKING:
    from uuid import UUID

Key = Union[str, bytes, int, SupportsIndex, tuple[Any, ...], "UUID", date, Enum]
"""What may be a key; in a tuple, the same again. Of what has ``__index__`` only numpy's integers."""

In = TypeVar("In", contravariant=True)
K_co = TypeVar("K_co", bound=Key, covariant=True)
T = TypeVar("T")
K = TypeVar("K", bound=Key)


class KeyExtractor(Decorated[Callable[[In], K_co]], Generic[In, K_co]):
    """A function decorated with :func:`key_extractor` or :func:`partition`: called like the function.

    Generic in what the function takes and the key it returns. Name it to annotate a function that makes key functions.

    Example:
        >>> import wallaroo
        >>> def field(name: str) -> wallaroo.KeyExtractor[dict, str]:
        ...     @wallaroo.key_extractor
        ...     def key(data: dict) -> str:
        ...         return data[name]
        ...     return key
        >>> field("user")({"user": "ada"})
        'ada'
    """

    def __call__(self, data: In, /) -> K_co:
        """Call the function."""
        return self.function(data)

    @property
    def name(self) -> str:
        """The function's name, which its ``key_by`` has too."""
        return shown_name(self.function)


def key_extractor(function: Callable[[T], K]) -> KeyExtractor[T, K]:
    """Make a key function for :meth:`Pipeline.key_by` of a function ``f(data)``.

    Args:
        function: Returns the message's key, as for :meth:`Pipeline.key_by`.

    Raises:
        WallarooParameterError: The function cannot be called with one argument.

    Example:
        >>> @key_extractor
        ... def first_letter(word: str) -> str:
        ...     return word[:1]
        >>> first_letter("tea")
        't'
    """
    return KeyExtractor("key_extractor", function, "data")


def partition(function: Callable[[T], K]) -> KeyExtractor[T, K]:
    """Make a partition function for :meth:`ApplicationBuilder.to_state_partition` of a function ``f(data)``.

    A key that is not among ``partition_keys`` is made as it occurs; with a partition function that is a class such a
    message becomes a dead letter.

    Args:
        function: As for :func:`key_extractor`, which does the same under generation 3's name.

    Raises:
        WallarooParameterError: The function cannot be called with one argument.

    Example:
        >>> @partition
        ... def by_length(word: str) -> int:
        ...     return len(word)
        >>> by_length("tea")
        3
    """
    return KeyExtractor("partition", function, "data")

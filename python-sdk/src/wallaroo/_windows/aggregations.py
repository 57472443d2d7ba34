"""Aggregations of windows that are made by a call: ``count()``, ``sum(f)`` and the like.

An accumulator of ``None`` is one without values, which gives no output. Overlapping windows may hold one and the same
value, and what an aggregation gives may be changed by the steps below: so a value is copied when it is given, and
before it is changed.
"""

from __future__ import annotations

from typing import Any, Callable, TypeVar, overload

from wallaroo._codec.copies import copy_of
from wallaroo._steps.callables import callable_of, name_of, refuse_generator, shown_callable
from wallaroo._steps.running import first_of_sum, itself
from wallaroo._steps.shapes import Addable, Ordered
from wallaroo._windows.windows import Aggregation

A = TypeVar("A")
C = TypeVar("C", bound=Ordered)
N = TypeVar("N", bound=Addable)
T = TypeVar("T")
A_co = TypeVar("A_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)


class BuiltInAggregation(Aggregation[T_contra, Any, A_co]):
    """An aggregation with the name of the call that made it.

    Args:
        name: The step's name.
        calls: The user's function, if it has one.
    """

    def __init__(self, name: str, calls: Callable[..., Any] | None = None) -> None:
        self._name = self.__name__ = name
        self.calls = calls

    def name(self) -> str:
        """Return the name of the step."""
        return self._name

    def initial_accumulator(self) -> Any:
        """Return what stands for no value."""
        return None

    def output(self, key: Any, accumulator: Any, /) -> A_co | None:
        """Return the value."""
        return copy_of(accumulator)  # type: ignore[no-any-return]


class _Count(BuiltInAggregation[Any, int]):
    def initial_accumulator(self) -> int:
        return 0

    def update(self, data: Any, accumulator: int, /) -> int:
        return accumulator + 1

    def combine(self, left: int, right: int, /) -> int:
        return left + right


class _OfValues(BuiltInAggregation[T, A]):
    """Joins the values of messages, two at a time."""

    def __init__(self, name: str, value_of: Callable[[T], Any], join: Callable[[Any, Any], Any]) -> None:
        super().__init__(name, value_of)
        self._value_of = value_of
        self._join = join

    def update(self, data: T, accumulator: Any, /) -> Any:
        value = self._value_of(data)
        return value if accumulator is None else self.combine(accumulator, value)

    def combine(self, left: Any, right: Any, /) -> Any:
        if left is None or right is None:
            return right
        return self._join(left, right)


class _Sum(_OfValues[T, A]):
    def update(self, data: T, accumulator: Any, /) -> Any:
        value = self._value_of(data)
        return first_of_sum(value) if accumulator is None else self.combine(accumulator, value)


class _Mean(BuiltInAggregation[T, float]):
    def __init__(self, value_of: Callable[[T], Any]) -> None:
        super().__init__("mean", value_of)
        self._value_of = value_of

    def update(self, data: T, accumulator: Any, /) -> Any:
        value = self._value_of(data)
        return None if value is None else self.combine(accumulator, (value, 1))

    def combine(self, left: Any, right: Any, /) -> Any:
        if left is None or right is None:
            return right
        return left[0] + right[0], left[1] + right[1]

    def output(self, key: Any, accumulator: Any, /) -> float | None:
        return None if accumulator is None else accumulator[0] / accumulator[1]


class _Reduce(BuiltInAggregation[A, A]):
    def __init__(self, name: str, function: Callable[[A, A], A]) -> None:
        super().__init__(name, function)
        self._function = function

    def update(self, data: A, accumulator: Any, /) -> Any:
        # The function may change what it is given first.
        return copy_of(data) if accumulator is None else self._function(accumulator, data)

    def combine(self, left: Any, right: Any, /) -> Any:
        return right if left is None else self._function(left, right)


class _CollectList(BuiltInAggregation[T, "list[T]"]):
    def initial_accumulator(self) -> list[T]:
        return []

    def update(self, data: T, accumulator: list[T], /) -> None:
        accumulator.append(data)

    def combine(self, left: list[T], right: list[T], /) -> None:
        left.extend(right)


def count() -> Aggregation[Any, Any, int]:
    """Count the messages of a window.

    Example:
        >>> from datetime import timedelta
        >>> import wallaroo
        >>> wallaroo.tumbling(timedelta(minutes=1)).over(wallaroo.count()).name
        'count'
    """
    return _Count("count")


@overload
def sum(f: None = None) -> Aggregation[N, Any, N]: ...
@overload
def sum(f: Callable[[T], N | None]) -> Aggregation[T, Any, N]: ...
def sum(f: Any = None) -> Aggregation[Any, Any, Any]:
    """Add up the values of a window.

    Args:
        f: Any callable of one argument, the message, which returns its value: a number, or anything else that can be
            added but text. ``None`` for a message without a value. Without it the messages are the values.

    Raises:
        WallarooParameterError: ``f`` cannot be called with one argument.

    Example:
        >>> import wallaroo
        >>> wallaroo.count_windows(10).over(wallaroo.sum(len)).name
        'sum'
    """
    return _Sum("sum", _value_of("sum", f), _add)


@overload
def mean(f: None = None) -> Aggregation[float, Any, float]: ...
@overload
def mean(f: Callable[[T], float | None]) -> Aggregation[T, Any, float]: ...
def mean(f: Any = None) -> Aggregation[Any, Any, float]:
    """Give the mean of the values of a window.

    Args:
        f: As for :func:`sum`; the values are numbers.

    Raises:
        WallarooParameterError: ``f`` cannot be called with one argument.

    Example:
        >>> import wallaroo
        >>> wallaroo.count_windows(10).over(wallaroo.mean(len)).name
        'mean'
    """
    return _Mean(_value_of("mean", f))


@overload
def min(f: None = None) -> Aggregation[C, Any, C]: ...
@overload
def min(f: Callable[[T], C | None]) -> Aggregation[T, Any, C]: ...
def min(f: Any = None) -> Aggregation[Any, Any, Any]:
    """Give the least of the values of a window.

    Args:
        f: As for :func:`sum`; the values can be compared with each other.

    Raises:
        WallarooParameterError: ``f`` cannot be called with one argument.

    Example:
        >>> import wallaroo
        >>> wallaroo.count_windows(10).over(wallaroo.min(len)).name
        'min'
    """
    return _OfValues("min", _value_of("min", f), lambda left, right: right if right < left else left)


@overload
def max(f: None = None) -> Aggregation[C, Any, C]: ...
@overload
def max(f: Callable[[T], C | None]) -> Aggregation[T, Any, C]: ...
def max(f: Any = None) -> Aggregation[Any, Any, Any]:
    """Give the greatest of the values of a window.

    Args:
        f: As for :func:`min`.

    Raises:
        WallarooParameterError: ``f`` cannot be called with one argument.

    Example:
        >>> import wallaroo
        >>> wallaroo.count_windows(10).over(wallaroo.max(len)).name
        'max'
    """
    return _OfValues("max", _value_of("max", f), lambda left, right: right if left < right else left)


def reduce(f: Callable[[A, A], A]) -> Aggregation[A, Any, A]:
    """Combine the messages of a window: the first is the value, and each further one is combined with it.

    Args:
        f: Any callable of two arguments, the value so far and the message, which returns the new value. It may change
            the value so far and return ``None``. Of two sessions that are joined, it is given the values.

    Raises:
        WallarooParameterError: ``f`` cannot be called with two arguments.

    Example:
        >>> import operator, wallaroo
        >>> wallaroo.count_windows(10).over(wallaroo.reduce(operator.add)).name
        'add'
    """
    where = f"reduce({shown_callable(f)})"
    call = callable_of(where, "reduce", f, "value", "message")
    refuse_generator(where, f, "return the new value")
    return _Reduce(name_of(where, "reduce", f, None), call)


def collect_list() -> Aggregation[T, Any, list[T]]:
    """Give the list of the messages of a window.

    Example:
        >>> import wallaroo
        >>> wallaroo.count_windows(10).over(wallaroo.collect_list()).name
        'collect_list'
    """
    return _CollectList("collect_list")


WITHOUT_ARGUMENTS: tuple[Callable[[], Any], ...] = (count, sum, mean, min, max, collect_list)


def _value_of(call: str, f: Any) -> Callable[[Any], Any]:
    if f is None:
        return itself
    where = f"{call}({shown_callable(f)})"
    value_of = callable_of(where, call, f, "message")
    refuse_generator(where, f, "return the value of the message")
    return value_of


def _add(left: Any, right: Any) -> Any:
    return left + right

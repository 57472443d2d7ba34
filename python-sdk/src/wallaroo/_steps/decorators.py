"""The decorators of generations 2 and 3 that turn functions into steps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Callable, Optional, TypeVar, overload

from wallaroo._steps.computations import (
    BuilderStateComputation,
    Computation,
    ComputationBatch,
    ComputationMulti,
    StateComputation,
    StateComputationMulti,
)
from wallaroo._steps.decorated import check_step_name

T = TypeVar("T")
S = TypeVar("S")
R = TypeVar("R")
Outputs = TypeVar("Outputs", bound=Optional[Iterable[Any]])
BatchOutputs = TypeVar("BatchOutputs", bound=Iterable[Any])


def computation(name: str) -> Callable[[Callable[[T], R]], Computation[T, R]]:
    """Make a stateless step of a function ``f(data)``, which returns one output, or ``None`` for none.

    Args:
        name: The step's name, in messages, logs and metrics.

    Raises:
        WallarooParameterError: The name is not a non-empty ``str``, or the function cannot be called with one argument.

    Example:
        >>> @computation(name="reverse")
        ... def reverse(data: str) -> str:
        ...     return data[::-1]
        >>> reverse("stressed")
        'desserts'
    """
    check_step_name("computation", name)
    return lambda function: Computation(name, function)


def computation_multi(name: str) -> Callable[[Callable[[T], Outputs]], ComputationMulti[T, Outputs]]:
    """Make a stateless step of a function ``f(data)``, which returns any number of outputs.

    Args:
        name: The step's name.

    Raises:
        WallarooParameterError: As for :func:`computation`.

    Example:
        The function returns a list or another iterable (it may yield), or ``None`` for no output; a ``None`` among the
        outputs is left out.

        >>> @computation_multi(name="split into words")
        ... def split(line: str) -> list[str]:
        ...     return line.split()
        >>> split("to be")
        ['to', 'be']
    """
    check_step_name("computation_multi", name)
    return lambda function: ComputationMulti(name, function)


def computation_batch(name: str) -> Callable[[Callable[[list[T]], BatchOutputs]], ComputationBatch[T, BatchOutputs]]:
    """Make a stateless step of a function ``f(batch)``, which is given many messages at once.

    It returns as many outputs, each in the place of its message, ``None`` where there is none: a list, or anything that
    can be made one, as a numpy array. For code that is faster with many values than with one, such as models.

    A batch is what has gathered, from one message to some thousands. When the function raises, halves of the batch are
    tried, and halves of these, so that only the messages at fault become dead letters: what it does besides returning
    something may be done more than once. When it returns another number of outputs, which belongs to which cannot be
    known: every message of the batch becomes a dead letter.

    Args:
        name: The step's name.

    Raises:
        WallarooParameterError: As for :func:`computation`.

    Example:
        >>> @computation_batch(name="square")
        ... def square(batch: list[int]) -> list[int]:
        ...     return [number * number for number in batch]
        >>> square([1, 2, 3])
        [1, 4, 9]
    """
    check_step_name("computation_batch", name)
    return lambda function: ComputationBatch(name, function)


@overload
def state_computation(
    name: str, state: Callable[[], S]
) -> Callable[[Callable[[T, S], R]], StateComputation[T, S, R]]: ...
@overload
def state_computation(
    name: str, state: None = None
) -> Callable[[Callable[[T, S], tuple[R, bool]]], BuilderStateComputation[T, S, tuple[R, bool]]]: ...
def state_computation(name: str, state: Any = None) -> Any:
    """Make a step with state of a function ``f(data, state)``.

    An output may be encoded after later messages have changed the state, so it must not be the state itself or a
    mutable part of it: return a copy of what is to be sent.

    Args:
        name: The step's name. In a :class:`Pipeline` it names the state, too.
        state: A class, called without arguments for the state of each key, or once when no ``key_by`` comes before.
            With it the function returns its output, ``None`` for none. Left out for :class:`ApplicationBuilder`, which
            is told the class itself; the function then returns ``(output, state_changed)``.

    Raises:
        WallarooParameterError: The name is not a non-empty ``str``, the function cannot be called with two arguments,
            or the class cannot be called with none.

    Example:
        >>> from collections import Counter
        >>> @state_computation(name="count", state=Counter)
        ... def count(word: str, totals: Counter) -> str:
        ...     totals[word] += 1
        ...     return f"{word} => {totals[word]}"
        >>> count("tea", Counter(tea=2))
        'tea => 3'
    """
    check_step_name("state_computation", name)
    if state is None:
        return lambda function: BuilderStateComputation("state_computation", name, function, multi=False)
    return lambda function: StateComputation(name, function, state)


@overload
def state_computation_multi(
    name: str, state: Callable[[], S]
) -> Callable[[Callable[[T, S], Outputs]], StateComputationMulti[T, S, Outputs]]: ...
@overload
def state_computation_multi(
    name: str, state: None = None
) -> Callable[[Callable[[T, S], tuple[Outputs, bool]]], BuilderStateComputation[T, S, tuple[Outputs, bool]]]: ...
def state_computation_multi(name: str, state: Any = None) -> Any:
    """Make a step with state of a function ``f(data, state)``, which returns any number of outputs.

    Args:
        name: As for :func:`state_computation`.
        state: As for :func:`state_computation`. With it the function returns its outputs, as for
            :func:`computation_multi`; without it, ``(outputs, state_changed)``.

    Raises:
        WallarooParameterError: As for :func:`state_computation`.

    Example:
        >>> @state_computation_multi(name="pairs", state=list)
        ... def pairs(number: int, seen: list[int]) -> list[tuple[int, int]]:
        ...     seen.append(number)
        ...     return [(earlier, number) for earlier in seen[:-1]]
        >>> pairs(3, [1, 2])
        [(1, 3), (2, 3)]
    """
    check_step_name("state_computation_multi", name)
    if state is None:
        return lambda function: BuilderStateComputation("state_computation_multi", name, function, multi=True)
    return lambda function: StateComputationMulti(name, function, state)

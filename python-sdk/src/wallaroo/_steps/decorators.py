"""The decorators of generations 2 and 3 that turn functions into steps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Callable, Optional, TypeVar, overload

from wallaroo._errors import WallarooParameterError
from wallaroo._steps.computations import (
    BuilderStateComputation,
    Computation,
    ComputationBatch,
    ComputationMulti,
    StateComputation,
    StateComputationMulti,
    Step,
)
from wallaroo._steps.decorated import check_step_name
from wallaroo._steps.durations import Duration
from wallaroo._steps.errors import ErrorPolicy, OnError, error_policy
from wallaroo._steps.filling import fill_of

T = TypeVar("T")
S = TypeVar("S")
R = TypeVar("R")
Outputs = TypeVar("Outputs", bound=Optional[Iterable[Any]])
BatchOutputs = TypeVar("BatchOutputs", bound=Iterable[Any])
AnyStep = TypeVar("AnyStep", bound=Step[Any, Any])


def computation(
    name: str, *, on_error: OnError[Any, Any] = "dead-letter", retries: int = 0
) -> Callable[[Callable[[T], R]], Computation[T, R]]:
    """Make a stateless step of a function ``f(data)``, which returns one output, or ``None`` for none.

    Args:
        name: The step's name, in messages, logs and metrics.
        on_error: What to do with a message for which the function raises: ``"dead-letter"``; ``"skip"``, it is dropped;
            ``"stop"``, the run ends with exit code 1; or a function of the message and the exception, whose result
            stands for that of the step.
        retries: How often the function is called again first, at once.

    Raises:
        WallarooParameterError: An argument is unusable, or the function cannot be called with one argument.

    Example:
        >>> @computation(name="reverse")
        ... def reverse(data: str) -> str:
        ...     return data[::-1]
        >>> reverse("stressed")
        'desserts'
    """
    check_step_name("computation", name)
    errors = error_policy("@wallaroo.computation", on_error, retries)
    return lambda function: _with_errors(Computation(name, function), errors)


def computation_multi(
    name: str, *, on_error: OnError[Any, Any] = "dead-letter", retries: int = 0
) -> Callable[[Callable[[T], Outputs]], ComputationMulti[T, Outputs]]:
    """Make a stateless step of a function ``f(data)``, which returns any number of outputs.

    Args:
        name: The step's name.
        on_error: As for :func:`computation`.
        retries: As for :func:`computation`.

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
    errors = error_policy("@wallaroo.computation_multi", on_error, retries)
    return lambda function: _with_errors(ComputationMulti(name, function), errors)


def computation_batch(
    name: str,
    *,
    max_batch: int | None = None,
    max_wait: Duration | None = None,
    on_error: OnError[Any, Any] = "dead-letter",
    retries: int = 0,
) -> Callable[[Callable[[list[T]], BatchOutputs]], ComputationBatch[T, BatchOutputs]]:
    """Make a stateless step of a function ``f(batch)``, which is given many messages at once.

    It returns as many outputs, each in the place of its message, ``None`` where there is none: a list, or anything that
    can be made one, as a numpy array. For code that is faster with many values than with one, such as models.

    A batch is what has gathered, from one message to some thousands, or to ``max_batch``. With ``max_wait`` it is what
    gathers until there are so many, or until the first has waited for that long: for code that costs much by itself,
    however few messages it is given. When the function raises, halves of the batch are
    tried, and halves of these, so that only the messages at fault become dead letters: what it does besides returning
    something may be done more than once. When it returns another number of outputs, which belongs to which cannot be
    known: every message of the batch becomes a dead letter.

    Args:
        name: The step's name.
        max_batch: Messages in one call, at most.
        max_wait: How long a message waits for others, at most: nanoseconds, or a ``timedelta``.
        on_error: As for :func:`computation`, once halves of a batch have led to a single message.
        retries: The same.

    Raises:
        WallarooParameterError: As for :func:`computation`, or a limit is unusable.

    Example:
        >>> @computation_batch(name="square")
        ... def square(batch: list[int]) -> list[int]:
        ...     return [number * number for number in batch]
        >>> square([1, 2, 3])
        [1, 4, 9]
    """
    check_step_name("computation_batch", name)
    fill = fill_of(f"@wallaroo.computation_batch(name={name!r})", max_batch, max_wait)
    errors = error_policy("@wallaroo.computation_batch", on_error, retries)
    return lambda function: _with_errors(ComputationBatch(name, function, max_batch, fill), errors)


@overload
def state_computation(
    name: str,
    state: Callable[[], S],
    *,
    on_error: OnError[Any, Any] = "dead-letter",
    retries: int = 0,
    atomic: bool = False,
) -> Callable[[Callable[[T, S], R]], StateComputation[T, S, R]]: ...
@overload
def state_computation(
    name: str, state: None = None
) -> Callable[[Callable[[T, S], tuple[R, bool]]], BuilderStateComputation[T, S, tuple[R, bool]]]: ...
def state_computation(
    name: str,
    state: Any = None,
    *,
    on_error: OnError[Any, Any] = "dead-letter",
    retries: int = 0,
    atomic: bool = False,
) -> Any:
    """Make a step with state of a function ``f(data, state)``.

    An output may be encoded after later messages have changed the state, so it must not be the state itself or a
    mutable part of it: return a copy of what is to be sent.

    Args:
        name: The step's name. In a :class:`Pipeline` it names the state, too.
        state: A class, called without arguments for the state of each key, or once when no ``key_by`` comes before.
            With it the function returns its output, ``None`` for none. Left out for :class:`ApplicationBuilder`, which
            is told the class itself; the function then returns ``(output, state_changed)``.
        on_error: As for :func:`computation`; only with ``state``. Without ``atomic`` the state stays as the call that
            raised left it.
        retries: As for :func:`computation`; only with ``state``.
        atomic: As for :meth:`Pipeline.stateful`; only with ``state``.

    Raises:
        WallarooParameterError: An argument is unusable, the function cannot be called with two arguments,
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
    errors = error_policy("@wallaroo.state_computation", on_error, retries, atomic)
    if state is None:
        _refuse_errors("state_computation", name, errors)
        return lambda function: BuilderStateComputation("state_computation", name, function, multi=False)
    return lambda function: _with_errors(StateComputation(name, function, state), errors)


@overload
def state_computation_multi(
    name: str,
    state: Callable[[], S],
    *,
    on_error: OnError[Any, Any] = "dead-letter",
    retries: int = 0,
    atomic: bool = False,
) -> Callable[[Callable[[T, S], Outputs]], StateComputationMulti[T, S, Outputs]]: ...
@overload
def state_computation_multi(
    name: str, state: None = None
) -> Callable[[Callable[[T, S], tuple[Outputs, bool]]], BuilderStateComputation[T, S, tuple[Outputs, bool]]]: ...
def state_computation_multi(
    name: str,
    state: Any = None,
    *,
    on_error: OnError[Any, Any] = "dead-letter",
    retries: int = 0,
    atomic: bool = False,
) -> Any:
    """Make a step with state of a function ``f(data, state)``, which returns any number of outputs.

    Args:
        name: As for :func:`state_computation`.
        state: As for :func:`state_computation`. With it the function returns its outputs, as for
            :func:`computation_multi`; without it, ``(outputs, state_changed)``.
        on_error: As for :func:`state_computation`.
        retries: As for :func:`state_computation`.
        atomic: As for :func:`state_computation`.

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
    errors = error_policy("@wallaroo.state_computation_multi", on_error, retries, atomic)
    if state is None:
        _refuse_errors("state_computation_multi", name, errors)
        return lambda function: BuilderStateComputation("state_computation_multi", name, function, multi=True)
    return lambda function: _with_errors(StateComputationMulti(name, function, state), errors)


def _with_errors(step: AnyStep, errors: ErrorPolicy | None) -> AnyStep:
    step.errors = errors
    return step


def _refuse_errors(decorator: str, name: str, errors: ErrorPolicy | None) -> None:
    if errors is not None:
        raise WallarooParameterError(
            f"@wallaroo.{decorator}: on_error, retries and atomic are for a step whose decorator names its state, "
            f"and {name!r} has no state=",
            hint=f'write @wallaroo.{decorator}(name="{name}", state=TheClass, ...), and return the output alone',
        )

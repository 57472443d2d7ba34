"""The verbs of a pipeline that keep a state for each key: running aggregates, and functions with the user's own state.

An aggregate gives ``(key, value)`` for every message, with its value for all messages of the key so far. The key is
``None`` where no ``key_by`` comes before.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Callable, TypeVar, overload

from wallaroo._errors import WallarooParameterError
from wallaroo._pipeline.stream import Stream, T_co
from wallaroo._pipeline.topology import StateNode, WindowNode, changing, node_of
from wallaroo._pipeline.windowed import WindowedPipeline
from wallaroo._steps import running
from wallaroo._steps.callables import callable_of, name_of, refuse_generator, shown_callable
from wallaroo._steps.computations import check_state_class, check_state_name
from wallaroo._steps.errors import ErrorPolicy, OnError, error_policy
from wallaroo._steps.fields import field_getter
from wallaroo._steps.objects import ROUTINES, check_name, qualified_name, shown_type
from wallaroo._steps.shapes import Addable, Keyed, Ordered
from wallaroo._windows.recent import recent_dedup
from wallaroo._windows.timed_state import TimedStateStep, timed_state
from wallaroo._windows.windows import BARE_WINDOWS, Windows, WindowStep, check_early, check_positive

if TYPE_CHECKING:
    from wallaroo._pipeline.pipeline import Pipeline
    from wallaroo._steps.durations import Duration
    from wallaroo._windows.context import Context

A = TypeVar("A")
S = TypeVar("S")
U = TypeVar("U")
N = TypeVar("N", bound=Addable)
C = TypeVar("C", bound=Ordered)

# The overloads for messages that are values name Pipeline as the type of ``self``, and not the class below, for which
# mypy would accept a message of any type. Of the difference it complains.


class StatefulVerbs(Stream[T_co]):
    """Those that keep a state for each key."""

    __slots__ = ()

    @overload
    def stateful(
        self,
        f: Callable[[T_co, S], U | None],
        state: Callable[[], S],
        *,
        ttl: Duration | None = None,
        name: str | None = None,
        on_error: OnError[T_co, U | None] = "dead-letter",
        retries: int = 0,
        atomic: bool = False,
    ) -> Pipeline[U]: ...
    @overload
    def stateful(
        self,
        f: Callable[[T_co, S, Context[Any]], U | None],
        state: Callable[[], S],
        *,
        ttl: Duration | None = None,
        on_timer: Callable[[S, Context[Any]], U | None] | None = None,
        name: str | None = None,
        on_error: OnError[T_co, U | None] = "dead-letter",
        retries: int = 0,
        atomic: bool = False,
    ) -> Pipeline[U]: ...
    def stateful(
        self,
        f: Any,
        state: Callable[[], Any],
        *,
        ttl: Duration | None = None,
        on_timer: Any = None,
        name: str | None = None,
        on_error: OnError[T_co, Any] = "dead-letter",
        retries: int = 0,
        atomic: bool = False,
    ) -> Pipeline[Any]:
        """Replace each message by what a function makes of it and of its key's state, which it may change.

        An output must not be the state itself or a mutable part of it: return a copy of what is to be sent.

        Args:
            f: Any callable of two arguments, the message and the state; or of three, if it has another one ``ctx``, a
                :class:`Context`. ``None`` for no output.
            state: A class, called without arguments for the state of each key, or once where no ``key_by`` comes
                before. States are pickled when they are saved. With :func:`state` it has a version, and states of older
                versions are migrated.
            ttl: How long a state is kept that is not used, in nanoseconds or as a ``timedelta``: a call of ``f`` or
                ``on_timer`` uses it. A timer keeps its state. Then it is dropped, and the next message of the key
                finds a new one. Time is as for ``ctx.now``. Without it states are kept until ``f`` deletes them.
            on_timer: Any callable of two arguments, the state and a :class:`Context`. It is called when a timer is due
                that ``f`` has set with ``ctx.set_timer``, and gives what ``f`` may give. With a function as
                ``on_error``, one that fails is a dead letter: there is no message that the function could be given.
            name: The step's name, which names the state too. Without it, the function's name, or ``stateful`` for a
                lambda; numbered where another step has it.
            on_error: As for :meth:`map`. Without ``atomic`` the state stays as the call that raised left it.
            retries: As for :meth:`map`. Without ``atomic`` the state stays as well.
            atomic: Whether a message that fails leaves no trace in the state: each call that raises leaves it as it was
                before, and so the next try begins with that. What is done with the output afterwards is no part of it.
                The state is pickled before each message. That costs some microseconds, and more for a large state: of
                1,000 numbers 0.1 ms. If a state cannot be pickled, its messages become dead letters.

        Raises:
            WallarooParameterError: An argument is unusable, the pipeline has ended, or it was merged of pipelines whose
                messages are placed differently.

        Example:
            See :class:`Pipeline`.
        """
        where = self._open_at("stateful", f)
        windows = timed_state(where, f, state, ttl, on_timer)
        check_state_class(f"{where}: state", state)
        errors = error_policy(where, on_error, retries, atomic)
        named = name_of(where, "stateful", f, name)
        if windows is None:
            return self._with_state(where, named, state, changing(f), of_key=False, errors=errors)
        check_state_name(f"{where}: name", named)
        table_type, step = qualified_name(state), TimedStateStep(named, windows)
        return self._with_state_placed(where, named)._step(  # type: ignore[no-any-return]
            lambda inputs: WindowNode(named, inputs, named, table_type, step, errors=errors)
        )

    def reduce(self: StatefulVerbs[A], f: Callable[[A, A], A], *, name: str | None = None) -> Pipeline[Keyed[Any, A]]:
        """Combine all messages of a key: the first is the value, and each further one is combined with it.

        Args:
            f: Any callable of two arguments, the value so far and the message, which returns the new value. It may
                change the value so far and return ``None``.
            name: As for :meth:`stateful`.

        Raises:
            WallarooParameterError: As for :meth:`stateful`.

        Example:
            See :class:`Pipeline`.
        """
        where = self._open_at("reduce", f)
        call = callable_of(where, "reduce", f, "value", "message")
        refuse_generator(where, f, "return the new value")
        named = name_of(where, "reduce", f, name)
        return self._with_state(where, named, running.Held, running.reducing(call))

    def count(self, *, name: str | None = None) -> Pipeline[Keyed[Any, int]]:
        """Count the messages of each key.

        Args:
            name: As for :meth:`stateful`; ``count`` without it.

        Raises:
            WallarooParameterError: As for :meth:`stateful`.

        Example:
            See :class:`Pipeline`.
        """
        where = self._open_at("count")
        return self._with_state(where, _own_name(where, "count", name), running.Count, running.count)

    @overload
    def sum(self: Pipeline[N], f: None = None, *, name: str | None = None) -> Pipeline[Keyed[Any, N]]: ...  # type: ignore[misc]
    @overload
    def sum(self, f: Callable[[T_co], N | None], *, name: str | None = None) -> Pipeline[Keyed[Any, N]]: ...
    def sum(self, f: Any = None, *, name: str | None = None) -> Pipeline[Any]:
        """Add up the values of each key.

        Args:
            f: Any callable of one argument, the message, which returns its value: a number, or anything else that can
                be added but text. ``None`` for a message without a value, which gives no output. Without it the
                messages are the values.
            name: As for :meth:`stateful`; ``sum`` without it.

        Raises:
            WallarooParameterError: As for :meth:`stateful`.

        Example:
            See :class:`Pipeline`.
        """
        return self._of_values("sum", f, name, running.Total, running.summing)

    @overload
    def mean(self: Pipeline[float], f: None = None, *, name: str | None = None) -> Pipeline[Keyed[Any, float]]: ...  # type: ignore[misc]
    @overload
    def mean(self, f: Callable[[T_co], float | None], *, name: str | None = None) -> Pipeline[Keyed[Any, float]]: ...
    def mean(self, f: Any = None, *, name: str | None = None) -> Pipeline[Any]:
        """Give the mean of the values of each key.

        Args:
            f: As for :meth:`sum`; the values are numbers.
            name: As for :meth:`stateful`; ``mean`` without it.

        Raises:
            WallarooParameterError: As for :meth:`stateful`.

        Example:
            See :class:`Pipeline`.
        """
        return self._of_values("mean", f, name, running.Total, running.averaging)

    @overload
    def min(self: Pipeline[C], f: None = None, *, name: str | None = None) -> Pipeline[Keyed[Any, C]]: ...  # type: ignore[misc]
    @overload
    def min(self, f: Callable[[T_co], C | None], *, name: str | None = None) -> Pipeline[Keyed[Any, C]]: ...
    def min(self, f: Any = None, *, name: str | None = None) -> Pipeline[Any]:
        """Give the least of the values of each key.

        Args:
            f: As for :meth:`sum`; the values can be compared with each other.
            name: As for :meth:`stateful`; ``min`` without it.

        Raises:
            WallarooParameterError: As for :meth:`stateful`.

        Example:
            See :class:`Pipeline`.
        """
        return self._of_values("min", f, name, running.Held, running.least)

    @overload
    def max(self: Pipeline[C], f: None = None, *, name: str | None = None) -> Pipeline[Keyed[Any, C]]: ...  # type: ignore[misc]
    @overload
    def max(self, f: Callable[[T_co], C | None], *, name: str | None = None) -> Pipeline[Keyed[Any, C]]: ...
    def max(self, f: Any = None, *, name: str | None = None) -> Pipeline[Any]:
        """Give the greatest of the values of each key.

        Args:
            f: As for :meth:`min`.
            name: As for :meth:`stateful`; ``max`` without it.

        Raises:
            WallarooParameterError: As for :meth:`stateful`.

        Example:
            See :class:`Pipeline`.
        """
        return self._of_values("max", f, name, running.Held, running.greatest)

    def collect_list(self, *, name: str | None = None) -> Pipeline[Keyed[Any, list[T_co]]]:
        """Give the list of all messages of each key so far. It grows with each message, and so does what that costs.

        Args:
            name: As for :meth:`stateful`; ``collect_list`` without it.

        Raises:
            WallarooParameterError: As for :meth:`stateful`.

        Example:
            See :class:`Pipeline`.
        """
        where = self._open_at("collect_list")
        return self._with_state(where, _own_name(where, "collect_list", name), running.Collected, running.collect)

    def dedup(
        self,
        by: Callable[[T_co], object] | str | None = None,
        *,
        within: Duration | None = None,
        name: str | None = None,
    ) -> Pipeline[Keyed[Any, T_co]]:
        """Give the first of a key's messages that are equal, with the key.

        Args:
            by: A function of the message, or the name of a field, for what tells messages apart: anything that can be
                in a set. Without it, the message itself.
            within: How long a message is remembered, in nanoseconds or as a ``timedelta``: an equal one is dropped if
                it is less than this from the one that was given. Time is event time, or the time of arrival where the
                source has no ``event_time``. A message that comes later than ``within`` after its time is given and
                not remembered. Without ``within`` messages are remembered until the run ends.
            name: As for :meth:`stateful`; ``dedup`` without it.

        Raises:
            WallarooParameterError: As for :meth:`stateful`.

        Example:
            See :class:`Pipeline`.
        """
        where = self._open_at("dedup", *(() if by is None else (by,)))
        if by is None:
            identity: Callable[[Any], Any] = running.itself
        elif isinstance(by, str):
            identity = field_getter(where, by)
        else:
            identity = callable_of(where, "dedup", by, "message")
            refuse_generator(where, by, "return what identifies the message")
        named = _own_name(where, "dedup", name)
        if within is not None:
            step = recent_dedup(where, named, identity, check_positive(f"{where}: within={within!r}", within))
            return self._with_state_placed(where, named)._step(lambda inputs: node_of(step, inputs))  # type: ignore[no-any-return]
        return self._with_state(where, named, running.Seen, running.deduplicating(identity))

    def window(self, windows: Windows, *, early: Duration | None = None) -> WindowedPipeline[Any, T_co]:
        """Gather the messages of each key in windows; :meth:`WindowedPipeline.aggregate` says what is made of them.

        Args:
            windows: :func:`tumbling`, :func:`sliding`, :func:`sessions` or :func:`count_windows`.
            early: How often a window gives a result before it is complete, in nanoseconds or as a ``timedelta``: when
                time reaches a multiple of it, if a message came since the last result. Such a result has
                ``closed_by="early"``, and the one of the complete window comes as without. Time is that of the windows:
                event time, or the time of arrival. For each early result the window's accumulator is copied.

        Raises:
            WallarooParameterError: An argument is unusable, or the pipeline has ended.

        Example:
            See :class:`WindowedPipeline`.
        """
        where = self._open_at("window", windows)
        if not isinstance(windows, BARE_WINDOWS):
            raise WallarooParameterError(
                f"{where}: the argument is {shown_type(windows)}, not windows", hint=_hint_for_no_windows(windows)
            )
        checked = None if early is None else check_early(where, windows, early)
        return WindowedPipeline(self._where("window", f"{windows.call}(...)"), self, windows, checked)

    def _of_values(
        self, verb: str, f: Any, name: str | None, state: Callable[[Any], Any], make: Callable[[running.Value], Any]
    ) -> Pipeline[Any]:
        where = self._open_at(verb, *(() if f is None else (f,)))
        value_of = running.itself
        if f is not None:
            value_of = callable_of(where, verb, f, "message")
            refuse_generator(where, f, "return the value of the message")
        return self._with_state(where, _own_name(where, verb, name), state, make(value_of))

    def _with_state(
        self,
        where: str,
        name: str,
        state: Callable[..., Any],
        call: Callable[[Any, Any], Any],
        *,
        of_key: bool = True,
        errors: ErrorPolicy | None = None,
    ) -> Pipeline[Any]:
        check_state_name(f"{where}: name", name)
        table_type = qualified_name(state)
        placed = self._with_state_placed(where, name)
        return placed._step(  # type: ignore[no-any-return]
            lambda inputs: StateNode(name, inputs, name, table_type, state, call, False, of_key, errors=errors)
        )


def _hint_for_no_windows(given: Any) -> str:
    if isinstance(given, WindowStep):
        return "leave over(...) out, and give the aggregation to window(...).aggregate(...)"
    if isinstance(given, ROUTINES) and str(getattr(given, "__module__", "")).startswith("wallaroo."):
        return f"call it: {shown_callable(given)}(...)"
    if isinstance(given, (int, timedelta)):
        return "say what kind of windows: tumbling(...), or count_windows(...) for a number of messages"
    return _SOME_WINDOWS


_SOME_WINDOWS = "give tumbling(...), sliding(...), sessions(...) or count_windows(...)"


def _own_name(where: str, verb: str, name: Any) -> str:
    return verb if name is None else check_name(f"{where}: name", name)

"""States that end: ``stateful`` with ``ttl=``, with a function that takes ``ctx``, and with ``on_timer=``.

The orchestrator treats them as windows: it wakes a key for its next timer, or when its state has not been used for
long. It is told of windows of a kind that it knows; what they hold is the workers' own business. It is not told of the
``ttl``, so that newer code may have another one.
"""

from __future__ import annotations

from typing import Any, Callable

from wallaroo._errors import WallarooParameterError
from wallaroo._steps.callables import callable_of, refuse_generator, shown_callable
from wallaroo._steps.objects import takes
from wallaroo._windows.windows import TimeWindows, WindowStep, check_positive

_WITH_CTX = ("message", "state", "ctx")
YIELDS = "return the value: a state changes in place, and flat_map makes several outputs of a list"


class TimedState(TimeWindows):
    """How long states live, and what is called.

    Args:
        calls: The user's function of message and state, and with ``takes_ctx`` of a :class:`Context`.
        takes_ctx: Whether it takes three arguments.
        state: Makes a state.
        ttl: Nanoseconds after which a state that is not used is dropped; ``None``: never.
        on_timer: The user's function of state and :class:`Context`, or ``None``.
    """

    call: str = "stateful"

    def __init__(
        self,
        calls: Callable[..., Any],
        state: Callable[[], Any],
        *,
        takes_ctx: bool,
        ttl: int | None,
        on_timer: Callable[[Any, Any], Any] | None,
    ) -> None:
        super().__init__(0, "drop")
        self.calls = calls
        self.takes_ctx = takes_ctx
        self.state = state
        self.ttl = ttl
        self.on_timer = on_timer

    def describe(self) -> dict[str, Any]:
        """Return the ``window`` map of the topology."""
        return {"kind": "session", "gap": 0, "delay": self.delay, "on_late": self.on_late}


class TimedStateStep(WindowStep[Any, Any]):
    """A step whose states end. It aggregates nothing.

    Args:
        name: The step's name.
        windows: How long states live.
    """

    def __init__(self, name: str, windows: TimedState) -> None:
        self.name = name
        self.windows = windows
        self.aggregation = None
        self.early = None
        self.takes_window = False


def takes_ctx(f: Any) -> bool:
    """Whether the function of a step with state asks for a :class:`Context`."""
    return takes(f, *_WITH_CTX)


def timed_state(where: str, f: Any, state: Callable[[], Any], ttl: Any, on_timer: Any) -> TimedState | None:
    """Return how long the states of ``stateful`` live; ``None``, if for ever, and nothing is asked of time.

    Raises:
        WallarooParameterError: An argument is unusable.
    """
    with_ctx = takes_ctx(f)
    call = callable_of(where, "stateful", f, *(_WITH_CTX if with_ctx else _WITH_CTX[:2]))
    refuse_generator(where, f, YIELDS)
    checked = None if ttl is None else check_positive(f"{where}: ttl={ttl!r}", ttl)
    if on_timer is not None:
        callable_of(f"{where}: on_timer", "on_timer", on_timer, "state", "ctx")
        refuse_generator(f"{where}: on_timer", on_timer, YIELDS)
        if not with_ctx:
            name = shown_callable(f)
            raise WallarooParameterError(
                f"{where}: on_timer is given, and {name} takes no ctx to set a timer with",
                hint=f"give a function of three arguments, {', '.join(_WITH_CTX)}, and call ctx.set_timer(...) in it",
            )
    if checked is None and not with_ctx:
        return None
    return TimedState(call, state, takes_ctx=with_ctx, ttl=checked, on_timer=on_timer)

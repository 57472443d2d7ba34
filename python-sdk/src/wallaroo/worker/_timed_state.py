"""States that end: what is kept of a key, when its timers are called, and when its state is dropped.

What is due depends on the watermark that a message meets, and not on whether the key's timer has come from the
orchestrator: all that is due by then is done before the message. So what is given for a key, and its order, does not
depend on how the stream was cut into batches.

At the end of time nothing is due: a drain calls no timer of the user's.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Callable

from wallaroo._codec.key_tags import untagged
from wallaroo._codec.protocol import END
from wallaroo._pipeline.topology import WindowNode
from wallaroo._steps.errors import ErrorPolicy
from wallaroo._steps.state_versions import VersionedState
from wallaroo._windows.context import Context
from wallaroo._windows.timed_state import TimedState
from wallaroo._windows.timers import Timers
from wallaroo.worker._depth_first import Position, Push
from wallaroo.worker._forked import in_child, leave_if_child
from wallaroo.worker._guarded import guarded
from wallaroo.worker._open_windows import StepWindows, Timer, Window
from wallaroo.worker._progress import advance
from wallaroo.worker._state import StateTable, StateTables

FIRST_CALLED_BEFORE = 1 << 31
"""In the marker and in ``skip``, timers that are called before a message of their group are counted from here."""


class KeptState:
    """The user's state of a key, with what decides when it ends. Pickled into snapshots.

    Attributes:
        made: Whether there is a state.
        used: When it was last used, in nanoseconds since the Unix epoch.
        timers: May be there without a state; ``None`` if there are none.
        told: The deadline for which the orchestrator keeps a timer, as far as this step is concerned.
        ended: The sources have ended since the last message: the key waits for nothing more in this run.
    """

    __slots__ = ("ended", "made", "state", "timers", "told", "used")

    def __init__(self) -> None:
        self.made = False
        self.state: Any = None
        self.used = 0
        # Made with the first timer, for most keys may have none.
        self.timers: Timers | None = None
        self.told: int | None = None
        self.ended = False

    def set_timer(self, tag: str | None, time: int) -> None:
        """Set the timer of a tag, in place of any that it has."""
        if self.timers is None:
            self.timers = Timers()
        self.timers.set(tag, time)

    def cancel_timer(self, tag: str | None) -> None:
        """Take the timer of a tag back, if there is one."""
        if self.timers is not None:
            self.timers.cancel(tag)
            if not self.timers:
                self.timers = None

    def first_timer(self) -> tuple[int, str | None] | None:
        """Return time and tag of the first timer, or ``None``."""
        return None if self.timers is None else self.timers.first()

    def drop(self) -> None:
        """Drop the state and all its timers."""
        self.made, self.state, self.timers = False, None, None

    def is_empty(self) -> bool:
        """Whether it is as good as a new one. A deadline told before is told again with the next one."""
        return not self.made and self.timers is None

    def parts(self, build: Callable[[], Any]) -> list[tuple[Any, Any]]:
        """Return the user's state, with a new one."""
        return [(self.state, build())] if self.made else []

    def __getstate__(self) -> tuple[Any, ...]:
        return self.made, self.state, self.used, self.timers, self.told, self.ended

    def __setstate__(self, saved: tuple[Any, ...]) -> None:
        self.made, self.state, self.used, self.timers, self.told, self.ended = saved


def kept_states(node: WindowNode, tables: StateTables, windows: TimedState) -> StateTable:
    """Return the table of a step's states. They have the version of the user's."""
    build: Callable[[], Any] = KeptState
    own = windows.state
    if isinstance(own, VersionedState):
        build = VersionedState(KeptState, own.version, partial(_migrated, own.migrate))
    return tables.table(node.table, build, KeptState.is_empty, partial(_parts, own))


def _migrated(migrate: Callable[[Any, int], Any], kept: KeptState, version: int) -> KeptState | None:
    if kept.made:
        kept.state = migrate(kept.state, version)
        if kept.state is None:
            return None
    return kept


def _parts(build: Callable[[], Any], kept: KeptState) -> list[tuple[Any, Any]]:
    return kept.parts(build)


class TimedStates(StepWindows):
    """Calls the functions of a step whose states end.

    Args:
        node_id: Id of the step's node.
        node: The node.
        table: Holds a :class:`KeptState` for each key.
        delay_above: As for :class:`StepWindows`.
        windows: How long states live.
    """

    closed_by = "time"

    def __init__(
        self, node_id: int, node: WindowNode, table: StateTable, delay_above: int, windows: TimedState
    ) -> None:
        super().__init__(node_id, node.step, table, delay_above)
        self._ttl = windows.ttl
        self._build = windows.state
        self._calls, self._takes_ctx, self._on_timer = windows.calls, windows.takes_ctx, windows.on_timer
        # What ctx is told of where it is used.
        self._name_in_f = "" if windows.on_timer is None else "f"
        self._of_message, self._of_timer = _with_policy(self._call_f, self._call_on_timer, node.errors, table)

    def push(self, below: Push, place: Position) -> Push:
        """Return the push that takes a message in."""
        place.windows.add(self, below)
        table = self._table
        live = table.live

        def take(value: Any) -> None:
            key, time, watermark = place.key, place.time, place.watermark
            try:
                kept = live[key] if key in live else table.open(key)
                table.dirty.setdefault(key, place.run.batch)
                kept.ended = False
                self._catch_up(key, watermark, below, place)
                output = self._of_message(value, key, max(time, watermark))
                if in_child:
                    leave_if_child()
            except BaseException as error:  # noqa: BLE001
                place.fail(self._node, error, value)
            else:
                if output is not None:
                    below(output)
            # Timers that were set for now.
            self._catch_up(key, watermark, below, place)

        return take

    def wake(self, timer: Timer, below: Push, place: Position) -> None:
        """Call the timers of a key that are due, and drop its state if it has not been used for long.

        Args:
            timer: Says when it is.
            below: Takes the outputs.
            place: Says which key.
        """
        key = place.key
        place.run.enter(self._node)
        if key not in self._table.live and timer.is_skipped_whole(place.run):
            return
        try:
            kept: Any = self._open(key)
        except BaseException as error:  # noqa: BLE001 - the user's unpickling
            place.fail(self._node, error, None)
            return
        self._table.dirty.setdefault(key, place.run.batch)
        if timer.watermark == END:
            kept.ended = True
            return
        self._do_due(key, timer.watermark - self._delay_above, below, place, partial(timer.is_skipped, self._node))

    def _catch_up(self, key: Any, watermark: int, below: Push, place: Position) -> None:
        """Do what is due before a message, or after it, and go back to that."""
        kept = self._table.live.get(key)
        if kept is None or not self._is_due(kept, watermark):
            return
        run, time, mark = place.run, place.time, place.watermark
        noted = run.noted

        def is_skipped(_: Any) -> bool:
            advance()
            number = place.called_before.get(place.origin, FIRST_CALLED_BEFORE)
            place.called_before[place.origin] = number + 1
            if run.careful:
                run.survived()
                run.at(place.origin, number)
                run.enter(self._node)
            return (place.origin, number) in run.skip

        self._do_due(key, watermark, below, place, is_skipped)
        place.time, place.watermark = time, mark
        if run.careful:
            run.survived()
            run.at(*noted)
            run.enter(self._node)

    def _is_due(self, kept: KeptState, watermark: int) -> bool:
        if watermark == END:
            return False
        first = kept.first_timer()
        if first is not None:
            return first[0] <= watermark
        return self._ttl is not None and kept.made and kept.used + self._ttl <= watermark

    def _do_due(
        self, key: Any, watermark: int, below: Push, place: Position, is_skipped: Callable[[Any], bool]
    ) -> None:
        """Call the timers that are due in the order of their times, and those that they set, and drop the state."""
        # A call that fails may put another object in the place of what is kept.
        while self._is_due(kept := self._table.live[key], watermark):
            first = kept.first_timer()
            if first is None:
                kept.drop()
                return
            time, tag = first
            kept.cancel_timer(tag)
            if is_skipped(place.run):
                continue
            try:
                output = self._of_timer(None, key, time, tag)
                if in_child:
                    leave_if_child()
            except BaseException as error:  # noqa: BLE001
                place.fail(self._node, error, self._table.live[key].state)
                continue
            if output is not None:
                place.time = place.watermark = time
                below(output)

    def _call_f(self, value: Any, key: Any, time: int) -> Any:
        kept = self._table.live[key]
        state = self._state_of(kept, time)
        if not self._takes_ctx:
            return self._calls(value, state)
        return self._calls(value, state, Context(kept, untagged(key), time, self._name_in_f))

    def _call_on_timer(self, _: Any, key: Any, time: int, tag: str | None) -> Any:
        kept = self._table.live[key]
        state = self._state_of(kept, time)
        assert self._on_timer is not None, "nothing else may set timers"
        return self._on_timer(state, Context(kept, untagged(key), time, "on_timer", tag))

    def _state_of(self, kept: KeptState, time: int) -> Any:
        """Return the state, newly made if there is none, to be used now."""
        if not kept.made:
            kept.state = self._build()
            kept.made, kept.used = True, time
        elif time > kept.used:
            kept.used = time
        return kept.state

    def next_deadline(self, key: Any) -> int | None:
        """Return the watermark of the stage at which a key is to be woken next, or ``None``."""
        kept = self._table.live.get(key)
        if kept is None or kept.ended:
            return None
        first = kept.first_timer()
        if first is not None:
            deadline: int = first[0]
        elif self._ttl is not None and kept.made:
            deadline = kept.used + self._ttl
        else:
            return None
        return min(deadline + self._delay_above, END - 1)

    def _deadline(self, window: Window) -> int:
        raise AssertionError("it has no windows")


Call = Callable[..., Any]


def _with_policy(f: Call, on_timer: Call, policy: ErrorPolicy | None, table: StateTable) -> tuple[Call, Call]:
    """Return both calls with what the step does about errors. A timer that fails has no message for a handler."""
    if policy is None:
        return f, on_timer
    if policy.atomic:
        f, on_timer = _atomic(f, table), _atomic(on_timer, table)
    return guarded(f, policy), guarded(on_timer, policy._replace(handler=None))


def _atomic(call: Call, table: StateTable) -> Call:
    """Return a call that leaves the state as it was, with its timers, if it raises."""

    def attempt(value: Any, key: Any, *arguments: Any) -> Any:
        before = table.copied(key)
        try:
            return call(value, key, *arguments)
        except BaseException:
            table.put_back(key, before)
            raise

    return attempt

"""Windows in a worker: which values of a key belong together, and what is given when a window is complete.

Values only change accumulators. Outputs come of timers alone, but for those of count windows: so the order of a key's
windows is that of their ends, a death is laid to the window or to the value that caused it, and what a window holds
does not depend on when its timer comes, for a value that comes after its end is late either way. What an early result
has does depend on it: a value of the same batch may come before the timer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Callable, ClassVar

from wallaroo._codec.copies import copy_of
from wallaroo._codec.key_tags import untagged
from wallaroo._codec.protocol import END, WHOLE
from wallaroo._windows.windowed import Window as WindowBounds
from wallaroo._windows.windowed import window_time
from wallaroo._windows.windows import CountWindows, RangeWindows, SessionWindows, WindowStep
from wallaroo.worker._batch import BatchRun
from wallaroo.worker._depth_first import Position, Push, to_none
from wallaroo.worker._forked import in_child, leave_if_child
from wallaroo.worker._progress import advance
from wallaroo.worker._state import StateTable

if TYPE_CHECKING:
    from datetime import datetime

    from wallaroo._windows.windowed import ClosedBy


class LateValueError(Exception):
    """A value came when every window it belongs to was complete."""


# As a dead letter names it.
LateValueError.__module__ = "wallaroo"


class Window:
    """An open window, or one that is complete and waits for its timer. Pickled into snapshots.

    Args:
        start: Of range windows and sessions, in event time.
        end: As ``start``; the window holds what happened before it.
        accumulator: Of the values so far.

    ``early_at`` is the watermark from which on an early result is due. Windows that have given no early result and wait
    for none have no such attribute, as those in snapshots that were made without ``early=``.
    """

    __slots__ = ("accumulator", "count", "early_at", "end", "start")

    early_at: int | None

    def __init__(self, start: int, end: int, accumulator: Any) -> None:
        self.start = start
        self.end = end
        self.accumulator = accumulator
        self.count = 0

    def plan_early(self, due: int) -> None:
        """Give an early result at ``due``, or before, if that is planned already."""
        planned = early_of(self)
        if planned is None or due < planned:
            self.early_at = due


def early_of(window: Window) -> int | None:
    """Return the watermark from which on an early result of a window is due, or ``None``."""
    return getattr(window, "early_at", None)


class OpenWindows:
    """The windows of a key in one step. Pickled into snapshots."""

    __slots__ = ("told", "windows")

    def __init__(self) -> None:
        # Those that end first come first.
        self.windows: list[Window] = []
        # The deadline for which the orchestrator keeps a timer, as far as this step is concerned.
        self.told: int | None = None

    def is_empty(self) -> bool:
        """Whether it is as good as a new one. A deadline told before is told again with the next window."""
        return not self.windows

    def accumulators(self, initial: Callable[[], Any]) -> Iterable[tuple[Any, Any]]:
        """Return the accumulator of each window, with a new one that ``initial`` made."""
        return ((window.accumulator, initial()) for window in self.windows)


class Timer:
    """A timer on its way through the steps of a stage, and the windows it has met.

    Args:
        group: Its index in the batch.
        watermark: Of the stage.
        time: What it gives is no older but for the delays. At the end of the sources, how far time had come.
    """

    def __init__(self, group: int, watermark: int, time: int) -> None:
        self.watermark = watermark
        self.time = time
        self._group = group
        self._windows = 0

    def is_skipped_whole(self, run: BatchRun) -> bool:
        """Say whether it has killed workers before any window was met."""
        return (self._group, WHOLE) in run.skip

    def is_skipped(self, node: int, run: BatchRun) -> bool:
        """Count one more window that gives a result, and say whether its output has killed workers."""
        advance()
        window = self._windows
        self._windows += 1
        if run.careful:
            run.at(self._group, window)
            run.enter(node)
        return (self._group, window) in run.skip or self.is_skipped_whole(run)


class StepWindows:
    """The windows of one step, of all keys.

    Args:
        node: Id of the step's node.
        step: The user's aggregation, and which values belong together.
        table: Holds an :class:`OpenWindows` for each key.
        delay_above: Delays of the windows above it in its stage: how much its watermark is behind the stage's.
    """

    closed_by: ClassVar[ClosedBy]
    """Why a window of this kind is complete before the end of the sources."""

    def __init__(self, node: int, step: WindowStep[Any, Any], table: StateTable, delay_above: int) -> None:
        self._node = node
        self._step = step
        self._table = table
        self._delay_above = delay_above
        self._early = step.early

    def push(self, below: Push, place: Position) -> Push:
        """Return the push that takes a value in."""
        place.windows.add(self, below)

        def take(value: Any) -> None:
            try:
                self._table.dirty.setdefault(place.key, place.run.batch)
                self._take(self._open(place.key), value, below, place)
                if in_child:
                    leave_if_child()
            except BaseException as error:  # noqa: BLE001
                place.fail(self._node, error, self._message(value))

        return take

    def _message(self, value: Any) -> Any:
        """Return the user's message that a value is or holds."""
        return value

    def _open(self, key: Any) -> OpenWindows:
        live = self._table.live
        return live[key] if key in live else self._table.open(key)  # type: ignore[no-any-return]

    def _take(self, opened: OpenWindows, value: Any, below: Push, place: Position) -> None:
        raise NotImplementedError

    def _deadline(self, window: Window) -> int:
        """Return the watermark, of this step, from which on a window is complete."""
        raise NotImplementedError

    def _update(self, window: Window, value: Any, place: Position) -> None:
        changed = self._step.update(value, window.accumulator)
        if changed is not None:
            window.accumulator = changed
        window.count += 1
        if self._early is not None:
            window.plan_early((max(place.time, place.watermark) // self._early + 1) * self._early)

    def _late(self, value: Any, place: Position) -> None:
        run = place.run
        run.late += 1
        if self._step.keeps_late:
            behind = place.watermark - place.time
            text = f"its windows were complete: its event time is {place.time}, {behind} ns behind the watermark"
            place.fail(self._node, LateValueError(text), value)

    def wake(self, timer: Timer, below: Push, place: Position) -> None:
        """Give the outputs of a key's windows that are complete, and early ones of others.

        Args:
            timer: Says when it is.
            below: Takes the outputs.
            place: Says which key.
        """
        key, watermark = place.key, timer.watermark
        place.run.enter(self._node)
        if watermark != END:
            watermark -= self._delay_above
        if key not in self._table.live and timer.is_skipped_whole(place.run):
            return
        try:
            opened = self._open(key)
        except BaseException as error:  # noqa: BLE001 - the user's unpickling
            place.fail(self._node, error, None)
            return
        self._table.dirty.setdefault(key, place.run.batch)
        place.watermark = timer.time - self._delay_above
        for window in self._take_complete(opened, watermark):
            is_skipped = timer.is_skipped(self._node, place.run)
            # One whose values all failed is as good as empty.
            if window.count and not is_skipped and below is not to_none:
                closed_by: ClosedBy = "drain" if timer.watermark == END else self.closed_by
                self._give(window, closed_by, self._time(window, place.watermark), below, place)
        for window, time in self._take_early(opened, watermark):
            is_skipped = timer.is_skipped(self._node, place.run)
            if not is_skipped and below is not to_none:
                # An output may change or give away what it is told.
                so_far = Window(window.start, window.end, copy_of(window.accumulator))
                self._give(so_far, "early", time, below, place)

    def _take_complete(self, opened: OpenWindows, watermark: int) -> list[Window]:
        """Remove the windows that are complete, and return them. They come first, for a deadline follows the end."""
        windows = opened.windows
        count = next((n for n, window in enumerate(windows) if self._deadline(window) > watermark), len(windows))
        complete = windows[:count]
        del windows[:count]
        return complete

    def _take_early(self, opened: OpenWindows, watermark: int) -> list[tuple[Window, int]]:
        """Return the windows of which early results are due, each with the time of that. They are not due any more."""
        due = []
        if self._early is not None:
            for window in opened.windows:
                at = early_of(window)
                if at is not None and at <= watermark:
                    # As late as may be, but in the window, and not before what the stage below has reached.
                    due.append((window, min(at, window.end) - 1))
                    window.early_at = None
        return due

    def _give(self, window: Window, closed_by: ClosedBy, time: int, below: Push, place: Position) -> None:
        try:
            if self._step.takes_window:
                bounds = WindowBounds(self._shown(window.start), self._shown(self._shown_end(window)), closed_by)
                output = self._step.output(untagged(place.key), window.accumulator, bounds)
            else:
                output = self._step.output(untagged(place.key), window.accumulator)
            if in_child:
                leave_if_child()
        except BaseException as error:  # noqa: BLE001
            place.fail(self._node, error, window.accumulator)
            return
        if output is not None:
            place.time = place.watermark = time
            below(output)

    def _shown(self, time: int) -> datetime:
        """Return a time as an output is told."""
        return window_time(time)

    def _shown_end(self, window: Window) -> int:
        """Return when a window ends, as its output is told."""
        return window.end

    def _time(self, window: Window, watermark: int) -> int:
        """Return the time of a window's output."""
        # The last moment that is in the window, so that windows below of the same kind hold it in turn.
        return window.end - 1

    def next_deadline(self, key: Any) -> int | None:
        """Return the watermark of the stage at which a key wants to be woken next, or ``None``."""
        opened = self._table.live.get(key)
        if opened is None or not opened.windows:
            return None
        deadline = self._deadline(opened.windows[0])
        if self._early is not None:
            planned = [at for at in map(early_of, opened.windows) if at is not None]
            deadline = min([deadline, *planned])
        return deadline if deadline == END else deadline + self._delay_above

    def told(self, key: Any) -> int | None:
        """Return the deadline that the orchestrator knows of."""
        opened = self._table.live.get(key)
        return None if opened is None else opened.told

    def tell(self, key: Any, deadline: int | None, batch: int) -> None:
        """Note that the orchestrator is told of ``deadline``."""
        opened = self._table.live.get(key)
        if opened is not None and opened.told != deadline:
            opened.told = deadline
            self._table.dirty.setdefault(key, batch)


class CountedWindows(StepWindows):
    """So many values in a row. A window that is not full waits for the end of the sources."""

    closed_by = "count"

    def __init__(
        self, node: int, step: WindowStep[Any, Any], table: StateTable, delay_above: int, windows: CountWindows
    ) -> None:
        super().__init__(node, step, table, delay_above)
        self._count = windows.count

    def _take(self, opened: OpenWindows, value: Any, below: Push, place: Position) -> None:
        if not opened.windows:
            opened.windows.append(Window(place.time, place.time + 1, self._step.initial()))
        window = opened.windows[0]
        self._update(window, value, place)
        window.start, window.end = min(window.start, place.time), max(window.end, place.time + 1)
        if window.count == self._count:
            opened.windows.clear()
            if below is not to_none:
                time, watermark = place.time, place.watermark
                self._give(window, "count", self._time(window, watermark), below, place)
                place.time, place.watermark = time, watermark

    def _deadline(self, window: Window) -> int:
        return END

    def _shown_end(self, window: Window) -> int:
        return window.end - 1

    def _time(self, window: Window, watermark: int) -> int:
        # When it is given: windows of time below are complete up to the watermark, and would find it late before that.
        return max(window.end - 1, watermark)


class RangedWindows(StepWindows):
    """Ranges of time that begin at multiples of the slide, moved by the offset."""

    closed_by = "time"

    def __init__(
        self, node: int, step: WindowStep[Any, Any], table: StateTable, delay_above: int, windows: RangeWindows
    ) -> None:
        super().__init__(node, step, table, delay_above)
        self._windows = windows

    def _take(self, opened: OpenWindows, value: Any, below: Push, place: Position) -> None:
        length, slide, offset = self._windows.range, self._windows.slide, self._windows.offset
        first_end = max(place.time, place.watermark - self._windows.delay) + 1 - offset
        # The first window that ends then or later; windows end at multiples of the slide after their length.
        first = -((length - first_end) // slide) * slide + offset
        if first > place.time:
            self._late(value, place)
            return
        for start in range(first, place.time + 1, slide):
            self._update(self._at(opened.windows, start, start + length), value, place)

    def _at(self, windows: list[Window], start: int, end: int) -> Window:
        for position in range(len(windows), 0, -1):
            window = windows[position - 1]
            if window.start == start:
                return window
            if window.start < start:
                break
        else:
            position = 0
        window = Window(start, end, self._step.initial())
        windows.insert(position, window)
        return window

    def _deadline(self, window: Window) -> int:
        return window.end + self._windows.delay


class Sessions(StepWindows):
    """Stretches without a gap. Those that are complete are not joined any more."""

    closed_by = "gap"

    def __init__(
        self, node: int, step: WindowStep[Any, Any], table: StateTable, delay_above: int, windows: SessionWindows
    ) -> None:
        super().__init__(node, step, table, delay_above)
        self._windows = windows

    def _take(self, opened: OpenWindows, value: Any, below: Push, place: Position) -> None:
        start, end = place.time, place.time + self._windows.gap
        windows = opened.windows
        # Sessions are in the order of their ends, so none before this one can be joined.
        first = first_after(windows, max(start, place.watermark - self._windows.delay))
        joined = [window for window in windows[first:] if window.start < end]
        if not joined and end + self._windows.delay <= place.watermark:
            self._late(value, place)
            return
        session = joined[0] if joined else Window(start, end, self._step.initial())
        self._update(session, value, place)
        if not joined:
            # Not before: a value that cannot be taken in opens no session, as it prolongs none.
            windows.append(session)
        session.start, session.end = min(session.start, start), max(session.end, end)
        for other in joined[1:]:
            assert self._step.combine is not None, "checked when the step was made"
            combined = self._step.combine(session.accumulator, other.accumulator)
            if combined is not None:
                session.accumulator = combined
            planned = early_of(other)
            if planned is not None:
                session.plan_early(planned)
            session.start, session.end = min(session.start, other.start), max(session.end, other.end)
            del windows[windows.index(other, first)]
        _put_in_order(windows, windows.index(session, first))

    def _deadline(self, window: Window) -> int:
        return window.end + self._windows.delay


def first_after(windows: list[Window], time: int) -> int:
    """Return the position of the first of ``windows`` that ends after ``time``."""
    low, high = 0, len(windows)
    while low < high:
        middle = (low + high) // 2
        if windows[middle].end > time:
            high = middle
        else:
            low = middle + 1
    return low


def _put_in_order(windows: list[Window], position: int) -> None:
    """Move the window at ``position`` to where its end belongs. The others are in order."""
    window = windows.pop(position)
    while position < len(windows) and windows[position].end < window.end:
        position += 1
    while position > 0 and windows[position - 1].end > window.end:
        position -= 1
    windows.insert(position, window)


class StageWindows:
    """The steps with windows of one stage, those nearer the root first, each with what takes its outputs."""

    def __init__(self) -> None:
        self._steps: list[tuple[StepWindows, Push]] = []

    def add(self, windows: StepWindows, below: Push) -> None:
        """Add a step. Steps are made from the outlets up."""
        self._steps.insert(0, (windows, below))

    def wake(self, timer: Timer, place: Position) -> None:
        """Give the outputs of a key's windows that are complete."""
        key, origin = place.key, place.origin
        for number, (windows, below) in enumerate(self._steps):
            if number:
                # What a batch computation above holds back may be for these windows.
                place.finish()
                place.key, place.origin = key, origin
            windows.wake(timer, below, place)

    def tell(self, run: BatchRun, woken: Iterable[Any]) -> None:
        """Report the deadlines of keys that had a timer, and of others that want one sooner than they have it."""
        for key in dict.fromkeys(run.keys):
            deadlines = [(windows, windows.next_deadline(key)) for windows, _ in self._steps]
            sooner = any(
                deadline is not None and ((told := windows.told(key)) is None or deadline < told)
                for windows, deadline in deadlines
            )
            if sooner or key in woken:
                for windows, deadline in deadlines:
                    windows.tell(key, deadline, run.batch)
                if not run.discard:
                    first = min((deadline for _, deadline in deadlines if deadline is not None), default=None)
                    run.timers.append((key, first))

"""Stages that know of time: those on the way from a source to windows of time, and those with windows.

They run message by message. The place says of the message at hand when it happened, and how far the watermark had come
before it; outlets that lead to windows send both along with the values.

Where one source alone leads to a key, its outlets send the greatest event time of the batch so far as each value's
watermark. With the watermark at which the group was routed that is what the watermark would be if every message were a
batch of its own, so that which values are late does not depend on how the stream was cut into batches. From there
values go on to further keys with the watermark that they met: it is no less than what the stage below has reached when
they come to it, for until then they hold it back.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, repeat
from typing import Any, Callable

from wallaroo._codec.keys import key_from_wire
from wallaroo._codec.protocol import BEGINNING, TIMER, TIMES, WATERMARKS, WHOLE, ProtocolError, is_frames, is_groups
from wallaroo._codec.values import ValueCodec
from wallaroo._pipeline.topology import KEYING, Application, SourceNode, WindowNode
from wallaroo.worker._batch import BatchRun
from wallaroo.worker._depth_first import Branch, Position, Push
from wallaroo.worker._eager_outlet import EagerGroupOutlet, EncodedValue
from wallaroo.worker._event_times import YEAR_1980, check_ahead, checked_time, time_converter, warn_of_early_time
from wallaroo.worker._forked import in_child, leave_if_child
from wallaroo.worker._open_windows import StageWindows, Timer
from wallaroo.worker._outlets import Entry, KeyFunction, Outlet, group_size, halves
from wallaroo.worker._stage import GenerateStage, GroupReader, Stage


def leads_to_time(application: Application, node_id: int) -> bool:
    """Whether windows of time are below a node."""
    seen: set[int] = set()
    waiting = [node_id]
    while waiting:
        below = waiting.pop()
        node = application.nodes[below]
        if isinstance(node, WindowNode) and node.step.is_timed:
            return True
        if below not in seen:
            seen.add(below)
            waiting += application.children(below)
    return False


def has_windows(application: Application, pool: str | None, root: int) -> bool:
    """Whether windows of any kind are in the stage of ``pool`` that begins at ``root``."""
    seen: set[int] = set()
    waiting = application.children_in(pool, root)
    while waiting:
        below = waiting.pop()
        node = application.nodes[below]
        if isinstance(node, WindowNode):
            return True
        if below not in seen and not isinstance(node, KEYING):
            seen.add(below)
            waiting += application.children_in(pool, below)
    return False


def has_one_source(application: Application, outlet: int) -> bool:
    """Whether all that comes to a ``key_by`` or ``collect`` comes from one source."""
    above: set[int] = set()
    waiting = [outlet]
    while waiting:
        inputs = set(application.nodes[waiting.pop()].inputs) - above
        above |= inputs
        waiting += inputs
    return sum(isinstance(application.nodes[node_id], SourceNode) for node_id in above) == 1


def expanded(times: Sequence[int]) -> list[int]:
    """Return a time for each message, of the runs that a batch carries."""
    return list(chain.from_iterable(map(repeat, times[1::2], times[0::2])))


def stamping(node: int, source: SourceNode, below: Push, place: Position) -> Push:
    """Return the push that finds out when a message of a source happened."""
    event_time, max_ahead = source.source.event_time, source.source.max_ahead
    if event_time is None and source.source.frame_time is not None:
        event_time = _time_of_frame(source.source.frame_time, place)
    checked: Callable[[Any], int] = checked_time
    early = BEGINNING
    if source.source.takes_any_time:
        # Earlier times are warned of, once.
        checked, early = time_converter(), YEAR_1980

    def stamp(value: Any) -> None:
        nonlocal early
        if event_time is not None:
            try:
                time = checked(event_time(value))
                if in_child:
                    leave_if_child()
                if time < early:
                    early = BEGINNING
                    warn_of_early_time(source.name, event_time, time)
                if max_ahead is not None and time - place.arrivals[place.origin] > max_ahead:
                    # It must not move the watermark: all messages that come after it would be late.
                    check_ahead(time, place.arrivals[place.origin], max_ahead)
            except BaseException as error:  # noqa: BLE001
                place.fail(node, error, value)
                return
            if place.run.time is None or time > place.run.time:
                place.run.time = time
        else:
            time = place.arrivals[place.origin]
        place.time = time
        place.watermark = max(place.watermark, time)
        below(value)

    return stamp


def _time_of_frame(frame_time: Callable[[bytes], int | None], place: Position) -> Callable[[Any], int]:
    """Return a function from a message to the time that its frame says, or else to that of its arrival."""

    def event_time(value: Any) -> int:
        time = frame_time(place.frames[place.origin])
        return place.arrivals[place.origin] if time is None else time

    return event_time


class TimedFramesStage(Stage):
    """Begins with a decoder; its messages are stamped."""

    def run(self, given: Any, run: BatchRun) -> Sequence[Outlet]:
        """Take ``given`` through the steps; nothing at all happens where outputs are discarded."""
        return () if run.discard else super().run(given, run)

    def _run(self, given: Any, run: BatchRun) -> None:
        if not is_frames(given):
            raise ProtocolError("the input of a frames batch is not an array of bin")
        _begin(self._place, run)
        self._place.frames = given
        self._push_each(given, run)


class TimedGenerateStage(GenerateStage):
    """Begins with a generator; its values are stamped."""

    def _run(self, given: Any, run: BatchRun) -> None:
        _begin(self._place, run)
        super()._run(given, run)


def _begin(place: Position, run: BatchRun) -> None:
    place.arrivals = expanded(run.times)
    place.watermark = BEGINNING


class TimedGroupsStage(Stage):
    """Begins with groups, and has windows or leads to some."""

    def __init__(self, root: int, branches: Sequence[Branch], outlets: Sequence[Outlet], codec: ValueCodec) -> None:
        super().__init__(root, branches, outlets, codec)
        self._ways: dict[tuple[bool, bool], tuple[Push, StageWindows]] = {}

    def run(self, given: Any, run: BatchRun) -> Sequence[Outlet]:
        """Take ``given`` through the steps; nothing happens where outputs are discarded and no step has state."""
        idle = run.discard and not any(branch.changes_state for branch in self._branches)
        return () if idle else super().run(given, run)

    def _run(self, given: Any, run: BatchRun) -> None:
        if not is_groups(given):
            raise ProtocolError("the input of a groups batch is not flat key, count, codec, values")
        reader = GroupReader(self._root, self._codec)
        push, windows = self._way(run)
        place = self._place
        place.called_before = {}
        routed_at = expanded(run.times)
        woken: set[Any] = set()
        run.keys = list(map(key_from_wire, given[0::4]))
        for group, (key, *fields) in enumerate(zip(run.keys, given[1::4], given[2::4], given[3::4])):
            count, codec, data = fields
            mark = routed_at[group] if routed_at else BEGINNING
            if codec == TIMER:
                # What steps hold back was sent before the timer.
                place.finish()
                place.origin, place.key = group, key
                watermark = int.from_bytes(data, "little", signed=True)
                if run.careful:
                    run.at(group, WHOLE)
                windows.wake(Timer(group, watermark, mark), place)
                woken.add(key)
                continue
            times, watermarks, codec, data = _taken_apart(count, codec, data)
            values = reader.read_group(group, count, codec, data, run)
            place.origin, place.key = group, key
            for position, (value, time, before) in enumerate(zip(values, times, watermarks)):
                if (group, position) in run.skip:
                    continue
                place.time, place.watermark = time, max(mark, before)
                if run.careful:
                    run.at(group, position)
                push(value)
                if run.careful:
                    run.survived()
        place.finish()
        windows.tell(run, woken)

    def _way(self, run: BatchRun) -> tuple[Push, StageWindows]:
        way = (run.discard, run.careful)
        known = self._ways.get(way)
        if known is None:
            # Steps with windows add themselves as they are made.
            self._place.windows = windows = StageWindows()
            self._ways[way] = known = self._push(run), windows
        self._place.run = run
        return known


def _taken_apart(count: int, codec: int, data: bytes) -> tuple[Iterator[int], Iterator[int], int, bytes]:
    """Return times, watermarks, codec and values of a group."""
    columns = []
    for flag, missing in ((TIMES, 0), (WATERMARKS, BEGINNING)):
        if codec & flag:
            columns.append(iter(struct.unpack_from(f"<{count}q", data)))
            data = data[8 * count :]
        else:
            columns.append(repeat(missing, count))
    return columns[0], columns[1], codec & ~(TIMES | WATERMARKS), data


class TimedOutlet(EagerGroupOutlet):
    """An outlet that leads to windows of time: values go with their times.

    Args:
        node: Its id.
        codec: Encodes the values.
        key: The key function, or ``None`` to put all values under the key ``None``.
        watermarks: Whether values go with their watermarks too.
        crosses: As for :class:`EagerGroupOutlet`.
    """

    def __init__(
        self, node: int, codec: ValueCodec, key: KeyFunction | None, *, watermarks: bool, crosses: bool = False
    ) -> None:
        super().__init__(node, codec, key, crosses=crosses)
        self._watermarks = watermarks
        self._times: dict[Any, list[int]] = {}
        self._marks: dict[Any, list[int]] = {}

    def begin(self) -> None:
        """Forget the batch before."""
        super().begin()
        self._times.clear()
        self._marks.clear()

    def push(self, below: Push, place: Position) -> Push:
        """Return the push of this outlet; nothing is below it."""
        capture, keys = super().push(below, place), self._keys
        times, marks = self._times, self._marks

        def capture_with_time(value: Any) -> None:
            before = len(keys)
            capture(value)
            if len(keys) > before:
                times.setdefault(keys[-1], []).append(place.time)
                marks.setdefault(keys[-1], []).append(place.watermark)

        return capture_with_time

    def data(self, run: BatchRun) -> list[Any]:
        """Return flat ``key, count, codec, values``."""
        run.enter(self.node)
        flat: list[Any] = []
        for key, values in self._groups.items():
            for _, entry in self._pieces(key, values, 1 << 62):
                flat += entry
        return flat

    def _pieces(self, key: Any, values: list[Any], largest: int) -> Iterator[tuple[int, Entry]]:
        position = 0
        for stretch in self._stretches(values):
            for entry in self._encoded(key, stretch, largest - 16 * len(stretch)):
                count = entry[1]
                timed = self._with_times(entry, slice(position, position + count))
                yield group_size(key, timed[3]), timed
                position += count

    def _encoded(self, key: Any, stretch: list[Any], largest: int) -> Iterator[Entry]:
        if stretch[0].__class__ is EncodedValue:
            for codec, data in stretch:
                yield [key, 1, codec, data]
        else:
            for _, _, entry in halves(self._codec, key, stretch, largest):
                yield entry

    def _with_times(self, entry: Entry, part: slice) -> Entry:
        key, count, codec, data = entry
        pack = partial(struct.pack, f"<{count}q")
        columns = pack(*self._times[key][part])
        codec |= TIMES
        if self._watermarks:
            columns += pack(*self._marks[key][part])
            codec |= WATERMARKS
        return [key, count, codec, columns + data]

    def _read_back(self, codec: int, data: bytes) -> Any:
        _, _, codec, data = _taken_apart(1, codec, data)
        return super()._read_back(codec, data)

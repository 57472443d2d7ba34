"""Tortures a source: it is read, killed, opened again and acknowledged as no run would in a year."""

from __future__ import annotations

import copy
import itertools
import random
from collections.abc import Mapping, Sequence
from typing import Any, Callable

from wallaroo._connector._calls import Calls
from wallaroo._connector._source import check_names
from wallaroo._io.connectors import Source, connector
from wallaroo.testing._killable import made_by, quick_collections
from wallaroo.testing._readings import SHORT, Difference, Known, Reading, Taken, difference, is_same, partition
from wallaroo.testing._story import Story, from_to, shown

_QUIET = 0.5
"""Seconds after which a source that gives nothing has nothing more now."""
_NEXT = 5
"""Messages that are read behind a position."""
_LINES = 15
"""Before which line of a method it is killed, at most."""

_NOT_ACKNOWLEDGED = (
    "let go of messages in acknowledge(), and nowhere else: what is not acknowledged is read again after a restart, so"
    " open(), read() and close() may not delete, commit or move on anything outside of the object"
)
_ADVICE = {
    ("again", "order"): "return the messages of a partition in the same order each time, for example with ORDER BY",
    ("behind", "doubled"): "go on with the message after the one of the position: that one comes twice otherwise",
    ("behind", "lost"): "go on with the message right after the one of the position: it is left out otherwise",
    ("acknowledged", "lost"): "acknowledge(position) may let go of messages up to that position, and of none behind it",
}
_ALWAYS = "read() returns the same messages behind a position each time, in the same order"
_SHARED = (
    "each partition is read by a copy.copy() of the object, and the copies share what __init__ has made: make in open()"
    " what belongs to one partition"
)


def check_source(
    make: Callable[[], Source[Any]],
    expected: Sequence[Any] | Mapping[str, Sequence[Any]] | None = None,
    *,
    acknowledged: Callable[[], Any] | None = None,
    most: int = 1_000,
    rounds: int = 30,
    patience: float = 10.0,
    seed: int = 0,
) -> None:
    """Torture a source, and fail if a run with it could lose or double messages.

    It is read as ``wallaroo-orch`` reads it: in batches of all sizes, each partition by a copy of its own. Its objects
    are thrown away between calls and in the middle of them, at any line of the connector's file, and new ones are
    opened behind what was received. What the source reads must not change meanwhile, but by
    :meth:`wallaroo.Source.acknowledge`, which is called at the end. Threads and processes that the connector starts
    itself are not killed.

    Args:
        make: Makes a new object, as a new process would have it.
        expected: The messages: a list for the only partition, or one for each partition by its name. Without it, what
            is read first is what is expected later.
        acknowledged: Returns what is acknowledged outside, for example how many messages a queue still has. It must not
            change before ``acknowledge`` is called.
        most: How many messages of each partition are read.
        rounds: How many times each partition is killed, in each part of the check.
        patience: Seconds after which a call that does not return is a fault.
        seed: Chooses where it is killed.

    Raises:
        AssertionError: The source has a fault. It says what was done, what was expected, what came, and what to do.
        TypeError: An argument is of another type than said above.
        WallarooParameterError: A method takes other arguments.

    Example:
        >>> import wallaroo, wallaroo.testing
        >>> class Letters(wallaroo.Source[str]):
        ...     def open(self, partition, position):
        ...         self.next = 0 if position is None else position
        ...     def read(self, limit, timeout):
        ...         letters = "abcdef"[self.next : self.next + limit]
        ...         pairs = [(letter, number) for number, letter in enumerate(letters, self.next)]
        ...         self.next += len(pairs)
        ...         return pairs or None
        >>> wallaroo.testing.check_source(Letters)
        Traceback (most recent call last):
        AssertionError: check_source: Letters: messages are doubled
          done:
            read messages 0 to 5; killed; acknowledge() was not called
            opened at 0, the position of message 0
            read(limit=5) returned messages 1 to 5
          expected: message 1, 'b'
          came: message 0 again, 'a'
          to do: go on with the message after the one of the position: that one comes twice otherwise
        >>> class Mended(Letters):
        ...     def open(self, partition, position):
        ...         self.next = 0 if position is None else position + 1
        >>> wallaroo.testing.check_source(Mended, "abcdef")
    """
    source = made_by(make, Source, "check_source")
    connector(source)
    story = Story("check_source", type(source).__name__)
    check = _SourceCheck(make, story, acknowledged, random.Random(seed), patience)
    names = _names(source, story)
    wanted = {name: _expected_of(name, names, expected) for name in names}
    with quick_collections():
        _torture(check, wanted, most, rounds)


def _torture(check: _SourceCheck, wanted: dict[str, list[Any] | None], most: int, rounds: int) -> None:
    check.remember_outside()
    partitions = [check.first(name, expected, most) for name, expected in wanted.items()]
    for known in partitions:
        check.read_again(known)
        check.open_behind(known, rounds)
    if len(partitions) > 1:
        check.read_side_by_side(partitions)
    for known in partitions:
        check.kill(known, rounds)
        check.look_outside()
    for known in partitions:
        check.acknowledge(known, rounds)


def _names(source: Any, story: Story) -> list[str]:
    calls = Calls()
    given = calls.call(source.partitions)
    calls.close()
    try:
        return check_names(given)
    except (TypeError, ValueError) as error:
        raise story.fault(
            "partitions() has returned what are no names",
            expected="a list of different names",
            came=f"{shown(given)}: {error}",
            advice='return the names of the partitions, for example ["0", "1"]',
        ) from None


def _expected_of(name: str, names: list[str], expected: Any) -> list[Any] | None:
    if expected is None:
        return None
    if isinstance(expected, Mapping):
        if set(expected) != set(names):
            raise AssertionError(
                f"check_source: messages of {list(expected)} are expected, and partitions() are {names}"
            )
        return list(expected[name])
    if len(names) > 1:
        raise TypeError(f"check_source: there are partitions {names}: give expected={{name: messages}}")
    return list(expected)


class _SourceCheck:
    """The parts of the check, in their order. Only the last one acknowledges anything."""

    def __init__(
        self,
        make: Callable[[], Any],
        story: Story,
        acknowledged: Callable[[], Any] | None,
        chance: random.Random,
        patience: float,
    ) -> None:
        self._make, self.story, self._acknowledged = make, story, acknowledged
        self.random, self._patience = chance, patience
        self._outside: Any = None

    def remember_outside(self) -> None:
        """Note what is acknowledged before anything was read."""
        self._outside = None if self._acknowledged is None else self._acknowledged()

    def look_outside(self) -> None:
        """Check that nothing more is acknowledged."""
        if self._acknowledged is None:
            return
        now = self._acknowledged()
        if not is_same(now, self._outside):
            raise self.story.fault(
                "it acknowledges too early",
                expected=f"acknowledged() is {shown(self._outside)}, as before: acknowledge() was not called",
                came=shown(now),
                advice=_NOT_ACKNOWLEDGED,
            )

    def first(self, name: str, expected: list[Any] | None, most: int) -> Known:
        """Read a partition for the first time, to know its messages."""
        self.story.begin("made an object")
        reading = self.open(name, None, 0)
        wanted = most if expected is None else len(expected)
        taken = reading.take(wanted, lambda: 1_000, _QUIET if expected is None else self._patience)
        is_cut = expected is None and len(taken) == most
        if not is_cut and not reading.has_ended:
            taken += reading.take(1, lambda: 1_000, _QUIET)
        messages, positions = [message for message, _ in taken], [position for _, position in taken]
        if expected is not None:
            different = difference(expected, 0, len(expected), messages)
            if different is not None:
                raise self._wrong("first", different)
        self._check_distinct(positions)
        if reading.has_ended:
            reading.check_end()
        elif not is_cut:
            reading.check_waiting()
        reading.kill()
        self.look_outside()
        return Known(name, messages, positions, reading.has_ended, is_cut)

    def read_again(self, known: Known) -> None:
        """Read a partition in batches of other sizes, by a new object each time."""
        for sizes in ([1], [2, 3], [7, 1, 20]):
            self._begin_behind_first(known)
            reading = self.open(known.name, None, 0)
            limits = itertools.cycle(sizes)
            self.rest(known, reading, "again", limits.__next__)
            reading.kill()
            self.look_outside()

    def open_behind(self, known: Known, rounds: int) -> None:
        """Open a new object behind each of some positions."""
        count = len(known.messages)
        chosen = {1, 2, count} | {self.random.randint(1, max(count, 1)) for _ in range(rounds)}
        for received in sorted(number for number in chosen if number <= count):
            self._begin_behind_first(known)
            reading = self.open(known.name, known.position(received), received)
            self.some(known, reading, _NEXT, "behind")
            reading.kill()
            self.look_outside()

    def read_side_by_side(self, partitions: list[Known]) -> None:
        """Read all partitions by copies of one object: to their ends, and while one of them is closed early."""
        for closed_early in (None, partitions[0]):
            self.story.begin("made an object, and a copy of it for each partition")
            source = self._make()
            readings = [(known, self.open(known.name, None, 0, source)) for known in partitions]
            for known, reading in readings:
                self.some(known, reading, 1, "side by side")
            while readings:
                known, reading = readings.pop(0 if closed_early else self.random.randrange(len(readings)))
                if known is not closed_early and reading.next < len(known.messages):
                    self.some(known, reading, self.random.choice([1, 2, 5]), "side by side")
                    readings.append((known, reading))
                else:
                    # The copies of the others go on.
                    reading.close()
        self.look_outside()

    def kill(self, known: Known, rounds: int) -> None:
        """Kill objects while they read, and go on behind what was received, or behind less."""
        self._begin_behind_first(known)
        _Walk(self, known, acknowledges=False).run(rounds)

    def acknowledge(self, known: Known, rounds: int) -> None:
        """The same, while what was received is acknowledged bit by bit."""
        self._begin_behind_first(known)
        _Walk(self, known, acknowledges=True).run(rounds)

    def _begin_behind_first(self, known: Known) -> None:
        read = from_to(0, len(known.messages)) if known.messages else "no message"
        self.story.begin(f"read {read}{partition(known.name, 'of')}; killed; acknowledge() was not called")

    def open(self, name: str, position: Any, received: int, source: Any = None) -> Reading:
        made = self._make() if source is None else source
        return Reading(copy.copy(made), name, position, received, self.story, self._patience)

    def some(self, known: Known, reading: Reading, count: int, part: str) -> Taken:
        """Read the next messages, and check them."""
        start = reading.next
        count = min(count, len(known.messages) - start)
        taken = reading.take(count, lambda: count, self._patience)
        different = difference(known.messages, start, count, [message for message, _ in taken])
        if different is not None:
            raise self._wrong(part, different)
        return taken

    def rest(self, known: Known, reading: Reading, part: str, limit: Callable[[], int] = lambda: 1_000) -> None:
        """Read to the end, and check the messages."""
        start = reading.next
        count = len(known.messages) - start
        came = [message for message, _ in reading.take(count, limit, self._patience)]
        if not known.is_cut and not reading.has_ended:
            came += [message for message, _ in reading.take(1, lambda: 1, _QUIET if known.has_ended else SHORT)]
        different = difference(known.messages, start, count, came)
        if different is not None:
            raise self._wrong(part, different)
        if known.has_ended is not reading.has_ended and not known.is_cut:
            said = {True: "None", False: "[]"}
            raise self.story.fault(
                "the end of a partition is not the same each time",
                expected=f"read() returns {said[known.has_ended]} behind all messages, as it did first",
                came=said[reading.has_ended],
                advice="return None when no message will ever come, also after a restart; [] when there are none now",
            )

    def _wrong(self, part: str, different: Difference) -> AssertionError:
        kind = different.kind
        wrong = {
            "lost": "messages are lost",
            "doubled": "messages are doubled",
            "order": "messages come in another order",
            "other": "other messages come",
        }[kind]
        advice = _ADVICE.get((part, kind), _ALWAYS)
        if part == "first":
            advice = "see whether `expected` is right, and whether read() leaves out or changes anything"
        elif part == "side by side":
            wrong, advice = f"{wrong} when partitions are read side by side", _SHARED
        elif kind == "lost" and part != "behind" and (part, kind) not in _ADVICE:
            advice = _NOT_ACKNOWLEDGED
        return self.story.fault(wrong, expected=different.expected, came=different.came, advice=advice)

    def _check_distinct(self, positions: list[Any]) -> None:
        first: dict[Any, int] = {}
        for number, position in enumerate(positions):
            if first.setdefault(position, number) != number:
                raise self.story.fault(
                    "two messages have the same position",
                    expected="reading can go on behind each message",
                    came=f"messages {first[position]} and {number} both have {shown(position)}",
                    advice="give each message a position of its own, for example (position of the batch, number in it)",
                )


class _Walk:
    """A partition that is read to its end by one object after the other.

    Args:
        check: Opens and compares.
        known: The partition.
        acknowledges: What was received is acknowledged on the way.
    """

    def __init__(self, check: _SourceCheck, known: Known, *, acknowledges: bool) -> None:
        self._check, self._known, self._acknowledges = check, known, acknowledges
        self._part = "acknowledged" if acknowledges else "killed"
        self._random = check.random
        # As they were given last: an object need not give the same ones as another.
        self._positions = list(known.positions)
        self._received = self._acknowledged = 0
        self._reading = self._open()

    def run(self, rounds: int) -> None:
        """Kill so many objects, then read to the end."""
        # So that something is left to be acknowledged until the last round.
        step = -(-2 * len(self._known.messages) // max(rounds, 1))
        for _ in range(rounds):
            for _ in range(self._random.randrange(3)):
                self._read()
            target = min(self._acknowledged + self._random.randint(0, step), self._received)
            if self._acknowledges and target > self._acknowledged and self._random.random() < 0.7:
                self._acknowledge(target)
            self._end_process(target)
            # The orchestrator may have forgotten what is not acknowledged.
            some = self._random.randint(self._acknowledged, self._received)
            self._received = self._random.choice([self._received, some, self._acknowledged, self._acknowledged])
            self._reading = self._open()
        self._finish()

    def _open(self) -> Reading:
        position = self._positions[self._received - 1] if self._received else None
        return self._check.open(self._known.name, position, self._received)

    def _read(self) -> None:
        most = max(len(self._known.messages) // 8, 3)
        taken = self._check.some(self._known, self._reading, self._random.randint(1, most), self._part)
        for _, position in taken:
            self._positions[self._received] = position
            self._received += 1

    def _acknowledge(self, received: int) -> None:
        self._reading.acknowledge(self._note_acknowledged(received))

    def _note_acknowledged(self, received: int) -> Any:
        """Return the position that is behind so many messages, which are acknowledged now."""
        self._acknowledged = received
        position = self._positions[received - 1]
        self._check.story.add(f"acknowledge({shown(position)}), the position of message {received - 1}")
        return position

    def _end_process(self, target: int) -> None:
        kind = self._random.randrange(4)
        if kind == 0:
            self._reading.close()
        elif kind == 1:
            self._reading.kill_in_read(self._random.randrange(_LINES), self._random.randint(1, 10))
        elif kind == 2 and self._acknowledges and target > 0:
            # It counts as acknowledged, whatever comes of the call.
            position = self._note_acknowledged(max(target, self._acknowledged))
            self._reading.kill_in_acknowledge(self._random.randrange(_LINES), position)
        else:
            self._reading.kill()

    def _finish(self) -> None:
        self._check.rest(self._known, self._reading, self._part)
        if self._acknowledges and self._known.messages:
            self._received = len(self._known.messages)
            self._acknowledge(self._received)
            self._reading.close()
            self._reading = self._open()
            # Said again to a process that has not read it: the one before may not have heard of it.
            self._acknowledge(self._received)
            self._check.rest(self._known, self._reading, self._part)
        self._reading.close()

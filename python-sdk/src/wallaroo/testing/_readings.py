"""Partitions of a source under test, as they are read: each answer of the user's code is checked when it comes."""

from __future__ import annotations

import pickle
import time
from collections.abc import Sequence
from typing import Any, Callable, NamedTuple

from wallaroo._connector._positions import pack_position, unpack_position
from wallaroo.testing._killable import Death, Killable
from wallaroo.testing._story import Story, counted, from_to, shown, shown_list

SHORT = 0.02
"""Seconds that a read may wait."""
_LATE = 0.5
"""Seconds by which the fastest of several reads may come too late."""
_LOOKS = 5
"""Reads that have to give nothing before it is judged how long they take."""
_HURRY = 0.25
"""A source that gives nothing sooner than in this part of the time, each time, waits for nothing."""

Taken = list[tuple[Any, Any]]
"""Messages with their positions."""


class Known(NamedTuple):
    """A partition, as it was read first.

    Args:
        name: Of the partition.
        messages: All of them, or the first of very many.
        positions: Of each message.
        has_ended: ``read`` has returned ``None`` behind the last one.
        is_cut: There are more messages.
    """

    name: str
    messages: list[Any]
    positions: list[Any]
    has_ended: bool
    is_cut: bool

    def position(self, received: int) -> Any:
        """Return what a source is opened at when so many messages were received."""
        return self.positions[received - 1] if received else None


class Reading:
    """A partition that an object reads, as in a process of its own.

    Args:
        source: The object.
        name: Of the partition.
        position: The source is opened at it.
        received: How many messages were received before, which is where the source goes on.
        story: Takes in what is done.
        patience: As for ``check_source``.
    """

    def __init__(
        self, source: Any, name: str, position: Any, received: int, story: Story, patience: float = 10.0
    ) -> None:
        self._name, self._story, self._patience = name, story, patience
        self.next = received
        self.has_ended = False
        where = "the beginning" if received == 0 else f"{shown(position)}, the position of message {received - 1}"
        story.add(f"opened{partition(name)} at {where}")
        self._process = Killable(lambda: source, story, patience)
        self._process.call("open", name, _kept(position))

    def read(self, limit: int, timeout: float = SHORT) -> Taken | None:
        """Read once.

        Raises:
            AssertionError: What came is not what ``read`` may return.
        """
        given = self._process.call("read", limit, timeout, wait=timeout)
        if given is None:
            self.has_ended = True
            self._story.add(f"read(limit={limit}) returned None")
            return None
        taken = self._pairs(given)
        if taken:
            self._story.add(f"read(limit={limit}) returned {from_to(self.next, self.next + len(taken))}")
        if len(taken) > limit:
            raise self._story.fault(
                "read() has returned more messages than its limit",
                expected=f"at most {limit}",
                came=f"{len(taken)}",
                advice="return at most `limit` messages and keep the others for the next call",
            )
        for number, (message, position) in enumerate(taken, self.next):
            self._check(number, message, position)
        self.next += len(taken)
        return taken

    def take(self, count: int, limit: Callable[[], int], quiet: float) -> Taken:
        """Read until so many messages have come, the partition has ended, or nothing has come for ``quiet`` seconds."""
        taken: Taken = []
        silent_since = time.monotonic()
        while len(taken) < count:
            more = self.read(min(limit(), count - len(taken)))
            if more is None:
                break
            taken += more
            if more:
                silent_since = time.monotonic()
            elif time.monotonic() - silent_since > quiet:
                break
        return taken

    def acknowledge(self, position: Any) -> None:
        """Call ``acknowledge``."""
        self._process.call("acknowledge", _kept(position))

    def kill(self) -> None:
        """Throw the object away."""
        self._process.kill()

    def kill_in_read(self, line: int, limit: int) -> Death:
        """Throw the object away in the middle of ``read``. What it has returned has not arrived."""
        return self._process.kill_in(line, "read", limit, SHORT, wait=SHORT)

    def kill_in_acknowledge(self, line: int, position: Any) -> Death:
        """Throw the object away in the middle of ``acknowledge``."""
        return self._process.kill_in(line, "acknowledge", _kept(position))

    def close(self) -> None:
        """Close the source."""
        self._process.close()

    def check_end(self) -> None:
        """Check that a partition that has ended does not go on.

        Raises:
            AssertionError: It does.
        """
        for _ in range(2):
            given = self._process.call("read", 10, SHORT, wait=SHORT)
            if given is not None:
                raise self._story.fault(
                    "read() has returned None, and then goes on",
                    expected="None again: the partition has ended",
                    came=shown_list(list(given)),
                    advice="return [] when there are no messages now, and None only when none will ever come",
                )

    def check_waiting(self) -> None:
        """Check how long a source waits that has no messages now.

        Raises:
            AssertionError: It waits much too long each time, or not at all.
        """
        times = []
        for _ in range(_LOOKS):
            begun = time.monotonic()
            if self.read(10):
                return
            times.append(time.monotonic() - begun)
        if min(times) > SHORT + _LATE:
            raise self._story.fault(
                "read() waits longer than its timeout",
                expected=f"read(limit, timeout={SHORT}) returns [] after {SHORT} s when there are no messages",
                came=f"the fastest of {_LOOKS} calls took {min(times):.2f} s",
                advice="wait for `timeout` seconds at most: acknowledge() is not called meanwhile",
            )
        if sum(times) < SHORT * _LOOKS * _HURRY:
            raise self._story.fault(
                "read() does not wait for messages",
                expected=f"read(limit, timeout={SHORT}) waits up to {SHORT} s for the first message",
                came=f"{_LOOKS} calls returned [] within {sum(times) * 1000:.1f} ms",
                advice="wait for `timeout` seconds before [] is returned, for example by time.sleep(timeout):"
                " it is called again at once, and would keep a processor busy",
            )

    def _pairs(self, given: Any) -> Taken:
        try:
            pairs = [(message, position) for message, position in given]
        except (TypeError, ValueError):
            raise self._story.fault(
                "read() has returned what is no list of messages with their positions",
                expected="a list of pairs (message, position), or None",
                came=shown(given),
                advice="return [(message, position), ...]; [] if there are none now; None at the end",
            ) from None
        return pairs

    def _check(self, number: int, message: Any, position: Any) -> None:
        try:
            pickle.dumps(message, 4)
        except Exception as error:
            raise self._story.fault(
                "a message cannot be pickled",
                expected="messages go to the workers: bytes that a codec decodes, or what pickle takes",
                came=f"message {number}, {shown(message)}: {type(error).__name__}: {error}",
                advice="return plain values, and use the rest where it is at hand",
            ) from error
        try:
            kept = _kept(position)
        except (TypeError, ValueError) as error:
            raise self._story.fault(
                "a position cannot be kept",
                expected="a position is bytes, str, int, or a tuple of these, and comes back as it was",
                came=f"message {number} has {shown(position)}: {error}",
                advice="make the position of such values, for example tuple(position) or str(position)",
            ) from None
        if kept is None:
            raise AssertionError("positions are not None, as pack_position has found")


def _kept(position: Any) -> Any:
    """Return a position as it comes back from the log."""
    return None if position is None else unpack_position(pack_position(position))


def partition(name: str, preposition: str = "") -> str:
    """Return the name of a partition, for a sentence; nothing for the only one."""
    return f" {preposition} partition {name!r}".replace("  ", " ") if name else ""


def is_same(one: Any, other: Any) -> bool:
    """Whether two messages are equal, or pickle makes the same bytes of them."""
    try:
        if bool(one == other):
            return True
    except Exception:  # noqa: BLE001 - the user's __eq__
        pass
    try:
        return pickle.dumps(one, 4) == pickle.dumps(other, 4)
    except Exception:  # noqa: BLE001 - the user's
        return False


def are_same(some: Sequence[Any], others: Sequence[Any]) -> bool:
    """Whether two lists of messages are the same."""
    return len(some) == len(others) and all(map(is_same, some, others))


class Difference(NamedTuple):
    """How messages differ from those that were expected.

    Args:
        kind: ``lost``, ``doubled``, ``order`` or ``other``.
        expected: What was expected, as text.
        came: What came, as text.
    """

    kind: str
    expected: str
    came: str


def difference(messages: list[Any], start: int, count: int, came: list[Any]) -> Difference | None:
    """Return how what came differs from ``messages[start : start + count]``, or ``None``."""
    wanted = messages[start : start + count]
    if are_same(wanted, came):
        return None
    same = (index for index, (one, other) in enumerate(zip(wanted, came)) if not is_same(one, other))
    first = next(same, min(len(wanted), len(came)))
    number = start + first
    expected = f"message {number}, {shown(wanted[first])}" if first < len(wanted) else "nothing more"
    if first == len(came):
        kind = "lost"
        what = f"nothing more: {counted(len(came))} of {len(wanted)}"
    else:
        kind, what = _found(messages, number, came[first:])
    return Difference(kind, expected, what)


def _found(messages: list[Any], number: int, came: list[Any]) -> tuple[str, str]:
    """Return what came in place of message ``number``, and what follows."""

    def goes_on_at(index: int) -> bool:
        there = messages[index : index + len(came)]
        return index >= 0 and bool(there) and all(map(is_same, there, came))

    places = [number - 1, number + 1, *range(number - 2, -1, -1), *range(number + 2, len(messages))]
    place = next(filter(goes_on_at, places), None)
    if place is None:
        place = next(
            (index for index in places if 0 <= index < len(messages) and is_same(messages[index], came[0])), None
        )
    text = shown(came[0])
    if place is None:
        return "other", f"{text}, which was not among the messages before"
    if place < number:
        return "doubled", f"message {place} again, {text}"
    comes_later = number < len(messages) and any(is_same(messages[number], message) for message in came)
    return ("order" if comes_later else "lost"), f"message {place}, {text}"

"""Tortures a sink: it writes, is killed at each line, is opened again and rejects, as no run would in a year."""

from __future__ import annotations

import os
import pickle
import random
from collections.abc import Iterable, Sequence
from typing import Any, Callable

from wallaroo._connector._sink import position_bytes
from wallaroo._io.connectors import LENGTH, RejectedMessageError, Sink, connector
from wallaroo.testing._killable import Killable, made_by, quick_collections
from wallaroo.testing._readings import is_same
from wallaroo.testing._story import Story, from_to, shown
from wallaroo.testing._target import Target, Wrong

_LEAST = 50
"""Messages that a check needs."""
_KEPT = 16
"""Of these, so many are kept for what comes after the killing."""
_EACH_LINE = 30
"""Before each of so many lines of ``write`` it is killed, then before every :data:`_STEP` th."""
_STEP = 7
_LINES_OF_OPEN = 8

_ONE_TRANSACTION = "store the position together with the messages, in one transaction"
_NONE_OF_THEM = "write none of the messages of a call that rejects one: roll back, or look at all of them first"
_ADVICE = {
    ("returned", "lost"): "messages count as written, for good, when write() returns: commit, or flush, before",
    ("opened", "early"): f"{_ONE_TRANSACTION}: what is there without its position is written again",
    ("rejected", "early"): _NONE_OF_THEM,
    ("rejected", "doubled"): _NONE_OF_THEM,
    ("closed", "lost"): "close() may undo nothing that write() has returned from",
}
_ALWAYS = "write each message once, in order, as it was given"


def check_sink(
    make: Callable[[], Sink[Any]],
    messages: Sequence[Any],
    read_back: Callable[[], Iterable[Any]],
    *,
    rejected: Sequence[Any] = (),
    ordered: bool = True,
    patience: float = 10.0,
    seed: int = 0,
) -> None:
    """Torture a sink, and fail if a run with it could lose or double messages.

    It is written to as ``wallaroo-orch`` does it, in batches of several sizes. Its objects are thrown away between
    calls and in the middle of them, at any line of the connector's file; new ones go on behind the position that
    ``open`` returns, or get again what ``write`` had not returned from. A sink that stores positions is held to exactly
    once, one that stores none to at least once. Threads and processes that the connector starts itself are not killed.

    Args:
        make: Makes a new object, as a new process would have it.
        messages: At least 50 different messages, which are written to the target one after the other.
        read_back: Returns what the target has, in its order, as the messages were given. The target is empty first.
        rejected: Messages for which ``write`` must raise :class:`wallaroo.RejectedMessageError`.
        ordered: The target keeps the order of messages.
        patience: Seconds after which a call that does not return is a fault.
        seed: Chooses sizes of batches and where ``open`` is killed.

    Raises:
        AssertionError: The sink has a fault. It says what was done, what was expected, what came, and what to do.
        TypeError: An argument is of another type than said above.
        ValueError: There are too few messages, two of them are equal, or the target is not empty.
        WallarooParameterError: A method takes other arguments.

    Example:
        >>> import wallaroo, wallaroo.testing
        >>> class Table:
        ...     rows, position = [], None
        >>> class Rows(wallaroo.Sink[int]):
        ...     def open(self):
        ...         return Table.position
        ...     def write(self, position, messages):
        ...         Table.position = position
        ...         Table.rows += messages
        >>> wallaroo.testing.check_sink(Rows, range(100), lambda: Table.rows)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        AssertionError: check_sink: Rows: messages are lost
          done:
            ...
            write() with message 1
            killed in write(), before line 5 of ...: Table.rows += messages
            opened, and open() returned the position behind message 1
          expected: the target has messages 0 to 1
          came: message 1 (1) is not there
          to do: store the position together with the messages, in one transaction: it was stored before they were
    """
    sink = made_by(make, Sink, "check_sink")
    connector(sink)
    messages = list(messages)
    _check_messages(messages)
    check = _SinkCheck(
        make,
        Target(messages, read_back, ordered=ordered),
        messages,
        Story("check_sink", type(sink).__name__),
        (random.Random(seed), patience),
    )
    with quick_collections():
        check.run(rejected)


def _check_messages(messages: list[Any]) -> None:
    if len(messages) < _LEAST:
        raise ValueError(f"check_sink: there are {len(messages)} messages: give at least {_LEAST}")
    for number, message in enumerate(messages):
        for other in range(number):
            if is_same(messages[other], message):
                raise ValueError(
                    f"check_sink: messages {other} and {number} are both {shown(message)}: give different ones, so that"
                    " it can be told which is lost"
                )


class _SinkCheck:
    """Writes messages in order, and knows what the target may have.

    Args:
        make: Makes an object.
        target: What it writes to.
        messages: All that is written.
        story: Takes in what is done.
        settings: What chooses sizes, and the patience.
    """

    def __init__(
        self,
        make: Callable[[], Any],
        target: Target,
        messages: list[Any],
        story: Story,
        settings: tuple[random.Random, float],
    ) -> None:
        self._make, self._target, self._messages, self._story = make, target, messages, story
        self._random, self._patience = settings
        self._stream = f"check-{os.urandom(8).hex()}"
        # Where the stream is behind each message, as SinkRun counts it.
        sizes = [LENGTH.size + len(pickle.dumps(message, 4)) for message in messages]
        self._ends = [0]
        for size in sizes:
            self._ends.append(self._ends[-1] + size)
        # Messages of calls that have returned; messages behind which the next call goes on.
        self._durable = self._next = 0
        # How many messages are before the position that is committed; None: the sink has returned none.
        self._committed: int | None = None
        self._positions: dict[str, int] = {}
        self._foreign = ""

    def run(self, rejected: Sequence[Any]) -> None:
        """Go through all parts of the check."""
        self.begin()
        for size in (1, 2, 5):
            self.kill_at_each_line(size)
        self.open_and_close()
        for message in rejected:
            self.reject(message)
        self.finish()

    def begin(self) -> None:
        """Open it for the first time, and learn whether it stores positions."""
        self._open()
        self._write(1)
        self._process.kill()
        self._open()

    def kill_at_each_line(self, size: int) -> None:
        """Kill it at each line of ``write``, with batches of one size."""
        line, has_returned = 0, False
        while not has_returned and len(self._messages) - self._next >= size + _KEPT:
            batch, position = self._give(size)
            has_returned = self._kill_in_write(line, position, batch)
            if has_returned:
                # Nobody has heard of it: a sink without positions gets the batch again.
                self._durable = self._next + size
            if self._random.random() < 0.25:
                self._kill_in_open()
            self._open()
            line += 1 if line < _EACH_LINE else _STEP
            if self._random.random() < 0.25 and len(self._messages) - self._next > _KEPT:
                self._write(1)

    def open_and_close(self) -> None:
        """Open it without writing, close it, and kill it while it does so."""
        for line in range(3):
            self._process.kill_in(line, "close")
            self._open()
        self._process.close()
        self._open()
        self._write(1)
        self._process.close()
        self._open("closed")

    def reject(self, bad: Any) -> None:
        """Write it with others, at each place of the list."""
        for index in range(3):
            good, position = self._give(min(2, len(self._messages) - self._next))
            batch = [*good[:index], bad, *good[index:]]
            index = min(index, len(good))
            before = self._target.read()
            self._story.add(f"write() with {shown(bad)}, which is to be rejected, as message {index} of the list")
            self._expect_rejection(batch, position, index, bad)
            now = self._target.read()
            if len(now) != len(before):
                raise self._story.fault(
                    "write() has written messages of a call that it rejects",
                    expected=f"the target has {len(before)} messages, as before the call",
                    came=f"{len(now)}, the last of them {shown(now[-1]) if now else 'none'}",
                    advice=_NONE_OF_THEM,
                )
            if good:
                self._story.add("write() with the others")
                self._call_write(position, good)
                self._durable = self._next = self._next + len(good)
                self._committed = None if self._committed is None else self._next
                self._look("rejected")

    def finish(self) -> None:
        """Write the rest at once, and read all of it back."""
        if self._next < len(self._messages):
            self._write(len(self._messages) - self._next)
        self._process.close()
        self._open("closed")
        self._process.close()

    def _open(self, moment: str = "opened") -> None:
        self._process = Killable(self._make, self._story, self._patience)
        returned = self._process.call("open")
        committed = self._number_of(returned)
        had = self._durable
        if committed is None:
            self._story.add(f"opened, and open() returned {shown(returned)}")
            self._check_forgotten(returned)
        else:
            self._story.add(f"opened, and open() returned the position behind message {committed - 1}")
            self._check_older(committed)
            self._next = self._durable = committed
        self._committed = committed
        if not self._positions:
            there = self._target.read()
            if there:
                raise ValueError(f"check_sink: the target is not empty: read_back() returned {shown(there)}")
        self._look(moment, is_new=committed is not None and committed > had)

    def _number_of(self, returned: Any) -> int | None:
        """Return how many messages are before the position that ``open`` has returned; ``None`` if it has none."""
        try:
            position = position_bytes(returned).decode("utf-8")
        except (TypeError, UnicodeDecodeError) as error:
            raise self._story.fault(
                "open() has returned what is no position",
                expected="the position that write() was given last, as it was, or None",
                came=f"{shown(returned)}: {error}",
                advice="store the position as the str that it is, and return it",
            ) from None
        if position in self._positions:
            return self._positions[position]
        if not self._positions:
            # That of another stream, which has used the target before.
            self._foreign = position
        if position in ("", self._foreign) and (position == "" or not self._durable):
            return None
        last = next(reversed(self._positions), None)
        raise self._story.fault(
            "open() has returned a position that write() was not given",
            expected=f"a position that write() was given, such as {last!r}, or None",
            came=shown(returned),
            advice="store the position as the str that it is, and return it",
        )

    def _check_forgotten(self, returned: Any) -> None:
        if self._committed is not None:
            raise self._story.fault(
                "open() has forgotten its position",
                expected=f"the position behind message {self._durable - 1}, or behind a later one",
                came=shown(returned),
                advice=f"{_ONE_TRANSACTION}, and return it from open(); or always return None",
            )

    def _check_older(self, committed: int) -> None:
        if committed < self._durable:
            raise self._story.fault(
                "open() has returned an older position",
                expected=f"the position behind message {self._durable - 1}: write() had returned from that message",
                came=f"the position behind message {committed - 1}",
                advice=f"{_ONE_TRANSACTION}: write() is given the position behind its messages",
            )

    def _kill_in_open(self) -> None:
        Killable(self._make, self._story, self._patience).kill_in(self._random.randrange(_LINES_OF_OPEN), "open")

    def _give(self, size: int) -> tuple[list[Any], str]:
        """Return the next messages for ``write``, and the position behind them."""
        end = self._next + size
        for number in range(self._next, end):
            self._target.attempts[number] += 1
        position = f"{self._stream}:{self._ends[end]}"
        self._positions[position] = end
        self._story.add(
            f"write() with {from_to(self._next, end)}" if size else "no message is left to be written with it"
        )
        return self._messages[self._next : end], position

    def _write(self, size: int) -> None:
        batch, position = self._give(size)
        self._call_write(position, batch)
        self._durable = self._next = self._next + size
        if self._committed is not None:
            self._committed = self._next
        self._look("returned")

    def _call_write(self, position: str, batch: list[Any]) -> None:
        try:
            self._process.call("write", position, batch)
        except RejectedMessageError as error:
            raise self._unexpected(error) from error

    def _kill_in_write(self, line: int, position: str, batch: list[Any]) -> bool:
        """Return whether ``write`` had returned before it was killed."""
        try:
            return self._process.kill_in(line, "write", position, batch).had_returned
        except RejectedMessageError as error:
            raise self._unexpected(error) from error

    def _unexpected(self, error: RejectedMessageError) -> AssertionError:
        return self._story.fault(
            "write() rejects a message",
            expected="write() writes all messages: these are not among `rejected`",
            came=f"RejectedMessageError({error.index!r}, {str(error)!r})",
            advice="see why; give messages that can never be written as `rejected`",
        )

    def _expect_rejection(self, batch: list[Any], position: str, index: int, bad: Any) -> None:
        wrong, came = "write() does not reject a message", "write() returned"
        try:
            self._process.call("write", position, list(batch))
        except RejectedMessageError as error:
            if type(error.index) is int and error.index == index:
                return
            wrong, came = "write() rejects another message", f"RejectedMessageError({error.index!r}, {str(error)!r})"
        raise self._story.fault(
            wrong,
            expected=f"RejectedMessageError({index}, ...): {shown(bad)} is message {index} of the list",
            came=came,
            advice="raise RejectedMessageError(index, reason) with the place of the message in the list, from 0 on",
        )

    def _look(self, moment: str, *, is_new: bool = False) -> None:
        """Check what the target has.

        Args:
            moment: What has just happened: ``returned``, ``opened``, ``closed`` or ``rejected``.
            is_new: The position that is committed is that of a call which was killed.
        """
        wrong = self._target.wrong(self._durable, self._committed, self._next)
        if wrong is not None:
            raise self._wrong(moment, wrong, is_new=is_new)

    def _wrong(self, moment: str, wrong: Wrong, *, is_new: bool) -> AssertionError:
        advice = _ADVICE.get((moment, wrong.kind), _ALWAYS)
        if wrong.kind == "lost" and moment == "opened":
            advice = f"{_ONE_TRANSACTION}: it was stored before they were" if is_new else _ADVICE["returned", "lost"]
        return self._story.fault(wrong.sentence, expected=wrong.expected, came=wrong.came, advice=advice)

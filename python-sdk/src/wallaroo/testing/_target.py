"""The target of a sink under test: what it has, against what it may have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Callable, NamedTuple

from wallaroo.testing._readings import is_same
from wallaroo.testing._story import from_to, shown

_MOST = 5
"""Numbers of messages that are shown."""


class Wrong(NamedTuple):
    """How a target differs from what was written to it.

    Args:
        kind: ``lost``, ``early``, ``doubled``, ``order`` or ``unknown``.
        sentence: What is wrong, in one sentence.
        expected: What it should have, as text.
        came: What it has instead, as text.
    """

    kind: str
    sentence: str
    expected: str
    came: str


class Target:
    """Reads back what a sink has written.

    Args:
        messages: All that is written, one after the other. They are different.
        read_back: Returns what the target has.
        ordered: It has messages in the order in which they were written.
    """

    def __init__(self, messages: Sequence[Any], read_back: Callable[[], Iterable[Any]], *, ordered: bool) -> None:
        self._messages, self._read_back, self._ordered = messages, read_back, ordered
        self.attempts = [0] * len(messages)
        """How often each message was given to ``write``."""

    def read(self) -> list[Any]:
        """Return what the target has."""
        return list(self._read_back())

    def wrong(self, durable: int, committed: int | None, heard: int) -> Wrong | None:
        """Return what is wrong with the target, if anything.

        Args:
            durable: So many messages were in calls that have returned.
            committed: So many are before the position that the sink has committed; ``None`` if it keeps none, and may
                write messages again.
            heard: So many messages are not written again.
        """
        came = self.read()
        numbers = []
        for message in came:
            number = self._number(message)
            if number is None:
                return Wrong(
                    "unknown",
                    "the target has what was not written",
                    "messages as write() was given them",
                    f"{shown(message)}; for example, {shown(self._messages[0])} was written",
                )
            numbers.append(number)
        least = durable if committed is None else committed
        expected = from_to(0, least) if least else "nothing"
        missing = sorted(set(range(least)) - set(numbers))
        if missing:
            return Wrong("lost", "messages are lost", f"the target has {expected}", f"{self._shown(missing)} not there")
        early = sorted({number for number in numbers if committed is not None and number >= committed})
        if early:
            return Wrong(
                "early",
                "the target has messages that are behind the position which the sink has committed",
                f"the target has {expected}, and no other",
                f"{self._shown(early)} there, too",
            )
        return self._doubled(numbers, committed) or self._disordered([number for number in numbers if number < heard])

    def _doubled(self, numbers: list[int], committed: int | None) -> Wrong | None:
        for number in sorted(set(numbers)):
            count, most = numbers.count(number), 1 if committed is not None else self.attempts[number]
            if count > most:
                given = "once" if self.attempts[number] == 1 else f"{self.attempts[number]} times"
                return Wrong(
                    "doubled",
                    "messages are doubled",
                    f"message {number}, {shown(self._messages[number])}, at most {most} time{'s' * (most > 1)}",
                    f"it is there {count} times; write() was given it {given}",
                )
        return None

    def _disordered(self, numbers: list[int]) -> Wrong | None:
        if not self._ordered:
            return None
        # What is written again is behind what came between, or takes the place of the first, or moves to the end.
        first = list(dict.fromkeys(numbers))
        last = list(dict.fromkeys(reversed(numbers)))[::-1]
        if sorted(first) in (first, last):
            return None
        at = next(index for index, (one, other) in enumerate(zip(first, first[1:])) if one > other)
        return Wrong(
            "order",
            "messages are in another order",
            "messages in the order in which write() was given them",
            f"message {first[at]}, {shown(self._messages[first[at]])}, before message {first[at + 1]},"
            f" {shown(self._messages[first[at + 1]])}",
        )

    def _number(self, message: Any) -> int | None:
        return next((number for number, given in enumerate(self._messages) if is_same(given, message)), None)

    def _shown(self, numbers: list[int]) -> str:
        listed = ", ".join(map(str, numbers[:_MOST])) + (", ..." if len(numbers) > _MOST else "")
        first = shown(self._messages[numbers[0]])
        return f"message {listed} ({first}) is" if len(numbers) == 1 else f"messages {listed} ({first}, ...) are"

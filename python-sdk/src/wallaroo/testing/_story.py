"""Tells what a check of a connector has done, and what it has found wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_LONGEST = 80
"""Characters of a value."""
_MOST = 5
"""Values of a list that are shown."""
_LAST = 8
"""What was done last, and is told."""


class Story:
    """What a check has done with a connector.

    Args:
        check: The name of the check.
        connector: The name of the connector's class.
    """

    def __init__(self, check: str, connector: str) -> None:
        self._check, self.connector = check, connector
        self._told: list[str] = []

    def begin(self, text: str) -> None:
        """Forget what was done before, which has left nothing behind."""
        self._told = [text]

    def add(self, text: str) -> None:
        """Note what is done next."""
        self._told.append(text)

    def fault(self, wrong: str, *, expected: str, came: str, advice: str) -> AssertionError:
        """Return the error that says what is wrong.

        Args:
            wrong: What is wrong, in one sentence.
            expected: What was expected.
            came: What came instead.
            advice: What to do about it.
        """
        left_out = ["..."] if len(self._told) > _LAST else []
        done = "".join(f"\n    {text}" for text in [*left_out, *self._told[-_LAST:]])
        return AssertionError(
            f"{self._check}: {self.connector}: {wrong}\n  done:{done}\n  expected: {expected}\n  came: {came}\n"
            f"  to do: {advice}"
        )


def shown(value: Any) -> str:
    """Return a value as text, cut if it is long."""
    text = repr(value)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."


def shown_list(values: Sequence[Any]) -> str:
    """Return how many values there are, and the first ones."""
    if not values:
        return "nothing"
    more = ", ..." if len(values) > _MOST else ""
    return f"{counted(len(values))}: {', '.join(map(shown, values[:_MOST]))}{more}"


def counted(count: int) -> str:
    """Return how many messages, as text."""
    return "1 message" if count == 1 else f"{count} messages"


def from_to(start: int, end: int) -> str:
    """Return the numbers of messages from ``start`` to before ``end``, as text."""
    return f"message {start}" if end - start == 1 else f"messages {start} to {end - 1}"

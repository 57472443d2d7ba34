"""Messages that steps change in their place, and keys that are equal though they are not of one type."""

from __future__ import annotations

import enum


class Text(str, enum.Enum):
    A = "a"


class NotPlain(int):
    pass


class Row:
    """Crosses as attributes."""

    def __init__(self, number):
        self.number, self.log = number, ""

    def note(self, text):
        self.log += text
        return self

    def shown(self):
        return f"{self.number}:{self.log}"


class ListRow(Row):
    """Crosses as a pickle."""

    def __init__(self, number):
        self.number, self.log = number, []

    def note(self, text):
        self.log.append(text)
        return self

    def shown(self):
        return f"{self.number}:{''.join(self.log)}"


# Keys that are equal though they are not of one type; half of them cannot be keys.
KEYS = ["a", Text.A, 1, True, 1.0, NotPlain(1), b"a", (1,), (True,), ("a",), (Text.A,), "b", ["c"], None, 2**63]
BY_NUMBER = {
    "every": lambda row: KEYS[row.number % len(KEYS)],
    "equal": lambda row: KEYS[:6][row.number % 6],
    "few": lambda row: row.number % 3,
    "one": lambda row: "one",
}

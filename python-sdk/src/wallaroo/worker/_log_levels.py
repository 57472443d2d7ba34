r"""Python's logging: each record is one line of standard output or error, which says its level.

The orchestrator logs what a worker prints line by line, and would not know at what level. Here the standard library's
stream handlers, also those that the user configures, begin a record with a mark and a letter for its level, and write
its line ends as ``\n`` (spec/protocol.md, "Output"), so that it is one record of the orchestrator's log, traceback
included. What they write to other streams stays as it is.

A handler without a format of the user's writes the logger's name and the running step; level and worker are fields of
the orchestrator's log.

Importing ``logging`` takes too long to do it in every worker, so this waits until the application imports it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from wallaroo.worker._running_step import running_step
from wallaroo.worker._when_imported import when_imported

MARK = "\x1e"
"""U+001E, "record separator"; a letter of ``DIWE`` follows."""

_LONGEST = 8_000
"""Bytes of a record in one line; the orchestrator cuts lines at 8,192. The rest follows in further lines."""


def mark_levels() -> None:
    """Mark the records of stream handlers from now on."""
    when_imported("logging", _patch)


def _patch(logging: Any) -> None:
    handler: Any = getattr(logging, "StreamHandler", None)
    if handler is None:
        return  # A module of that name which is not the standard library's.
    emit = handler.emit
    formatter = logging.Formatter("%(name)s: %(message)s%(_in_step)s")

    def emit_marked(self: Any, record: Any) -> None:
        stream = self.stream
        if stream is not sys.stderr and stream is not sys.stdout:
            emit(self, record)
            return
        try:
            if _has_own_format(self, logging.BASIC_FORMAT):
                text = self.format(record)
            else:
                step = running_step()
                record._in_step = "" if step is None else f" (step {step})"
                text = formatter.format(record)
            stream.write(_marked(level_letter(record.levelno), text))
            self.flush()
        except RecursionError:
            raise
        except Exception:  # noqa: BLE001 - the same that logging's own emit does
            self.handleError(record)

    handler.emit = emit_marked


def _has_own_format(handler: Any, basic: str) -> bool:
    """Whether the user has given a handler a format, other than that of ``logging.basicConfig()``."""
    formatter = handler.formatter
    return formatter is not None and getattr(formatter, "_fmt", None) != basic


def write_error(text: str) -> None:
    """Write an error of this package to standard error, as one record."""
    print(_marked("E", text), end="", file=sys.stderr)


def _marked(letter: str, text: str) -> str:
    return "".join(f"{MARK}{letter}{line}\n" for line in _lines(text))


def _lines(text: str) -> Iterator[str]:
    text = text.replace("\r\n", "\\n").replace("\n", "\\n")
    # A character has up to four bytes in UTF-8.
    longest = _LONGEST if text.isascii() else _LONGEST // 4
    for start in range(0, len(text) or 1, longest):
        yield text[start : start + longest]


def level_letter(level: int) -> str:
    """Return the letter of the highest of DEBUG, INFO, WARNING and ERROR that ``level`` reaches."""
    return "E" if level >= 40 else "W" if level >= 30 else "I" if level >= 20 else "D"

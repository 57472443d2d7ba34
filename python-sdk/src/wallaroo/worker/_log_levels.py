"""Python's logging: each line that it writes to standard output or error says its level.

The orchestrator logs what a worker prints, and would not know at what level. Here the standard library's stream
handlers, also those that the user configures, begin each line with a mark and a letter for its level
(spec/protocol.md, "Output"). What they write to other streams stays as it is.

Importing ``logging`` takes too long to do it in every worker, so this waits until the application imports it.
"""

from __future__ import annotations

import sys
from typing import Any

from wallaroo.worker._when_imported import when_imported

MARK = "\x1e"
"""U+001E, "record separator"; a letter of ``DIWE`` follows."""


def mark_levels() -> None:
    """Mark the lines of stream handlers from now on."""
    when_imported("logging", _patch)


def _patch(logging: Any) -> None:
    handler: Any = getattr(logging, "StreamHandler", None)
    if handler is None:
        return  # A module of that name which is not the standard library's.
    emit = handler.emit

    def emit_with_level(self: Any, record: Any) -> None:
        stream = self.stream
        if stream is not sys.stderr and stream is not sys.stdout:
            emit(self, record)
            return
        try:
            start = MARK + level_letter(record.levelno)
            lines = self.format(record).split("\n")
            stream.write("".join(f"{start}{line}\n" for line in lines))
            self.flush()
        except RecursionError:
            raise
        except Exception:  # noqa: BLE001 - the same that logging's own emit does
            self.handleError(record)

    handler.emit = emit_with_level


def level_letter(level: int) -> str:
    """Return the letter of the highest of DEBUG, INFO, WARNING and ERROR that ``level`` reaches."""
    return "E" if level >= 40 else "W" if level >= 30 else "I" if level >= 20 else "D"

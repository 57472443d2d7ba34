"""Failures: a message that a step could not process, described so that a person can see what happened.

Nothing here may raise, whatever the user's exceptions, ``__repr__`` and ``__str__`` do.
"""

from __future__ import annotations

from typing import Any

from wallaroo._codec.values import ValueCodec
from wallaroo.worker._traceback import cause_of, class_name, exact, format_traceback, is_kind_of, text_of

_LONGEST_REPR = 1_000
_LONGEST_MESSAGE = 10_000
_LONGEST_TRACEBACK = 20_000
_LARGEST_PAYLOAD = 1024 * 1024
"""Bytes; a larger value is left out of its failure, for the orchestrator has the frame it came of."""

FailureFields = list[Any]


class StepContractError(Exception):
    """What a step did is against its contract, said in words that need no traceback."""


class RestoreError(Exception):
    """The snapshot of a state could not be unpickled; the cause is what that raised."""


def failure(
    node: int, origin: int, key: Any, error: BaseException, value: Any, payload: tuple[int, bytes]
) -> FailureFields:
    """Return the fields of a ``failure`` as spec/protocol.md has them."""
    codec, data = payload
    return [
        node,
        origin,
        key,
        exception_type(error),
        exception_message(error),
        user_traceback(error),
        shown(value),
        data,
        codec,
    ]


def payload_of(codec: ValueCodec, value: Any) -> tuple[int, bytes]:
    """Encode the value a step was given; codec 0 and empty when it cannot be, or is too large to send twice."""
    try:
        number, data = codec.encode([value])
    except BaseException:  # noqa: BLE001 - the user's __reduce__ or serialize
        return 0, b""
    return (number, data) if len(data) <= _LARGEST_PAYLOAD else (0, b"")


def exception_type(error: BaseException) -> str:
    """Return the exception's class with its module, as a traceback shows it."""
    if is_kind_of(error, StepContractError):
        return "TypeError"
    cause = cause_of(error) if is_kind_of(error, RestoreError) else None
    return _clean(class_name(type(error if cause is None else cause)), _LONGEST_MESSAGE)


def exception_message(error: BaseException) -> str:
    """Return ``str(error)``, whatever its ``__str__`` does."""
    return _clean(text_of(error), _LONGEST_MESSAGE)


def shown(value: Any) -> str:
    """Return ``repr(value)``, cut, whatever its ``__repr__`` does."""
    try:
        if isinstance(value, (str, bytes, bytearray)):
            value = value[:_LONGEST_REPR]
        text = exact(repr(value))
    except BaseException as broken:  # noqa: BLE001
        text = f"<{class_name(type(value)).rpartition('.')[2]} whose __repr__ raised {class_name(type(broken))}>"
    return _clean(text, _LONGEST_REPR)


def user_traceback(error: BaseException) -> str:
    """Return the traceback of ``error`` without the frames of this package; empty for a broken contract."""
    if is_kind_of(error, StepContractError):
        return ""
    try:
        text = format_traceback(error)
    except BaseException as broken:  # noqa: BLE001 - the user's exception, or no memory left
        text = f"<no traceback: {class_name(type(broken))}>"
    # The end says where it happened.
    return _clean(text, _LONGEST_TRACEBACK, keep_end=True)


def _clean(text: str, longest: int, *, keep_end: bool = False) -> str:
    if len(text) > longest:
        text = "…" + text[1 - longest :] if keep_end else text[: longest - 1] + "…"
    return text

"""Failures: a message that a step could not process, described so that a person can see what happened.

Nothing here may raise, whatever the user's exceptions, ``__repr__`` and ``__str__`` do.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import TYPE_CHECKING, Any

import wallaroo
from wallaroo._codec.values import ValueCodec

if TYPE_CHECKING:
    import traceback

_LONGEST_REPR = 1_000
_LONGEST_MESSAGE = 10_000
_LONGEST_TRACEBACK = 20_000
_LARGEST_PAYLOAD = 1024 * 1024
"""Bytes; a larger value is left out of its failure, for the orchestrator has the frame it came of."""

_SDK = os.path.dirname(os.path.abspath(wallaroo.__file__)) + os.sep
_HIDDEN = (_SDK, "<frozen importlib", "<frozen runpy")

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
    if isinstance(error, StepContractError):
        return "TypeError"
    if isinstance(error, RestoreError) and error.__cause__ is not None:
        error = error.__cause__
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def exception_message(error: BaseException) -> str:
    """Return ``str(error)``, whatever its ``__str__`` does."""
    try:
        text = str(error)
    except BaseException as broken:  # noqa: BLE001
        text = f"<its __str__ raised {type(broken).__name__}>"
    return _clean(text, _LONGEST_MESSAGE)


def shown(value: Any) -> str:
    """Return ``repr(value)``, cut, whatever its ``__repr__`` does."""
    if isinstance(value, (str, bytes, bytearray)):
        value = value[:_LONGEST_REPR]
    try:
        text = repr(value)
    except BaseException as broken:  # noqa: BLE001
        text = f"<{type(value).__name__} whose __repr__ raised {type(broken).__name__}>"
    return _clean(text, _LONGEST_REPR)


def user_traceback(error: BaseException) -> str:
    """Return the traceback of ``error`` without the frames of this package; empty when no other frame is left."""
    if isinstance(error, StepContractError):
        return ""
    try:
        import traceback  # Here, for it takes 3 ms, and most workers never need it.

        described = traceback.TracebackException(type(error), error, error.__traceback__)
        _hide_sdk(described, set())
        text = "".join(described.format())
    except BaseException as broken:  # noqa: BLE001 - the user's __str__, or no memory left
        text = f"<no traceback: {type(broken).__name__}>"
    # The end says where it happened.
    return _clean(text, _LONGEST_TRACEBACK, keep_end=True)


def _hide_sdk(described: traceback.TracebackException, seen: set[int]) -> None:
    if id(described) in seen:
        return
    seen.add(id(described))
    frames = [frame for frame in described.stack if not frame.filename.startswith(_HIDDEN)]
    described.stack = type(described.stack).from_list(frames)
    for other in (described.__cause__, described.__context__, *(getattr(described, "exceptions", None) or ())):
        if other is not None:
            _hide_sdk(other, seen)


def only_in_sdk(trace: TracebackType | None) -> bool:
    """Whether no user code was running: the error is about what it returned."""
    while trace is not None:
        if not trace.tb_frame.f_code.co_filename.startswith(_SDK):
            return False
        trace = trace.tb_next
    return True


def _clean(text: str, longest: int, *, keep_end: bool = False) -> str:
    if len(text) > longest:
        text = "…" + text[1 - longest :] if keep_end else text[: longest - 1] + "…"
    # A str with lone surrogates cannot be sent.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")

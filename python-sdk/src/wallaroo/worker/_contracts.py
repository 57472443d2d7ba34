"""The form that a step's result must have, and the errors for other results."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from wallaroo._codec.keys import KEY_TYPES
from wallaroo.worker._failures import StepContractError
from wallaroo.worker._traceback import is_kind_of, only_in_worker, text_of, trace_of


def iterable(produced: Any) -> Iterable[Any]:
    """Return the outputs of a ``compute_multi`` that returned neither a list nor ``None``.

    Raises:
        StepContractError: It is not an iterable of outputs.
    """
    returned = f"flat_map or compute_multi returned {type(produced).__name__}"
    if isinstance(produced, (str, bytes, bytearray, dict)):
        raise StepContractError(f"{returned}, which would be taken apart; return a list of outputs")
    try:
        outputs: Iterable[Any] = iter(produced)
    except TypeError:
        raise StepContractError(f"{returned}; return a list or another iterable of outputs, or None") from None
    return outputs


def is_unchanged(changed: Any) -> bool:
    """Read the ``state_changed`` of a result that is not ``True``; numpy's booleans and 0 and 1 are taken as such.

    Raises:
        StepContractError: It is not a truth value.
    """
    if changed is False or changed is None:
        return True
    kind = type(changed)
    if kind in (int, bool) or kind.__module__ == "numpy":
        return not changed
    raise StepContractError(
        f"a state computation returns (output, state_changed); state_changed was {kind.__name__}, not bool"
    )


def state_result_explained(error: BaseException) -> BaseException:
    """Replace Python's complaint about taking a result apart, which means nothing to the user, by what was expected.

    Functions of this package that call the user's return what is expected: if one was running, the complaint is about
    something else.
    """
    if is_kind_of(error, (TypeError, ValueError)) and only_in_worker(trace_of(error)):
        return StepContractError(f"a state computation returns (output, state_changed): {text_of(error)}")
    return error


def key_explained(error: BaseException) -> BaseException:
    """Replace Python's complaint about a key that cannot be looked up by what was expected."""
    if is_kind_of(error, TypeError) and only_in_worker(trace_of(error)) and "unhashable" in text_of(error):
        message = f"the key function returned what cannot be a key ({text_of(error)}); a key is {KEY_TYPES}"
        return StepContractError(message)
    return error


def plain_message(message: Any) -> str | bytes | None:
    """Return what an encoder returned as plain ``str`` or ``bytes``, copied where it may change later.

    Raises:
        StepContractError: It is neither, nor ``None``.
    """
    if message is None:
        return None
    if isinstance(message, str):
        return str.__str__(message)
    if isinstance(message, (bytes, bytearray, memoryview)):
        return bytes(message)
    raise StepContractError(f"the encoder returned {type(message).__name__}; it returns str, bytes or None")


def too_large(what: str, size: int, largest: int) -> StepContractError:
    """Return the failure of a value that no frame can carry."""
    return StepContractError(f"{what} of {size} bytes is beyond the cap of {largest} bytes; raise it with --max-frame")

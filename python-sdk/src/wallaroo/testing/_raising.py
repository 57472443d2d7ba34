"""A batch whose first failure is the error of the test, for a debugger to stop where it happened."""

from __future__ import annotations

from typing import Any, NoReturn

from wallaroo.worker._batch import BatchRun
from wallaroo.worker._failures import RestoreError, StepContractError
from wallaroo.worker._traceback import cause_of, is_kind_of


class RaisingRun(BatchRun):
    """Raises what a step has raised. The exception has its traceback, which ends in the step."""

    def fail(self, node: int, origin: int, error: BaseException, value: Any, key: Any = None) -> NoReturn:
        """Raise ``error``."""
        _raise(error)

    def fail_frame(self, node: int, origin: int, error: BaseException, frame: bytes) -> NoReturn:
        """Raise ``error``."""
        _raise(error)

    def fail_group(self, node: int, group: int, error: BaseException, codec: int, values: bytes) -> NoReturn:
        """Raise ``error``."""
        _raise(error)


def _raise(error: BaseException) -> NoReturn:
    if is_kind_of(error, StepContractError):
        # It has no traceback of the user's: the step returned what it must not.
        raise TypeError(str(error)) from None
    cause = cause_of(error) if is_kind_of(error, RestoreError) else None
    raise error if cause is None else cause

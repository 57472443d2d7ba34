"""Children that user code forks. They are copies of the worker, but no workers.

One that returns from its step, or leaves it by ``sys.exit``, would go on with the parent's batch, fork again at its
next message, and answer in the parent's place. It is ended instead. A check after each call of user code would cost 4
ns, so that the fast loops are stopped otherwise: what they iterate is emptied in the child, which ends them after the
message at hand, and what comes next checks.
"""

from __future__ import annotations

import os
from typing import Any

_EXIT_CODE = 70
_EXPLANATION = (
    b"wallaroo worker: a process that a step has forked returned from the step and ends here;"
    b" end it with os._exit() when its work is done\n"
)

in_child: list[bool] = []
"""Not empty in a child. A list, so that a loop can have it as a local variable."""

_iterated: tuple[list[Any], ...] = ()


def iterates(*lists: list[Any]) -> None:
    """Tell which lists the worker is about to iterate: those emptied in a child."""
    global _iterated
    _iterated = lists


def _stop() -> None:
    in_child.append(True)
    for values in _iterated:
        values.clear()


os.register_at_fork(after_in_child=_stop)


def leave_if_child(error: BaseException | None = None) -> None:
    """End this process if it is a child, with the code of ``error`` where that is a ``SystemExit``."""
    if not in_child:
        return
    if isinstance(error, SystemExit):
        code = error.code
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)
    os.write(2, _EXPLANATION)
    os._exit(_EXIT_CODE)


def this_is_the_worker() -> None:
    """Say that steps are run in this process on purpose, though it was forked: a test's, by a runner of tests."""
    in_child.clear()

"""The event loop on which async steps run: one for each thread that runs any, as long as the process lives.

So what user code keeps from one call to the next, such as the session of a client, is on the loop that runs. A loop
that user code has closed is replaced.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import sys
import threading

from wallaroo.worker._forked import in_child

_PATIENCE = 1.0
"""Seconds that tasks which are left at the end have to handle that they are cancelled."""

_of_thread = threading.local()

_of_parent: list[asyncio.AbstractEventLoop] = []
"""In a child that user code has forked. Never destroyed there: closing them would change what the parent waits for."""


def event_loop() -> asyncio.AbstractEventLoop:
    """Return the loop of this thread.

    Raises:
        RuntimeError: The thread runs a loop already.
    """
    loop: asyncio.AbstractEventLoop | None = getattr(_of_thread, "loop", None)
    if loop is None or loop.is_closed():
        loop = _of_thread.loop = _made()
        asyncio.set_event_loop(loop)
        atexit.register(close, loop)
    if _is_in_a_loop():
        raise RuntimeError(
            "map_async cannot run inside of an event loop: call wallaroo.testing from a function that is not async, or"
            " with asyncio.to_thread"
        )
    return loop


def _made() -> asyncio.AbstractEventLoop:
    if sys.version_info < (3, 10):
        # There a lock that a module makes when it is imported belongs to the loop that is current then.
        with contextlib.suppress(RuntimeError):  # There is none, in other threads than the main one.
            current = asyncio.get_event_loop_policy().get_event_loop()
            if not current.is_closed() and not current.is_running():
                return current
    return asyncio.new_event_loop()


def _leave_to_parent() -> None:
    """Stop the loop in a child that a call has forked: it must not go on with the calls of the parent."""
    loop: asyncio.AbstractEventLoop | None = getattr(_of_thread, "loop", None)
    if loop is not None:
        loop.stop()
        _of_parent.append(loop)
        _of_thread.loop = None


os.register_at_fork(after_in_child=_leave_to_parent)


def _is_in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def close(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel the tasks that are left on a loop, and close it. Nothing happens in a child that user code has forked."""
    if in_child or loop.is_closed() or loop.is_running():
        return
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    with contextlib.suppress(BaseException):  # What a task ends with is nobody's any more.
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=_PATIENCE))
        loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()

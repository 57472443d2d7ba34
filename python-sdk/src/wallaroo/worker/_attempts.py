"""One message of an async step: its function is awaited, for so long, and so often, as the step says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from random import Random
from typing import Any, Callable

from wallaroo._pipeline.topology import AsyncNode
from wallaroo.worker._failures import StepContractError
from wallaroo.worker._forked import leave_if_child
from wallaroo.worker._guarded import in_place_of_result
from wallaroo.worker._progress import advance

Attempts = Callable[[Any], Awaitable[Any]]

_LONGEST_PAUSE = 30.0
_SIGN_OF_LIFE = 0.25
"""Seconds between signs of life of a call that pauses: it is not hung, however long that is."""

_random = Random()
"""Not the module's functions: a step may have seeded those."""


def attempts_of(node: AsyncNode) -> Attempts:
    """Return an async function that gives the output of a message."""
    call, timeout, policy = node.call, node.concurrency.timeout, node.errors

    async def attempt(message: Any) -> Any:
        awaitable = call(message)
        if not hasattr(type(awaitable), "__await__"):
            raise StepContractError(
                f"map_async is given {type(awaitable).__name__} by its function, which cannot be awaited; define the"
                " function with async def, or use map"
            )
        return await (awaitable if timeout is None else _within(timeout, awaitable))

    if policy is None:
        return attempt

    async def attempts(message: Any) -> Any:
        pauses = _pauses(policy.retries, node.concurrency.backoff)
        while True:
            try:
                return await attempt(message)
            except StepContractError:
                raise
            except Exception as error:  # noqa: BLE001 - the user's
                # A child that user code has forked must not try again.
                leave_if_child(error)
                pause = next(pauses, None)
                if pause is None:
                    return in_place_of_result(policy, message, error)
            await _rest(pause)

    return attempts


async def _within(seconds: float, awaitable: Awaitable[Any]) -> Any:
    """Await ``awaitable``, and cancel it after so many seconds.

    In the same task, unlike ``asyncio.wait_for`` before Python 3.12: context variables that it sets stay set.

    Raises:
        TimeoutError: It was cancelled.
    """
    task: Any = asyncio.current_task()
    is_over = False

    def cancel() -> None:
        nonlocal is_over
        is_over = True
        task.cancel()

    timer = asyncio.get_running_loop().call_later(seconds, cancel)
    try:
        return await awaitable
    except asyncio.CancelledError as error:
        if not is_over:
            raise
        if hasattr(task, "uncancel"):  # From Python 3.11 on.
            task.uncancel()
        raise TimeoutError(f"no result after {seconds:g} s") from error
    finally:
        timer.cancel()


def _pauses(retries: int, backoff: float) -> Iterator[float]:
    """Return the seconds to wait before each retry."""
    for _ in range(retries):
        yield backoff * _random.uniform(0.5, 1)
        backoff = min(2 * backoff, _LONGEST_PAUSE)


async def _rest(seconds: float) -> None:
    while seconds > 0:
        advance()
        await asyncio.sleep(min(seconds, _SIGN_OF_LIFE))
        seconds -= _SIGN_OF_LIFE
    advance()

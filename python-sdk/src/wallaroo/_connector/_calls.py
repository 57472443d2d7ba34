"""Calls of the user's methods, which may be ``async``: each thread has an event loop of its own, if it needs one."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any, Callable


class Calls:
    """Calls methods, and waits for what they return if it is to be awaited. For one thread."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def call(self, method: Callable[..., Any], *args: Any) -> Any:
        """Return what a method returns, or what the awaitable that it returns gives."""
        result = method(*args)
        return self._wait_for(result) if inspect.isawaitable(result) else result

    def close(self) -> None:
        """Close the event loop, if there is one."""
        if self._loop is not None:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    def abandon(self) -> None:
        """Close the event loop, if there is one, without running it: as the end of the process would."""
        if self._loop is not None:
            self._loop.set_exception_handler(_say_nothing)
            self._loop.close()

    def _wait_for(self, awaitable: Any) -> Any:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        return self._loop.run_until_complete(_result_of(awaitable))


async def _result_of(awaitable: Any) -> Any:
    return await awaitable


def _say_nothing(*_: object) -> None:
    """Do nothing about tasks that have not ended."""

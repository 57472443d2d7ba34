"""Async steps: the calls for the messages of a batch are under way at once, as many as the step allows.

A batch is over when its last call is. The mark of the worker does not say which call runs, for the orchestrator asks
that of careful batches alone, and there calls are made one by one. The sign of life is that a call begins or ends, and
not that one is resumed: a call that polls for ever has to be seen to hang.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import islice
from operator import itemgetter
from signal import SIGINT, default_int_handler, getsignal
from typing import Any

from wallaroo._pipeline.topology import AsyncNode
from wallaroo.worker._attempts import Attempts, attempts_of
from wallaroo.worker._batch import BatchRun
from wallaroo.worker._columns import Column, ColumnStep
from wallaroo.worker._depth_first import Position, Push
from wallaroo.worker._event_loop import event_loop
from wallaroo.worker._forked import in_child, leave_if_child
from wallaroo.worker._lineage import Recorded
from wallaroo.worker._progress import advance
from wallaroo.worker._vectorised import Fail, Together, holding_back


class AsyncStep(ColumnStep):
    """The step in a stage that runs step by step: it is given the whole column."""

    def __init__(self, node: int, children: Sequence[ColumnStep], step: AsyncNode) -> None:
        super().__init__(node, children)
        self._together = _together(step)

    def apply(self, column: Column, run: BatchRun) -> Column:
        """Apply the step alone."""
        values = column.values
        origins = column.lineage.origins(len(values))

        def fail(position: int, error: BaseException) -> None:
            run.fail(self.node, origins[position], error, values[position])

        given = [(position, output) for position, output in self._together(values, fail) if output is not None]
        return Column([output for _, output in given], Recorded([origins[position] for position, _ in given]))


def calling_concurrently(node: int, step: AsyncNode, below: Push, place: Position) -> Push:
    """Return the push of the step in a stage that runs message by message."""
    return holding_back(node, _together(step), below, place)


def _together(step: AsyncNode) -> Together:
    attempts, most, ordered = attempts_of(step), step.concurrency.calls, step.concurrency.ordered

    def call_each(values: list[Any], fail: Fail) -> list[tuple[int, Any]]:
        calls = _Calls(attempts, values)
        calls.run(most)
        for position, error in sorted(calls.errors, key=itemgetter(0)):
            fail(position, error)
        return sorted(calls.outputs, key=itemgetter(0)) if ordered else calls.outputs

    return call_each


class _Calls:
    """The calls for some values.

    Outputs and errors come with the position of their values, in the order in which calls end.

    Args:
        attempts: Called for each value.
        values: Not changed.
    """

    def __init__(self, attempts: Attempts, values: list[Any]) -> None:
        self.outputs: list[tuple[int, Any]] = []
        self.errors: list[tuple[int, BaseException]] = []
        self._attempts = attempts
        self._waiting = enumerate(values)
        self._under_way: dict[asyncio.Future[Any], int] = {}
        self._loop = event_loop()

    def run(self, most: int) -> None:
        """Make all calls, ``most`` at once."""
        self._begin(most)
        while self._under_way:
            try:
                # Until the last call ends, or user code stops the loop.
                self._loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as error:
                # A task of the user's has raised it, which stops the loop. Who awaits the task gets it too.
                leave_if_child(error)
                if isinstance(error, KeyboardInterrupt) and getsignal(SIGINT) is default_int_handler:
                    # Not in a worker: somebody ends a test.
                    raise
            leave_if_child()

    def _begin(self, count: int) -> None:
        for position, value in islice(self._waiting, count):
            advance()
            task = self._loop.create_task(self._outcome(value))
            self._under_way[task] = position
            task.add_done_callback(self._end)

    async def _outcome(self, value: Any) -> tuple[Any, BaseException | None]:
        """Return the output of a value, or what its call raised. No task may raise ``SystemExit``: it ends the loop."""
        try:
            return await self._attempts(value), None
        except BaseException as error:  # noqa: BLE001 - the user's
            return None, error

    def _end(self, task: asyncio.Task[tuple[Any, BaseException | None]]) -> None:
        advance()
        position = self._under_way.pop(task)
        # User code may have cancelled it before it began.
        output, error = (None, asyncio.CancelledError()) if task.cancelled() else task.result()
        if in_child:
            leave_if_child(error)
        if error is None:
            self.outputs.append((position, output))
        else:
            self.errors.append((position, error))
        self._begin(1)
        if not self._under_way:
            self._loop.stop()

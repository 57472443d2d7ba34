"""The usual stage with state, in one loop: a state computation, any number of computations, a sink.

Measured on word count, where it is the hot loop: see the figures below.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable

from wallaroo.worker._batch import BatchRun
from wallaroo.worker._contracts import is_unchanged, plain_message, state_result_explained
from wallaroo.worker._lineage import Fanned, Lineage
from wallaroo.worker._outlets import Encoded, SinkOutlet
from wallaroo.worker._state import StateTable


class StateToSink:
    """Does what the pushes of these steps would do, message by message, without a call for each step.

    The ``try`` stands outside the loop over a key's values: the iterator outlives an exception, so the loop goes on
    after the value that failed, and ``at`` tells which step that was.

    Args:
        state: Id and function of the state computation.
        table: Its state table.
        computations: Ids and functions of the computations, in order.
        sink: The outlet.
    """

    def __init__(
        self,
        state: tuple[int, Callable[[Any, Any], Any]],
        table: StateTable,
        computations: Sequence[tuple[int, Callable[[Any], Any]]],
        sink: SinkOutlet,
    ) -> None:
        self._node, self._call = state
        self._table = table
        self._computations = computations
        self._sink = sink

    def run(self, groups: list[list[Any]], run: BatchRun) -> None:
        """Run all ``groups``, whose keys are those of ``run``."""
        run.enter(self._node, groups, *groups)
        node, call, computations = self._node, self._call, self._computations
        sink, encode = self._sink.node, self._sink.encode
        table = self._table
        live = table.live
        messages: list[Any] = []
        append = messages.append
        text = str
        ends: list[int] = []
        for key, values in zip(run.keys, groups):
            if not values:
                ends.append(len(messages))
                continue
            try:
                state = live[key] if key in live else table.open(key)
            except BaseException as error:  # noqa: BLE001
                for value in values:
                    run.fail(node, len(ends), error, value)
                ends.append(len(messages))
                continue
            unchanged = 0
            remaining = iter(values)
            while True:
                at = node
                try:
                    for value in remaining:
                        at = node
                        output, changed = call(value, state)
                        if changed is not True:
                            unchanged += is_unchanged(changed)
                        if output is None:
                            continue
                        if computations:
                            for at, compute in computations:  # noqa: B007 - read where it fails
                                output = compute(output)
                                if output is None:
                                    break
                            if output is None:
                                continue
                        at = sink
                        message = encode(output)
                        if message.__class__ is text:
                            append(message)
                        else:
                            append(message if message.__class__ is bytes else plain_message(message))
                    break
                except BaseException as error:  # noqa: BLE001
                    if at == node:
                        run.fail(node, len(ends), state_result_explained(error), value)
                    else:
                        run.fail(at, len(ends), error, output)
            ends.append(len(messages))
            # A step that raised may have changed the state before it did.
            if unchanged < len(values):
                table.dirty.setdefault(key, run.batch)
        self._sink.take(Encoded(messages, Fanned(Lineage(), ends), None))

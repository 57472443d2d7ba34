"""The usual stage with state, in one loop: a state computation, any number of computations, a sink.

It is word count's hot loop. Against one loop over the state computation and another over the encoder, which would show
later contents of a state to the encoder, it takes as long on CPython 3.11 and 3.13, 5 % longer on 3.9, and a third less
on PyPy. Noting in a variable which step runs, in place of the inner ``try``, takes 15 ns a word more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain, compress, repeat
from operator import is_
from typing import Any, Callable, Union

from wallaroo._pipeline.topology import ComputationNode, FilterNode, InspectNode
from wallaroo.worker._batch import BatchRun
from wallaroo.worker._contracts import is_unchanged, plain_message, state_result_explained
from wallaroo.worker._lineage import Expanded, Lineage
from wallaroo.worker._outlets import Encoded, SinkOutlet
from wallaroo.worker._progress import watched
from wallaroo.worker._state import StateTable

_NOT_LIVE = object()

Computing = Union[ComputationNode, FilterNode, InspectNode]
"""A step that makes at most one output of a message."""


class StateToSink:
    """Does what the pushes of these steps would do, message by message, without a call for each step.

    The outer ``try`` stands outside the loop over a key's values: the iterator outlives an exception, so the loop goes
    on after the value that failed.

    Args:
        state: Id and function of the state computation.
        table: Its state table.
        computations: Ids and nodes of the computations, in order.
        sink: The outlet.
    """

    def __init__(
        self,
        state: tuple[int, Callable[[Any, Any], Any]],
        table: StateTable,
        computations: Sequence[tuple[int, Computing]],
        sink: SinkOutlet,
    ) -> None:
        self._node, self._call = state
        self._table = table
        self._computations = [
            (node_id, node.call, not isinstance(node, ComputationNode), isinstance(node, FilterNode))
            for node_id, node in computations
        ]
        self._sink = sink

    def run(self, counts: list[int], values: list[Any], run: BatchRun) -> None:
        """Run ``values``, of which each group has so many as ``counts`` says; ``run`` knows the keys of the groups."""
        states: Iterable[Any] = self._states(counts, values, run)
        lineage = Lineage()
        # Where each group is one value, as most are where keys are many, there is nothing to spread.
        if counts.count(1) < len(counts):
            states = chain.from_iterable(map(repeat, states, counts))
            lineage = Expanded(lineage, list(accumulate(counts)))
        run.enter(self._node, values)
        node, call, computed = self._node, self._call, self._computed if self._computations else None
        sink, encode = self._sink.node, self._sink.encode
        # One for each value, None where there is none: how many there are says which value is at hand.
        messages: list[Any] = []
        append = messages.append
        text = str
        unchanged: list[int] = []
        gaps = False
        # It ends where ``values`` end: they are what is emptied in a child that user code forks.
        remaining = zip(watched(values), states)
        while True:
            try:
                for value, state in remaining:
                    output, changed = call(value, state)
                    if changed is not True and is_unchanged(changed):
                        unchanged.append(len(messages))
                    if computed is not None:
                        output = computed(output, lineage, len(messages), run)
                    if output is None:
                        append(None)
                        gaps = True
                        continue
                    try:
                        message = encode(output)
                        if message.__class__ is text:
                            append(message)
                            continue
                        if message.__class__ is not bytes:
                            message = plain_message(message)
                            gaps = gaps or message is None
                        append(message)
                    except BaseException as error:  # noqa: BLE001
                        run.fail(sink, lineage.origin(len(messages)), error, output)
                        append(None)
                        gaps = True
                break
            except BaseException as error:  # noqa: BLE001
                run.fail(node, lineage.origin(len(messages)), state_result_explained(error), value)
                append(None)
                gaps = True
        self._table.changed(_changed(run.keys, counts, unchanged), run.batch)
        self._sink.take(Encoded(messages, lineage, None, gaps))

    def _states(self, counts: list[int], values: list[Any], run: BatchRun) -> list[Any]:
        """Return the state of each group. Where it cannot be opened the values fail, and are taken out."""
        live = self._table.live
        states = list(map(live.get, run.keys, repeat(_NOT_LIVE)))
        if not any(map(is_, states, repeat(_NOT_LIVE))):
            return states
        run.enter(self._node, run.keys)
        start = 0
        for group, key in enumerate(run.keys):
            end = start + counts[group]
            try:
                if end > start:
                    states[group] = live[key] if key in live else self._table.open(key)
            except BaseException as error:  # noqa: BLE001
                for value in values[start:end]:
                    run.fail(self._node, group, error, value)
                del values[start:end]
                counts[group], end = 0, start
            start = end
        return states

    def _computed(self, output: Any, lineage: Lineage, position: int, run: BatchRun) -> Any:
        """Take one output of the state computation through the computations."""
        for node, compute, passes_on, filters in self._computations:
            if output is None:
                break
            try:
                made = compute(output)
                if not passes_on:
                    output = made
                elif filters and not made:
                    return None
            except BaseException as error:  # noqa: BLE001
                run.fail(node, lineage.origin(position), error, output)
                return None
        return output


def _changed(keys: Iterable[Any], counts: Sequence[int], unchanged: Iterable[int]) -> Iterator[Any]:
    """Return the keys that have a value, those at the positions of ``unchanged`` aside."""
    if not unchanged:
        return compress(keys, counts)
    wanted = bytearray(b"\x01") * sum(counts)
    for position in unchanged:
        wanted[position] = 0
    return compress(chain.from_iterable(map(repeat, keys, counts)), wanted)

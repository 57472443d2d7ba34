"""Generator sources: the object and its last value are state, in a table of their own under the key ``None``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from wallaroo._codec.copies import copy_of
from wallaroo.worker._batch import BatchRun
from wallaroo.worker._forked import leave_if_child
from wallaroo.worker._state import StateTable


class GeneratorState:
    """A generator as it is between two batches. Pickled into snapshots.

    Args:
        generator: The application's object with ``initial_value()`` and ``apply(previous)``.
    """

    def __init__(self, generator: Any) -> None:
        self.generator = generator
        self.started = False
        self.ended = False
        self.last: Any = None


def table_name(pipeline: str) -> str:
    """Return the name of the table of a pipeline's generator."""
    return f"generator:{pipeline}"


class GeneratorRoot:
    """The root of a ``generate`` stage.

    Args:
        node: Id of the source node.
        table: The table ``generator:<pipeline>``.
    """

    def __init__(self, node: int, table: StateTable) -> None:
        self._node = node
        self._table = table
        self._made = 0

    def generate(self, most: int, run: BatchRun) -> Iterator[Any]:
        """Return up to ``most`` further values, each asked for when the one before is done with.

        A generator that raises has no next value and ends, with one failure.
        """
        table = self._table
        self._made = 0
        try:
            state = table.live[None] if None in table.live else table.open(None)
        except BaseException as error:  # noqa: BLE001 - the user's unpickling
            run.fail(self._node, 0, error, None)
            table.live[None] = state = GeneratorState(None)
            state.ended = True
        for index in range(most):
            if state.ended:
                return
            if run.careful:
                run.at(index, 0)
                run.enter(self._node)
            table.dirty.setdefault(None, run.batch)
            try:
                value = state.generator.apply(state.last) if state.started else state.generator.initial_value()
            except BaseException as error:  # noqa: BLE001
                run.fail(self._node, index, error, state.last)
                value = None
            leave_if_child()
            state.started = True
            if value is None:
                state.ended = True
            else:
                state.last = value
                self._made += 1
                # The steps may change what they are given; the generator goes on from what it returned.
                yield copy_of(value)

    @property
    def ended(self) -> int:
        """Number of values made for the latest batch if there is no further one, otherwise ``False``."""
        state = self._table.live.get(None)
        return self._made if state is not None and state.ended else False

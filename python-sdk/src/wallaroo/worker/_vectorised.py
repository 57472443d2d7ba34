"""``computation_batch``: a step that is given many messages at once.

In a stage without state that is a column, as it stands. In a stage that runs message by message, values are held back
until the batch is over, then run together; as copies of those that a state computation may
still change. A careful batch runs each message alone, so that one that kills
the worker can be told from its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, Callable, NamedTuple

from wallaroo._codec.copies import pickled_copy
from wallaroo.worker._batch import BatchRun
from wallaroo.worker._columns import Column, ColumnStep
from wallaroo.worker._depth_first import Position, Push
from wallaroo.worker._failures import StepContractError
from wallaroo.worker._forked import leave_if_child
from wallaroo.worker._lineage import Dropped
from wallaroo.worker._progress import advance

Call = Callable[[list[Any]], Any]
Fail = Callable[[int, BaseException], None]
Together = Callable[[list[Any], Fail], Iterable[tuple[int, Any]]]
"""Runs a step for many values, which it does not change. Gives outputs with the position of their values, in order."""


def run_together(
    call: Call, values: list[Any], fail: Fail, made_by: str = "computation_batch", most: int | None = None
) -> list[Any]:
    """Call ``call`` with ``values`` and return an output for each, ``None`` where there is none.

    When it raises, halves are tried, and halves of these, until the values at fault are alone.

    Args:
        call: The user's function.
        values: Not changed: it is given copies of the list.
        fail: Told the position of each value that has no output because of an error, and the error.
        made_by: What made the step, for errors.
        most: Values in one call, at most.
    """
    outputs: list[Any] = [None] * len(values)
    size = most or len(values) or 1
    waiting = [(start, min(start + size, len(values))) for start in range(0, len(values), size)][::-1]
    while waiting:
        start, end = waiting.pop()
        advance()
        try:
            produced = _listed(call(values[start:end]), end - start, made_by)
            leave_if_child()
        except StepContractError as error:
            # Which output belongs to which value cannot be known, in halves no more than in the whole.
            for position in range(start, end):
                fail(position, error)
        except BaseException as error:  # noqa: BLE001
            leave_if_child(error)
            if end - start == 1:
                fail(start, error)
            else:
                middle = (start + end) // 2
                waiting += ((middle, end), (start, middle))
        else:
            outputs[start:end] = produced
    return outputs


def _listed(produced: Any, count: int, made_by: str) -> list[Any]:
    if isinstance(produced, (str, bytes, Mapping, Set)) or not hasattr(produced, "__iter__"):
        raise StepContractError(
            f"{made_by} returned {type(produced).__name__}; return a list of outputs, one for each message"
        )
    outputs = list(produced)
    if len(outputs) != count:
        raise StepContractError(
            f"{made_by} returned {len(outputs)} outputs for {count} messages; return one for each, in order,"
            " and None where there is none"
        )
    return outputs


class BatchStep(ColumnStep):
    """The step in a stage without state: it is given the whole column."""

    def __init__(
        self, node: int, children: Sequence[ColumnStep], call: Call, made_by: str, most: int | None = None
    ) -> None:
        super().__init__(node, children)
        self._call = call
        self._made_by = made_by
        self._most = most

    def apply(self, column: Column, run: BatchRun) -> Column:
        """Apply the step alone."""
        values, lineage = column.values, column.lineage

        def fail(position: int, error: BaseException) -> None:
            run.fail(self.node, lineage.origin(position), error, values[position])

        outputs = run_together(self._call, values, fail, self._made_by, self._most)
        dropped = [position for position, output in enumerate(outputs) if output is None]
        if not dropped:
            return Column(outputs, lineage)
        return Column([output for output in outputs if output is not None], Dropped(lineage, dropped))


class _Held(NamedTuple):
    """A value that waits for the end of the batch, and where it came from."""

    value: Any
    origin: int
    key: Any
    time: int
    watermark: int


def batch_computation(node: int, call: Call, made_by: str, most: int | None, below: Push, place: Position) -> Push:
    """Return the push of the step in a stage that runs message by message."""
    return holding_back(
        node, lambda values, fail: enumerate(run_together(call, values, fail, made_by, most)), below, place
    )


def holding_back(node: int, together: Together, below: Push, place: Position) -> Push:
    """Return the push that keeps values until the batch is over, then runs a step for them ``together``."""
    held: list[_Held] = []

    def run_held() -> None:
        waited = held.copy()
        held.clear()
        if waited:
            place.run.enter(node)

        def fail(position: int, error: BaseException) -> None:
            held_back = waited[position]
            place.origin, place.key = held_back.origin, held_back.key
            place.fail(node, error, held_back.value)

        for position, output in together([each.value for each in waited], fail):
            if output is not None:
                _, place.origin, place.key, place.time, place.watermark = waited[position]
                below(output)

    def hold(value: Any) -> None:
        if place.run.careful:
            held.append(_Held(value, place.origin, place.key, place.time, place.watermark))
            run_held()
            return
        try:
            value = pickled_copy(value)
        except BaseException:  # noqa: BLE001 - the user's pickling: it cannot be kept, and must not wait
            own = _Held(value, place.origin, place.key, place.time, place.watermark)
            run_held()
            held.append(own)
            run_held()
            return
        if not held:
            place.at_end.append(run_held)
        held.append(_Held(value, place.origin, place.key, place.time, place.watermark))

    return hold

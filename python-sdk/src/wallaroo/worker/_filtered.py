"""Steps that pass on what they are given: filters, which drop some of it, and those that only look at it.

The user's function is called by the loop itself, so that a filter costs no more than a step that returns its message or
``None``. The loops have the shape of those in ``_columns``.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import length_hint
from typing import Any, Callable

from wallaroo.worker._batch import BatchRun
from wallaroo.worker._columns import Column, ColumnStep
from wallaroo.worker._depth_first import Position, Push
from wallaroo.worker._forked import in_child, leave_if_child
from wallaroo.worker._lineage import Dropped
from wallaroo.worker._progress import watched


class FilterStep(ColumnStep):
    """``filter(f)``: passes on the values for which the function returns something true."""

    def __init__(self, node: int, children: Sequence[ColumnStep], call: Callable[[Any], Any]) -> None:
        super().__init__(node, children)
        self._call = call

    def apply(self, column: Column, run: BatchRun) -> Column:
        """Apply the step alone."""
        call = self._call
        kept: list[Any] = []
        append = kept.append
        dropped: list[int] = []
        remaining = watched(column.values)
        while True:
            try:
                for value in remaining:
                    if call(value):
                        append(value)
                    else:
                        dropped.append(len(kept) + len(dropped))
                break
            except BaseException as error:  # noqa: BLE001
                position = len(kept) + len(dropped)
                dropped.append(position)
                run.fail(self.node, column.lineage.origin(position), error, value)
        return Column(kept, Dropped(column.lineage, dropped)) if dropped else column


class InspectStep(ColumnStep):
    """``inspect(f)``: passes on all values but those for which the function raises."""

    def __init__(self, node: int, children: Sequence[ColumnStep], call: Callable[[Any], Any]) -> None:
        super().__init__(node, children)
        self._call = call

    def apply(self, column: Column, run: BatchRun) -> Column:
        """Apply the step alone."""
        call = self._call
        dropped: list[int] = []
        remaining = watched(column.values)
        while True:
            try:
                for value in remaining:
                    call(value)
                break
            except BaseException as error:  # noqa: BLE001
                position = len(column.values) - length_hint(remaining) - 1
                dropped.append(position)
                run.fail(self.node, column.lineage.origin(position), error, value)
        if not dropped:
            return column
        failed = frozenset(dropped)
        passed = [value for position, value in enumerate(column.values) if position not in failed]
        return Column(passed, Dropped(column.lineage, dropped))


def filtering(node: int, call: Callable[[Any], Any], below: Push, place: Position) -> Push:
    """Return the push of ``filter(f)``."""

    def push_if_wanted(value: Any) -> None:
        try:
            wanted = bool(call(value))
            if in_child:
                leave_if_child()
        except BaseException as error:  # noqa: BLE001
            place.fail(node, error, value)
            return
        if wanted:
            below(value)

    return push_if_wanted


def inspecting(node: int, call: Callable[[Any], Any], below: Push, place: Position) -> Push:
    """Return the push of ``inspect(f)``."""

    def look_and_push(value: Any) -> None:
        try:
            call(value)
            if in_child:
                leave_if_child()
        except BaseException as error:  # noqa: BLE001
            place.fail(node, error, value)
            return
        below(value)

    return look_and_push

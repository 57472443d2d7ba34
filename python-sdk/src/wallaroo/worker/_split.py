"""Splits: each message goes to one of several branches.

The function that chooses is called once a message, and a message is in one branch only, so branches need no copies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import compress
from typing import Any, Callable

from wallaroo.worker._batch import BatchRun
from wallaroo.worker._columns import Column, ColumnStep
from wallaroo.worker._depth_first import Position, Push, to_none
from wallaroo.worker._forked import in_child, leave_if_child
from wallaroo.worker._lineage import Chosen
from wallaroo.worker._progress import watched

Choose = Callable[[Any], Any]
"""From a message to the ``choice`` of its branch."""

_NO_BRANCH = object()


class SplitStep(ColumnStep):
    """The step in a stage without state.

    Args:
        node: Its id.
        branches: What takes the messages of each choice; messages of other choices are dropped.
        call: The user's function.
        branch_of: From what it returned to a choice.
    """

    def __init__(self, node: int, branches: Mapping[Any, ColumnStep], call: Choose, branch_of: Choose) -> None:
        super().__init__(node)
        self._branches = branches
        self._call = call
        self._branch_of = branch_of

    def run(self, column: Column, run: BatchRun) -> None:
        """Choose the branch of each value of ``column``, then run the branches, each on its own values."""
        run.enter(self.node, column.values)
        values, choices = column.values, self._choices(column, run)
        for choice, branch in self._branches.items():
            chosen = [each is choice for each in choices]
            branch.run(Column(list(compress(values, chosen)), Chosen(column.lineage, chosen)), run)

    def _choices(self, column: Column, run: BatchRun) -> list[Any]:
        call, branch_of = self._call, self._branch_of
        choices: list[Any] = []
        append = choices.append
        remaining = watched(column.values)
        while True:
            try:
                for value in remaining:
                    append(branch_of(call(value)))
                return choices
            except BaseException as error:  # noqa: BLE001
                run.fail(self.node, column.lineage.origin(len(choices)), error, value)
                append(_NO_BRANCH)


class BranchStep(ColumnStep):
    """Where a branch begins."""

    def apply(self, column: Column, run: BatchRun) -> Column:
        """Return ``column``."""
        return column


def splitting(
    node: int, call: Choose, branch_of: Choose, choices: Sequence[Any], below: Sequence[Push], place: Position
) -> Push:
    """Return the push of a split: ``below`` take the messages of ``choices``."""
    branches = dict(zip(choices, below))

    def choose_and_push(value: Any) -> None:
        try:
            choice = branch_of(call(value))
            if in_child:
                leave_if_child()
        except BaseException as error:  # noqa: BLE001
            place.fail(node, error, value)
            return
        branches.get(choice, to_none)(value)

    return choose_and_push

"""Which object keeps the windows of a step, and the table that holds them."""

from __future__ import annotations

from functools import partial

from wallaroo._pipeline.topology import WindowNode
from wallaroo._windows.joins import JoinAll, JoinWithin
from wallaroo._windows.recent import RecentIdentities
from wallaroo._windows.timed_state import TimedState
from wallaroo._windows.windows import CountWindows, RangeWindows, SessionWindows
from wallaroo.worker._joined import JoinedAll, JoinedWithin
from wallaroo.worker._local_windows import LocalWindows
from wallaroo.worker._open_windows import CountedWindows, OpenWindows, RangedWindows, Sessions, StepWindows
from wallaroo.worker._recent import RecentDedup, SeenLately
from wallaroo.worker._state import StateTables
from wallaroo.worker._timed_state import TimedStates, kept_states


def step_windows(node_id: int, node: WindowNode, tables: StateTables, delay_above: int) -> StepWindows:
    """Return the windows of a step, of all keys.

    Args:
        node_id: Id of the step's node.
        node: The node.
        tables: Where the step finds its windows.
        delay_above: As for :class:`StepWindows`.
    """
    step, windows = node.step, node.step.windows
    if isinstance(windows, RecentIdentities):
        seen = tables.table(node.table, SeenLately, SeenLately.is_empty)
        return RecentDedup(node_id, step, seen, delay_above, windows)
    if isinstance(windows, TimedState):
        return TimedStates(node_id, node, kept_states(node, tables, windows), delay_above, windows)
    if isinstance(windows, (JoinWithin, JoinAll)):
        waiting = tables.table(node.table, OpenWindows, OpenWindows.is_empty)
        if isinstance(windows, JoinAll):
            return JoinedAll(node_id, step, waiting, delay_above, windows)
        return JoinedWithin(node_id, step, waiting, delay_above, windows)
    parts = partial(OpenWindows.accumulators, initial=step.initial)
    table = tables.table(node.table, OpenWindows, OpenWindows.is_empty, parts)
    if isinstance(windows, CountWindows):
        return CountedWindows(node_id, step, table, delay_above, windows)
    if isinstance(windows, RangeWindows) and windows.zone is not None:
        return LocalWindows(node_id, step, table, delay_above, windows, windows.zone)
    if isinstance(windows, RangeWindows):
        return RangedWindows(node_id, step, table, delay_above, windows)
    assert isinstance(windows, SessionWindows), "there are no others"
    return Sessions(node_id, step, table, delay_above, windows)

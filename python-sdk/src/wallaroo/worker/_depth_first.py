"""Runs a stage message by message: each goes through all steps to the outlets before the next begins.

This is how stages with state run, and all stages in a careful batch. What a state computation returns may be the state
itself, or share parts with it, so the steps below must be done with it before the state sees its next message. (A stage
without state has nothing to share and is run step by step, in ``_columns``, which is faster.)

What that costs, on CPython 3.11: nothing for the usual form, a state computation and one sink, which ``_fused`` runs;
0.35 µs a message with two sinks.

Each step is a function that takes a value and hands what it makes of it to the function below; called a push.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

from wallaroo._codec.copies import copy_of, each_its_own, has_repeats, is_immutable
from wallaroo._codec.key_tags import untagged
from wallaroo._codec.protocol import BEGINNING
from wallaroo.worker._batch import BatchRun
from wallaroo.worker._contracts import is_unchanged, iterable, state_result_explained
from wallaroo.worker._forked import in_child, leave_if_child
from wallaroo.worker._state import StateTable

if TYPE_CHECKING:
    from wallaroo.worker._open_windows import StageWindows

Push = Callable[[Any], None]


class Position:
    """The message of a batch that is on its way through the steps."""

    run: BatchRun
    origin = 0
    key: Any = None
    # Of the message on its way, where windows need it: when it happened, and how far the watermark had come before it.
    time = 0
    watermark = BEGINNING
    # When each message of a source's batch arrived, and its frame; and the windows of the stage.
    arrivals: Sequence[int] = ()
    frames: Sequence[bytes] = ()
    windows: StageWindows
    # Of each group: the number of the next timer that is called before one of its messages.
    called_before: dict[int, int]

    def __init__(self) -> None:
        # What steps that hold values back have still to do; that may hold back others further down.
        self.at_end: deque[Callable[[], None]] = deque()

    def finish(self) -> None:
        """Push the values that were held back, once the last message has been pushed."""
        while self.at_end:
            self.at_end.popleft()()

    def fail(self, node: int, error: BaseException, value: Any, key: Any = None) -> None:
        """Record that ``node`` could not process ``value``, made of the message of this place."""
        self.run.fail(node, self.origin, error, value, key)


class Branch(NamedTuple):
    """A step of a stage and those below it. Where branches were merged, a step is below several others.

    ``make`` returns the step's push, given what takes its outputs and where the batch will be. ``changes_state`` says
    whether this step or one below it has state. ``splits``: it gives each output to one of those below, so ``make`` is
    given a list of what takes them.
    """

    node: int
    make: Callable[[Any, Position], Push]
    below: Sequence[Branch]
    changes_state: bool
    splits: bool = False

    @classmethod
    def of(
        cls,
        node: int,
        make: Callable[[Any, Position], Push],
        below: Sequence[Branch],
        *,
        has_state: bool = False,
        splits: bool = False,
    ) -> Branch:
        """Return the branch of ``node`` above ``below``."""
        return cls(node, make, below, has_state or any(branch.changes_state for branch in below), splits)


def grow(branches: Sequence[Branch], place: Position, *, discard: bool, careful: bool) -> Push:
    """Make one push of ``branches``.

    Args:
        branches: All take the same values.
        place: Kept up to date by whoever calls the push.
        discard: Leave out what has no state below it: a replay is for the state only, and what such steps do besides
            returning something, an alert sent perhaps, must not be done again.
        careful: Mark each step before it runs.
    """
    made: dict[int, Push] = {}

    def push_of(branch: Branch) -> Push:
        push = made.get(id(branch))
        if push is None:
            below = [push_to([each]) for each in branch.below] if branch.splits else push_to(branch.below)
            push = branch.make(below, place)
            push = made[id(branch)] = _marked(branch.node, push, place) if careful else push
        return push

    def push_to(branches: Sequence[Branch]) -> Push:
        pushes = [push_of(branch) for branch in branches if branch.changes_state or not discard]
        if len(pushes) == 1:
            return pushes[0]
        return _to_each(pushes) if pushes else to_none

    return push_to(branches)


def to_none(value: Any) -> None:
    """Do nothing with a value: nothing below takes it."""


def _to_each(pushes: Sequence[Push]) -> Push:
    *others, last = pushes

    def push_to_each(value: Any) -> None:
        if is_immutable(value):
            for push in pushes:
                push(value)
            return
        # All copies are made before the first branch runs. The last branch gets the original.
        for push, copied in zip(others, [copy_of(value) for _ in others]):
            push(copied)
        last(value)

    return push_to_each


def _marked(node: int, push: Push, place: Position) -> Push:
    def mark_and_push(value: Any) -> None:
        place.run.survived()
        place.run.enter(node)
        push(value)

    return mark_and_push


def decoder(node: int, call: Callable[[bytes], Any], below: Push, place: Position) -> Push:
    """Return the push of ``decode(bs)``; what it is given is the frame itself."""

    def decode(frame: bytes) -> None:
        try:
            output = call(frame)
            if in_child:
                leave_if_child()
        except BaseException as error:  # noqa: BLE001
            place.run.fail_frame(node, place.origin, error, frame)
            return
        if output is not None:
            below(output)

    return decode


def computation(node: int, call: Callable[[Any], Any], below: Push, place: Position) -> Push:
    """Return the push of ``compute(data)``: one output, or none."""

    def compute(value: Any) -> None:
        try:
            output = call(value)
            if in_child:
                leave_if_child()
        except BaseException as error:  # noqa: BLE001
            place.fail(node, error, value)
            return
        if output is not None:
            below(output)

    return compute


def multi_computation(node: int, call: Callable[[Any], Any], below: Push, place: Position) -> Push:
    """Return the push of ``compute_multi(data)``: any number of outputs."""

    def compute_multi(value: Any) -> None:
        try:
            outputs = _gathered(call(value))
            if in_child:
                leave_if_child()
        except BaseException as error:  # noqa: BLE001
            place.fail(node, error, value)
            return
        for output in outputs:
            if output is not None:
                below(output)

    return compute_multi


def marking(node: int, side: int, below: Push, place: Position) -> Push:
    """Return the push that marks messages of a keyed stage for a join: with their side, and their key."""

    def mark(value: Any) -> None:
        try:
            key = untagged(place.key)
        except BaseException as error:  # noqa: BLE001 - the classes of keys are the user's
            place.fail(node, error, value)
            return
        below((side, key, value))

    return mark


def state_computation(
    node: int, call: Callable[[Any, Any], Any], table: StateTable, below: Push, place: Position
) -> Push:
    """Return the push of ``compute(data, state)``: one output or none, and whether the state changed."""
    live = table.live

    def compute(value: Any) -> None:
        key = place.key
        try:
            state = live[key] if key in live else table.open(key)
        except BaseException as error:  # noqa: BLE001
            place.fail(node, error, value)
            return
        try:
            output, changed = call(value, state)
            if in_child:
                leave_if_child()
            if (changed is True or not is_unchanged(changed)) and key not in table.dirty:
                table.dirty[key] = place.run.batch
        except BaseException as error:  # noqa: BLE001
            # It may have changed the state before it raised.
            table.dirty.setdefault(key, place.run.batch)
            place.fail(node, state_result_explained(error), value)
            return
        if output is not None:
            below(output)

    return compute


def state_multi_computation(
    node: int, call: Callable[[Any, Any], Any], table: StateTable, below: Push, place: Position
) -> Push:
    """Return the push of ``compute_multi(data, state)``: any number of outputs, and whether the state changed."""

    def gathered(value: Any, state: Any) -> tuple[list[Any], Any]:
        produced, changed = call(value, state)
        return _gathered(produced), changed

    def each(outputs: list[Any]) -> None:
        for output in outputs:
            if output is not None:
                below(output)

    return state_computation(node, gathered, table, each, place)


def _gathered(produced: Any) -> list[Any]:
    """Return all outputs, in a list that is nobody else's: an iterable that raises half-way gives nothing."""
    if type(produced) is not list:
        produced = [] if produced is None else list(iterable(produced))
    return each_its_own(produced) if has_repeats(produced) else produced.copy()

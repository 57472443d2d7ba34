"""Stages: how a batch's input becomes the values that the steps are given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain, islice
from typing import Any, NamedTuple, Union

from wallaroo._codec.keys import key_from_wire
from wallaroo._codec.protocol import WHOLE, ProtocolError, is_frames, is_groups
from wallaroo._codec.values import ValueCodec
from wallaroo.worker._batch import BatchRun
from wallaroo.worker._columns import Column, ColumnStep, run_each
from wallaroo.worker._cutter import Cutter
from wallaroo.worker._depth_first import Branch, Position, Push, grow
from wallaroo.worker._fused import StateToSink
from wallaroo.worker._generate import GeneratorRoot
from wallaroo.worker._lineage import Dropped, Expanded, Lineage
from wallaroo.worker._outlets import Outlet
from wallaroo.worker._progress import advance, watched


class Stage:
    """A compiled stage whose batches give outputs: all but ``cut``.

    Args:
        root: Id of the root node.
        branches: Its steps, to run message by message; they end in ``outlets``.
        outlets: Where outputs are gathered when it runs so.
        codec: Reads the values of groups.
    """

    ended: int = False

    def __init__(self, root: int, branches: Sequence[Branch], outlets: Sequence[Outlet], codec: ValueCodec) -> None:
        self._root = root
        self._branches = branches
        self._outlets = outlets
        self._codec = codec
        self._place = Position()
        self._pushes: dict[tuple[bool, bool], Push] = {}

    def run(self, given: Any, run: BatchRun) -> Sequence[Outlet]:
        """Take ``given``, a batch's input, through the steps and return the outlets that have the outputs.

        The root is marked before the input is looked at: reading values is user code too, and a death in it must be
        laid to this batch.
        """
        run.enter(self._root)
        outlets = self._outlets_for(run)
        for outlet in outlets:
            outlet.begin()
        self._run(given, run)
        run.at(WHOLE, WHOLE)
        if run.careful:
            # What the outlets do with the outputs is the last message's no more than others'.
            run.enter(self._root)
        return outlets

    def _outlets_for(self, run: BatchRun) -> Sequence[Outlet]:
        return self._outlets

    def _run(self, given: Any, run: BatchRun) -> None:
        raise NotImplementedError

    def _push(self, run: BatchRun) -> Push:
        """Return what takes one message through all steps, once ``_place`` says which message it is."""
        self._place.run = run
        way = (run.discard, run.careful)
        if way not in self._pushes:
            self._pushes[way] = grow(self._branches, self._place, discard=run.discard, careful=run.careful)
        return self._pushes[way]

    def _push_each(self, messages: Iterable[Any], run: BatchRun) -> None:
        """Push frames or generated values, without those to be skipped."""
        push, place = self._push(run), self._place
        for origin, message in enumerate(messages):
            advance()
            if (origin, 0) not in run.skip:
                place.origin = origin
                if run.careful:
                    run.at(origin, 0)
                push(message)
                if run.careful:
                    run.survived()
        place.finish()


class Columns(NamedTuple):
    """The steps and outlets of a stage without state, to run step by step."""

    steps: Sequence[ColumnStep]
    outlets: Sequence[Outlet]

    def feed(self, column: Column, run: BatchRun) -> None:
        """Take ``column`` through all steps."""
        run_each(self.steps, column, run)


class ColumnStage(Stage):
    """A stage without state: runs step by step.

    A careful batch is run message by message, and so are all where there are no ``columns``.
    """

    def __init__(
        self,
        root: int,
        branches: Sequence[Branch],
        outlets: Sequence[Outlet],
        codec: ValueCodec,
        columns: Columns | None,
    ) -> None:
        super().__init__(root, branches, outlets, codec)
        self._columns = columns

    def run(self, given: Any, run: BatchRun) -> Sequence[Outlet]:
        """Take ``given`` through the steps; nothing at all happens where outputs are discarded."""
        return () if run.discard else super().run(given, run)

    def _outlets_for(self, run: BatchRun) -> Sequence[Outlet]:
        columns = self._columns_for(run)
        return self._outlets if columns is None else columns.outlets

    def _columns_for(self, run: BatchRun) -> Columns | None:
        return None if run.careful else self._columns


class FramesStage(ColumnStage):
    """Begins with a decoder."""

    def _run(self, given: Any, run: BatchRun) -> None:
        if not is_frames(given):
            raise ProtocolError("the input of a frames batch is not an array of bin")
        columns = self._columns_for(run)
        if columns is None:
            self._push_each(given, run)
        elif run.skip:
            skipped = sorted(origin for origin, _ in run.skip)
            kept = [frame for origin, frame in enumerate(given) if (origin, 0) not in run.skip]
            columns.feed(Column(kept, Dropped(Lineage(), skipped)), run)
        else:
            columns.feed(Column(given, Lineage()), run)


class GenerateStage(Stage):
    """Begins with a generator, which may return the value it was given, changed: the steps are done with it before."""

    def __init__(
        self,
        root: int,
        branches: Sequence[Branch],
        outlets: Sequence[Outlet],
        codec: ValueCodec,
        generator: GeneratorRoot,
    ) -> None:
        super().__init__(root, branches, outlets, codec)
        self._generator = generator

    def _run(self, given: Any, run: BatchRun) -> None:
        if type(given) is not int:
            raise ProtocolError("the input of a generate batch is not a number")
        self._push_each(self._generator.generate(given, run), run)
        self.ended = self._generator.ended


class Groups(NamedTuple):
    """The values of all groups of a batch, in order, and how many of them each group has; ``run`` knows the keys."""

    counts: list[int]
    values: list[Any]

    @classmethod
    def of(cls, lists: Sequence[list[Any]]) -> Groups:
        """Put together the values of each group."""
        return cls(list(map(len, lists)), list(chain.from_iterable(lists)))

    def lists(self) -> Iterator[list[Any]]:
        """Take the values of each group apart."""
        values = iter(self.values)
        return (list(islice(values, count)) for count in self.counts)

    @property
    def lineage(self) -> Lineage:
        """The group that each value is of."""
        return Expanded(Lineage(), list(accumulate(self.counts)))


class GroupReader:
    """Reads a batch's groups.

    Args:
        root: Id of the root node, which groups that cannot be read are failures of.
        codec: Reads the values.
    """

    def __init__(self, root: int, codec: ValueCodec) -> None:
        self._root = root
        self._codec = codec

    def read(self, given: Any, run: BatchRun) -> Groups:
        """Return the groups and tell ``run`` their keys; a group to be skipped whole has no values."""
        if not is_groups(given):
            raise ProtocolError("the input of a groups batch is not flat key, count, codec, values")
        keys, counts, codecs, lists = given[0::4], given[1::4], given[2::4], given[3::4]
        run.keys = list(map(key_from_wire, keys)) if list in set(map(type, keys)) else keys
        if not run.careful and not run.skip:
            values = self._codec.decode_groups(codecs, lists, counts)
            if values is not None:
                return Groups(counts, values)
        return Groups.of(
            [self.read_group(group, *fields, run) for group, fields in enumerate(zip(counts, codecs, lists))]
        )

    def read_group(self, group: int, count: int, codec: int, data: bytes, run: BatchRun) -> list[Any]:
        """Return the values of a group; none when it is to be skipped whole, or cannot be read."""
        advance()
        if (group, WHOLE) in run.skip:
            return []
        if run.careful:
            run.at(group, WHOLE)
            run.enter(self._root)
        try:
            return self._codec.decode(codec, data, count)
        except BaseException as error:  # noqa: BLE001 - the user's unpickling or deserialize
            run.fail_group(self._root, group, error, codec, data)
            return []


class GroupsStage(ColumnStage):
    """Begins with groups and has no state."""

    def _run(self, given: Any, run: BatchRun) -> None:
        groups = GroupReader(self._root, self._codec).read(given, run)
        columns = self._columns_for(run)
        if columns is None:
            _push_groups(groups, self._push(run), self._place, run)
        else:
            groups = _without_skipped(groups, run)
            columns.feed(Column(groups.values, groups.lineage), run)


class StatefulStage(Stage):
    """Begins with groups and has state.

    Args:
        fused: Does the whole stage in one loop, where it has the usual form.
    """

    def __init__(
        self,
        root: int,
        branches: Sequence[Branch],
        outlets: Sequence[Outlet],
        codec: ValueCodec,
        fused: StateToSink | None,
    ) -> None:
        super().__init__(root, branches, outlets, codec)
        self._fused = fused

    def _run(self, given: Any, run: BatchRun) -> None:
        groups = GroupReader(self._root, self._codec).read(given, run)
        if self._fused is None or run.careful or run.discard:
            _push_groups(groups, self._push(run), self._place, run)
        else:
            self._fused.run(*_without_skipped(groups, run), run)


def _push_groups(groups: Groups, push: Push, place: Position, run: BatchRun) -> None:
    skip = run.skip
    for group, (key, values) in enumerate(zip(run.keys, groups.lists())):
        place.origin, place.key = group, key
        for index, value in enumerate(watched(values, group)):
            if not skip or (group, index) not in skip:
                if run.careful:
                    run.at(group, index)
                push(value)
                if run.careful:
                    run.survived()
    place.finish()


def _without_skipped(groups: Groups, run: BatchRun) -> Groups:
    if not run.skip:
        return groups
    return Groups.of(
        [
            [value for index, value in enumerate(values) if (group, index) not in run.skip]
            for group, values in enumerate(groups.lists())
        ]
    )


class CutStage(NamedTuple):
    """Cuts frames for a source.

    ``root`` is the source's id.
    """

    root: int
    cutter: Cutter


AnyStage = Union[Stage, CutStage]

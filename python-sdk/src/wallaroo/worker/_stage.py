"""Stages: the plan's trees of nodes, made of steps that run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Union

from wallaroo._keys import key_from_wire
from wallaroo._protocol import ENVELOPE, WHOLE, ProtocolError, is_frames, is_groups
from wallaroo._sources import GenSourceConfig
from wallaroo._topology import (
    Application,
    CollectNode,
    ComputationNode,
    KeyByNode,
    SinkNode,
    SourceNode,
    StateNode,
)
from wallaroo._values import ValueCodec
from wallaroo.worker._batch import BatchRun, Column, GroupedColumn
from wallaroo.worker._cut import Cutter
from wallaroo.worker._generate import GeneratorRoot, GeneratorState, table_name
from wallaroo.worker._lineage import Dropped, Fixed, Lineage
from wallaroo.worker._outlets import GroupOutlet, Outlet, SinkOutlet
from wallaroo.worker._state import StateTables
from wallaroo.worker._steps import ComputationStep, DecodeStep, MultiStep, StateMultiStep, StateStep, Step


class Stage:
    """A compiled stage whose batches give outputs: all but ``cut``.

    Args:
        root: Id of the root node.
        steps: The steps below the root, or the decoder in their place.
        outlets: Where outputs are gathered.
        codec: Reads the values of groups.
    """

    ended = False

    def __init__(self, root: int, steps: Sequence[Step], outlets: Sequence[Outlet], codec: ValueCodec) -> None:
        self.outlets = outlets
        self._root = root
        self._steps = steps
        self._codec = codec

    def run(self, given: Any, run: BatchRun) -> None:
        """Take ``given``, a batch's input, through the steps to the outlets."""
        for outlet in self.outlets:
            outlet.begin()
        self._run(given, run)

    def _run(self, given: Any, run: BatchRun) -> None:
        raise NotImplementedError

    def _feed(self, column: Column, run: BatchRun) -> None:
        for step in self._steps:
            if step.changes_state or not run.discard:
                step.run(column, run)

    def _feed_messages(self, messages: list[Any], run: BatchRun) -> None:
        """Feed frames or generated values, without those to be skipped."""
        if run.careful:
            for origin, message in enumerate(messages):
                if (origin, 0) not in run.skip:
                    run.at(origin, 0)
                    self._feed(Column([message], Fixed(origin)), run)
        elif run.skip:
            skipped = sorted(origin for origin, _ in run.skip)
            kept = [message for origin, message in enumerate(messages) if (origin, 0) not in run.skip]
            self._feed(Column(kept, Dropped(Lineage(), skipped)), run)
        else:
            self._feed(Column(messages, Lineage()), run)


class FramesStage(Stage):
    """Begins with a decoder."""

    def _run(self, given: Any, run: BatchRun) -> None:
        if not is_frames(given):
            raise ProtocolError("the input of a frames batch is not an array of bin")
        self._feed_messages(given, run)


class GenerateStage(Stage):
    """Begins with a generator."""

    def __init__(
        self, root: int, steps: Sequence[Step], outlets: Sequence[Outlet], codec: ValueCodec, generator: GeneratorRoot
    ) -> None:
        super().__init__(root, steps, outlets, codec)
        self._generator = generator

    def _run(self, given: Any, run: BatchRun) -> None:
        if type(given) is not int:
            raise ProtocolError("the input of a generate batch is not a number")
        self._feed_messages(self._generator.generate(given, run), run)
        self.ended = self._generator.ended


class GroupsStage(Stage):
    """Begins with groups: state steps find each key's values together.

    Steps that use the same state table see the messages of a key one by one, each through all steps, for the second
    must not find what the first made of a later message.
    """

    def __init__(
        self, root: int, steps: Sequence[Step], outlets: Sequence[Outlet], codec: ValueCodec, *, one_by_one: bool
    ) -> None:
        super().__init__(root, steps, outlets, codec)
        self._one_by_one = one_by_one

    def _run(self, given: Any, run: BatchRun) -> None:
        if not is_groups(given):
            raise ProtocolError("the input of a groups batch is not flat key, count, codec, values")
        fields = iter(given)
        groups = [
            self._group(group, key, count, codec, data, run)
            for group, (key, count, codec, data) in enumerate(zip(fields, fields, fields, fields))
        ]
        if self._one_by_one or run.careful:
            self._feed_one_by_one(groups, run)
        else:
            if run.skip:
                groups = [_without_skipped(group, values, run) for group, values in enumerate(groups)]
            self._feed(GroupedColumn(groups), run)

    def _group(self, group: int, key: Any, count: int, codec: int, data: bytes, run: BatchRun) -> list[Any]:
        run.keys.append(key if key.__class__ is not list else key_from_wire(key))
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

    def _feed_one_by_one(self, groups: list[list[Any]], run: BatchRun) -> None:
        for group, values in enumerate(groups):
            for index, value in enumerate(values):
                if (group, index) not in run.skip:
                    if run.careful:
                        run.at(group, index)
                    self._feed(Column([value], Fixed(group)), run)


def _without_skipped(group: int, values: list[Any], run: BatchRun) -> list[Any]:
    return [value for index, value in enumerate(values) if (group, index) not in run.skip]


class CutStage:
    """Cuts frames for a source."""

    def __init__(self, cutter: Cutter) -> None:
        self.cutter = cutter


AnyStage = Union[Stage, CutStage]


class Compiler:
    """Makes stages of a plan.

    Args:
        application: Its nodes hold the user's code.
        tables: Where the state steps find their state.
        codec: For the values between stages.
        max_body: The cap of the connection, which bounds a frame too.
    """

    def __init__(self, application: Application, tables: StateTables, codec: ValueCodec, max_body: int) -> None:
        self._application = application
        self._tables = tables
        self._codec = codec
        self._max_body = max_body

    def compile(self, kind: str, root: int, outlet_ids: Sequence[int]) -> AnyStage:
        """Make the stage that begins at node ``root`` and ends at ``outlet_ids``.

        Raises:
            ProtocolError: The plan does not fit the topology.
        """
        nodes = self._application.nodes
        if root >= len(nodes) or any(outlet >= len(nodes) for outlet in outlet_ids):
            raise ProtocolError(f"the plan names a node that is not among the {len(nodes)} of the topology")
        node = nodes[root]
        if kind == "cut" and isinstance(node, SourceNode) and node.source.decoder is not None:
            header = node.source.decoder.header_length()
            return CutStage(Cutter(header, node.source.decoder.payload_length, max(0, self._max_body - ENVELOPE)))
        outlets = {outlet: self._outlet(outlet) for outlet in outlet_ids}
        children = self._children(root, outlets)
        ends = list(outlets.values())
        if kind == "frames" and isinstance(node, SourceNode) and node.source.decode is not None:
            return FramesStage(root, [DecodeStep(root, children, node.source.decode)], ends, self._codec)
        if kind == "generate" and isinstance(node, SourceNode) and isinstance(node.source, GenSourceConfig):
            generator = node.source.generator
            table = self._tables.table(table_name(node.name), lambda: GeneratorState(generator))
            return GenerateStage(root, children, ends, self._codec, GeneratorRoot(root, table))
        if kind == "groups" and isinstance(node, (KeyByNode, CollectNode)):
            return GroupsStage(root, children, ends, self._codec, one_by_one=self._shares_table(root, outlets))
        raise ProtocolError(f"a stage with input {kind!r} cannot begin at node {root}, a {node.kind}")

    def _outlet(self, node_id: int) -> Outlet:
        node = self._application.nodes[node_id]
        if isinstance(node, KeyByNode):
            return GroupOutlet(node_id, self._codec, node.call, node.known_keys)
        if isinstance(node, CollectNode):
            return GroupOutlet(node_id, self._codec)
        if isinstance(node, SinkNode):
            return SinkOutlet(node_id, node.sink.encode)
        raise ProtocolError(f"node {node_id}, a {node.kind}, cannot be an outlet")

    def _children(self, parent: int, outlets: dict[int, Outlet]) -> list[Step]:
        return [self._step(child, outlets) for child in self._application.children(parent)]

    def _step(self, node_id: int, outlets: dict[int, Outlet]) -> Step:
        if node_id in outlets:
            return outlets[node_id]
        node = self._application.nodes[node_id]
        children = self._children(node_id, outlets)
        if isinstance(node, ComputationNode):
            return (MultiStep if node.multi else ComputationStep)(node_id, children, node.call)
        if isinstance(node, StateNode):
            table = self._tables.table(node.table, node.build)
            return (StateMultiStep if node.multi else StateStep)(node_id, children, node.call, table)
        raise ProtocolError(f"node {node_id}, a {node.kind}, is inside a stage but not an outlet of it")

    def _shares_table(self, root: int, outlets: dict[int, Outlet]) -> bool:
        tables = [node.table for node in self._state_nodes(root, outlets)]
        return len(tables) != len(set(tables))

    def _state_nodes(self, parent: int, outlets: dict[int, Outlet]) -> Iterator[StateNode]:
        for child in self._application.children(parent):
            if child in outlets:
                continue
            node = self._application.nodes[child]
            if isinstance(node, StateNode):
                yield node
            yield from self._state_nodes(child, outlets)

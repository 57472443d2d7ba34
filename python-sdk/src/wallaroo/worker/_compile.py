"""Compiles the plan's trees of nodes into stages that run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from typing import Any, Callable, TypeVar

from wallaroo._codec.protocol import ENVELOPE, ProtocolError
from wallaroo._codec.values import ValueCodec
from wallaroo._io.sources import GenSourceConfig
from wallaroo._pipeline.topology import (
    KEYING,
    STATELESS,
    Application,
    AsyncNode,
    BatchNode,
    BranchNode,
    CollectNode,
    ComputationNode,
    CutNode,
    FilterNode,
    InspectNode,
    KeyByNode,
    Node,
    SideNode,
    SinkNode,
    SourceNode,
    SplitNode,
    StatelessNode,
    StateNode,
    WindowNode,
)
from wallaroo.worker._columns import ColumnStep, ComputationStep, DecodeStep, MultiStep
from wallaroo.worker._cutter import Cutter
from wallaroo.worker._depth_first import (
    Branch,
    Position,
    Push,
    computation,
    decoder,
    marking,
    multi_computation,
    state_computation,
    state_multi_computation,
)
from wallaroo.worker._eager_outlet import EagerGroupOutlet
from wallaroo.worker._filtered import FilterStep, InspectStep, filtering, inspecting
from wallaroo.worker._fused import Computing, StateToSink
from wallaroo.worker._generate import GeneratorRoot, GeneratorState, table_name
from wallaroo.worker._guarded import atomic_state, guarded_application, is_atomic
from wallaroo.worker._outlets import GroupOutlet, KeyFunction, Outlet, SinkOutlet
from wallaroo.worker._pool_outlet import PoolOutlet
from wallaroo.worker._split import BranchStep, SplitStep, splitting
from wallaroo.worker._stage import AnyStage, Columns, CutStage, FramesStage, GenerateStage, GroupsStage, StatefulStage
from wallaroo.worker._state import StateTable, StateTables
from wallaroo.worker._step_windows import step_windows
from wallaroo.worker._timed import (
    TimedFramesStage,
    TimedGenerateStage,
    TimedGroupsStage,
    TimedOutlet,
    has_one_source,
    has_windows,
    leads_to_time,
    stamping,
)
from wallaroo.worker._vectorised import BatchStep, batch_computation

G = TypeVar("G", EagerGroupOutlet, GroupOutlet)

_ENDS = (*KEYING, SinkNode)
"""Nodes at which every stage ends. Others are outlets if their values cross into another pool."""


_FRAMES_FOR_USERS, _FRAMES_A_STEP = 1_000, 6


class Compiler:
    """Compiles the stages of a plan.

    Args:
        application: Its nodes hold the user's code.
        tables: Where the state steps find their state.
        codec: For the values between stages.
        max_body: The cap of the connection, which bounds a frame too.
    """

    def __init__(self, application: Application, tables: StateTables, codec: ValueCodec, max_body: int) -> None:
        self._application = guarded_application(application)
        self._tables = tables
        self._codec = codec
        self._max_body = max_body
        # Steps call the steps below them, so a long pipeline needs a deep stack.
        deep_enough = _FRAMES_FOR_USERS + _FRAMES_A_STEP * len(application.nodes)
        sys.setrecursionlimit(max(sys.getrecursionlimit(), deep_enough))

    def compile(self, kind: str, root: int, outlet_ids: Sequence[int], pool: str | None = None) -> AnyStage:
        """Make the stage of ``pool`` that begins at node ``root`` and ends at ``outlet_ids``.

        Raises:
            ProtocolError: The plan does not fit the topology.
        """
        nodes = self._application.nodes
        if root >= len(nodes) or any(outlet >= len(nodes) for outlet in outlet_ids):
            raise ProtocolError(f"the plan names a node that is not among the {len(nodes)} of the topology")
        for outlet in outlet_ids:
            if not isinstance(nodes[outlet], _ENDS) and not self._application.has_crossing(outlet):
                raise ProtocolError(f"node {outlet}, a {nodes[outlet].kind}, cannot be an outlet")
        node = nodes[root]
        if kind == "cut" and isinstance(node, SourceNode) and node.source.decoder is not None:
            header = node.source.decoder.header_length()
            largest = max(0, self._max_body - ENVELOPE)
            return CutStage(root, Cutter(header, node.source.decoder.payload_length, largest))
        if kind == "frames" and isinstance(node, SourceNode) and node.source.decode is not None:
            return self._frames(root, node, node.source.decode, outlet_ids)
        if kind == "generate" and isinstance(node, SourceNode) and isinstance(node.source, GenSourceConfig):
            generator = node.source.generator
            table = self._tables.table(table_name(node.name), lambda: GeneratorState(generator))
            branches, outlets = self._branches(root, outlet_ids, None)
            if self._lead_to_time(outlet_ids):
                stamped = [Branch.of(root, partial(stamping, root, node), branches)]
                return TimedGenerateStage(root, stamped, outlets, self._codec, GeneratorRoot(root, table))
            return GenerateStage(root, branches, outlets, self._codec, GeneratorRoot(root, table))
        if kind == "groups" and (isinstance(node, KEYING) or self._application.has_crossing(root)):
            return self._groups(root, outlet_ids, pool)
        raise ProtocolError(f"a stage with input {kind!r} cannot begin at node {root}, a {node.kind}")

    def _frames(
        self, root: int, source: SourceNode, decode: Callable[[bytes], Any], outlet_ids: Sequence[int]
    ) -> FramesStage | TimedFramesStage:
        branches, outlets = self._branches(root, outlet_ids, None)
        if self._lead_to_time(outlet_ids):
            stamped = [Branch.of(root, partial(stamping, root, source), branches)]
            decoded = [Branch.of(root, partial(decoder, root, decode), stamped)]
            return TimedFramesStage(root, decoded, outlets, self._codec)
        decoded = [Branch.of(root, partial(decoder, root, decode), branches)]
        columns = self._columns(root, outlet_ids, None)
        if columns is not None:
            columns = columns._replace(steps=[DecodeStep(root, columns.steps, decode)])
        return FramesStage(root, decoded, outlets, self._codec, columns)

    def _lead_to_time(self, outlet_ids: Sequence[int]) -> bool:
        return any(leads_to_time(self._application, outlet) for outlet in outlet_ids)

    def _groups(
        self, root: int, outlet_ids: Sequence[int], pool: str | None
    ) -> StatefulStage | GroupsStage | TimedGroupsStage:
        branches, outlets = self._branches(root, outlet_ids, pool)
        # Values that come to a node lead to time in all stages that begin there, or in none.
        if has_windows(self._application, pool, root) or leads_to_time(self._application, root):
            return TimedGroupsStage(root, branches, outlets, self._codec)
        if any(branch.changes_state for branch in branches):
            return StatefulStage(root, branches, outlets, self._codec, self._fused(root, outlets))
        return GroupsStage(root, branches, outlets, self._codec, self._columns(root, outlet_ids, pool))

    def _fused(self, root: int, outlets: Sequence[Outlet]) -> StateToSink | None:
        """Return one loop for a stage that is a state computation, computations and a sink in a row."""
        if any(isinstance(outlet, EagerGroupOutlet) for outlet in outlets):
            return None
        nodes = self._application.nodes
        children = self._application.children_in(None, root)
        chain: list[tuple[int, Computing]] = []
        state: tuple[int, StateNode] | None = None
        while len(children) == 1:
            (child,) = children
            node = nodes[child]
            if state is None and isinstance(node, StateNode) and not (node.multi or is_atomic(node)):
                state = child, node
            elif state is not None and (computing := _computing(node)) is not None:
                chain.append((child, computing))
            elif state is not None and isinstance(node, SinkNode):
                (sink,) = outlets
                assert isinstance(sink, SinkOutlet), "the only outlet of a row that ends in a sink"
                return StateToSink((state[0], state[1].call), self._state_table(state[1]), chain, sink)
            else:
                break
            children = self._application.children_in(None, child)
        return None

    def _state_table(self, node: StateNode) -> StateTable:
        return self._tables.table(node.table, node.build, builds_of_key=node.builds_of_key)

    def _branches(self, root: int, outlet_ids: Sequence[int], pool: str | None) -> tuple[list[Branch], list[Outlet]]:
        """Return the steps below ``root``, to run message by message, and its outlets."""
        outlets = {outlet: self._captured(outlet) for outlet in outlet_ids}
        made: dict[tuple[int, int], Branch] = {}

        def branches_below(node_id: int, delay: int) -> list[Branch]:
            below = [branch(child, delay) for child in self._application.children_in(pool, node_id)]
            if node_id in outlets:
                below.append(Branch.of(node_id, outlets[node_id].push, ()))
            return below

        def branch(node_id: int, delay: int) -> Branch:
            if (node_id, delay) not in made:
                made[node_id, delay] = new_branch(node_id, delay)
            return made[node_id, delay]

        def new_branch(node_id: int, delay: int) -> Branch:
            node = self._application.nodes[node_id]
            if isinstance(node, _ENDS) and node_id in outlets:
                return Branch.of(node_id, outlets[node_id].push, ())
            below = branches_below(node_id, delay + node.step.delay if isinstance(node, WindowNode) else delay)
            if isinstance(node, SplitNode):
                choices = self._choices(pool, node_id)
                make_split = partial(splitting, node_id, node.call, node.branch_of, choices)
                return Branch.of(node_id, make_split, below, splits=True)
            if isinstance(node, STATELESS):
                return Branch.of(node_id, _push_of(node_id, node), below)
            if isinstance(node, StateNode):
                table = self._state_table(node)
                if is_atomic(node):
                    return Branch.of(node_id, partial(atomic_state, node_id, node, table), below, has_state=True)
                make_state = state_multi_computation if node.multi else state_computation
                return Branch.of(node_id, partial(make_state, node_id, node.call, table), below, has_state=True)
            if isinstance(node, WindowNode):
                windows = step_windows(node_id, node, self._tables, delay)
                return Branch.of(node_id, windows.push, below, has_state=True)
            raise ProtocolError(f"node {node_id}, a {node.kind}, is inside a stage but not an outlet of it")

        return branches_below(root, 0), list(outlets.values())

    def _columns(self, root: int, outlet_ids: Sequence[int], pool: str | None) -> Columns | None:
        """Return the tree below ``root``, to run step by step, and its outlets; ``None`` where branches are merged.

        What comes of one branch for a whole batch must not overtake what comes of the other. Nor can a step run so that
        needs the keys of its messages.
        """
        if self._runs_by_message(root, outlet_ids, pool):
            return None
        nodes = self._application.nodes
        outlets: dict[int, Outlet] = {
            outlet: PoolOutlet(outlet, self._codec) if _keeps_keys(nodes[outlet]) else self._outlet(outlet, GroupOutlet)
            for outlet in outlet_ids
        }

        def steps_below(node_id: int) -> list[ColumnStep]:
            below = [step(child) for child in self._application.children_in(pool, node_id)]
            return [*below, outlets[node_id]] if node_id in outlets else below

        def step(node_id: int) -> ColumnStep:
            node = nodes[node_id]
            if isinstance(node, _ENDS) and node_id in outlets:
                return outlets[node_id]
            if not isinstance(node, STATELESS):
                raise ProtocolError(f"node {node_id}, a {node.kind}, is in a stage whose messages have no key")
            below = steps_below(node_id)
            if isinstance(node, SplitNode):
                branches = dict(zip(self._choices(pool, node_id), below))
                return SplitStep(node_id, branches, node.call, node.branch_of)
            return _column_step_of(node_id, node, below)

        return Columns(steps_below(root), list(outlets.values()))

    def _choices(self, pool: str | None, split: int) -> list[Any]:
        """Return the choices of the branches of a split, in the order of its children."""
        nodes = [self._application.nodes[child] for child in self._application.children_in(pool, split)]
        return [node.choice for node in nodes if isinstance(node, BranchNode)]

    def _runs_by_message(self, root: int, outlet_ids: Sequence[int], pool: str | None) -> bool:
        """Whether some node of the stage is below several others of it, or marks messages for a join."""
        seen: set[int] = set()
        waiting = [root]
        while waiting:
            for child in self._application.children_in(pool, waiting.pop()):
                if child in seen or isinstance(self._application.nodes[child], SideNode):
                    return True
                seen.add(child)
                if child not in outlet_ids or not isinstance(self._application.nodes[child], _ENDS):
                    waiting.append(child)
        return False

    def _captured(self, node_id: int) -> EagerGroupOutlet | SinkOutlet:
        timed = leads_to_time(self._application, node_id)
        if _keeps_keys(self._application.nodes[node_id]):
            if timed:
                # Values go on with the watermark they met here.
                return TimedOutlet(node_id, self._codec, None, watermarks=True, crosses=True)
            return EagerGroupOutlet(node_id, self._codec, None, crosses=True)
        if timed:
            watermarks = has_one_source(self._application, node_id)
            return self._outlet(node_id, partial(TimedOutlet, watermarks=watermarks))
        return self._outlet(node_id, EagerGroupOutlet)

    def _outlet(self, node_id: int, group_outlet: Callable[[int, ValueCodec, KeyFunction | None], G]) -> G | SinkOutlet:
        node = self._application.nodes[node_id]
        if isinstance(node, KeyByNode):
            return group_outlet(
                node_id, self._codec, KeyFunction(node.call, node.known_keys, only_plain=node.only_plain)
            )
        if isinstance(node, CollectNode):
            return group_outlet(node_id, self._codec, None)
        if isinstance(node, SinkNode):
            return SinkOutlet(node_id, node.sink.encode)
        raise ProtocolError(f"node {node_id}, a {node.kind}, cannot be an outlet")


def _keeps_keys(node: Node) -> bool:
    """Whether values that leave a stage at a node go on under the keys that they have."""
    return isinstance(node, CutNode) or not isinstance(node, _ENDS)


def _computing(node: Node) -> Computing | None:
    if isinstance(node, (FilterNode, InspectNode)) or (isinstance(node, ComputationNode) and not node.multi):
        return node
    return None


def _push_of(node_id: int, node: StatelessNode) -> Callable[[Push, Position], Push]:
    """Return what makes the push of a step without state, any but a split."""
    if isinstance(node, ComputationNode):
        return partial(multi_computation if node.multi else computation, node_id, node.call)
    if isinstance(node, BatchNode):
        return partial(batch_computation, node_id, node.call, node.made_by, node.most)
    if isinstance(node, AsyncNode):
        from wallaroo.worker._concurrent import calling_concurrently  # See below.

        return partial(calling_concurrently, node_id, node)
    if isinstance(node, FilterNode):
        return partial(filtering, node_id, node.call)
    if isinstance(node, InspectNode):
        return partial(inspecting, node_id, node.call)
    if isinstance(node, SideNode):
        return partial(marking, node_id, node.side)
    return lambda below, place: below


def _column_step_of(node_id: int, node: StatelessNode, below: Sequence[ColumnStep]) -> ColumnStep:
    """Return a step without state, any but a split, to run for a whole batch."""
    if isinstance(node, ComputationNode):
        return (MultiStep if node.multi else ComputationStep)(node_id, below, node.call)
    if isinstance(node, BatchNode):
        return BatchStep(node_id, below, node.call, node.made_by, node.most)
    if isinstance(node, AsyncNode):
        # Imported here because asyncio takes as long as all other imports of a worker.
        from wallaroo.worker._concurrent import AsyncStep

        return AsyncStep(node_id, below, node)
    if isinstance(node, FilterNode):
        return FilterStep(node_id, below, node.call)
    if isinstance(node, InspectNode):
        return InspectStep(node_id, below, node.call)
    return BranchStep(node_id, below)

"""The graph an application compiles to, whichever generation of the API described it.

Nodes name their inputs by index, and only earlier ones, so the list is in topological order. Each node holds what the
orchestrator is told (``describe``) and what a worker calls. ``kind`` is as in spec/protocol.md. ``errors`` says what is
done where ``call`` raises; ``None``: the message becomes a dead letter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable, NamedTuple, Union

from wallaroo._errors import WallarooParameterError
from wallaroo._io.addresses import Description
from wallaroo._io.sinks import SinkConfig
from wallaroo._io.sources import SourceConfig, decoder_name
from wallaroo._steps.computations import Computation, ComputationBatch, ComputationMulti, StateStep, Step
from wallaroo._steps.concurrency import Concurrency
from wallaroo._steps.errors import ErrorPolicy
from wallaroo._steps.filling import Fill
from wallaroo._steps.objects import qualified_name
from wallaroo._steps.wrapping import calling
from wallaroo._windows.windows import WindowStep


class SourceNode(NamedTuple):
    """Where messages enter: a decoder, or a generator."""

    name: str
    inputs: tuple[int, ...]
    source: SourceConfig[Any]
    kind: str = "source"

    def describe(self) -> Description:
        """Return the kind's own keys of the topology."""
        return {
            "pipeline": self.name,
            "source": self.source.describe(),
            "decoder": decoder_name(self.source),
            "framing": self.source.framing,
            "event_time": self.source.has_event_times,
        }


class ComputationNode(NamedTuple):
    """A stateless step.

    ``multi``: ``call`` returns an iterable of outputs. ``pool``: its pool; ``None`` is the main one.
    """

    name: str
    inputs: tuple[int, ...]
    call: Callable[[Any], Any]
    multi: bool
    pool: str | None = None
    kind: str = "computation"
    errors: ErrorPolicy | None = None

    def describe(self) -> Description:
        """Return the kind's own keys of the topology."""
        return {"pool": self.pool, "fill": None}


class BatchNode(NamedTuple):
    """A stateless step that is given many messages at once: ``call`` takes a list and returns as many outputs.

    ``made_by``: what made it, for errors. ``most``: messages in one call, at most. ``fill``: what its batches wait for.
    """

    name: str
    inputs: tuple[int, ...]
    call: Callable[[list[Any]], Any]
    pool: str | None = None
    made_by: str = "computation_batch"
    most: int | None = None
    fill: Fill | None = None
    kind: str = "computation"
    errors: ErrorPolicy | None = None

    def describe(self) -> Description:
        """Return the kind's own keys of the topology."""
        return {"pool": self.pool, "fill": None if self.fill is None else self.fill.describe()}


class AsyncNode(NamedTuple):
    """A stateless step whose ``call`` returns an awaitable; many are awaited at once, as ``concurrency`` says.

    ``keyed``: the slots of the main pool run it, each for the messages of its keys.
    """

    name: str
    inputs: tuple[int, ...]
    call: Callable[[Any], Any]
    concurrency: Concurrency
    keyed: bool
    pool: str | None = None
    kind: str = "computation"
    errors: ErrorPolicy | None = None

    def describe(self) -> Description:
        """Return the kind's own keys of the topology."""
        return {"pool": self.pool, "fill": self.concurrency.fill(keyed=self.keyed).describe()}


class FilterNode(NamedTuple):
    """A stateless step that drops the messages for which ``call`` returns something false."""

    name: str
    inputs: tuple[int, ...]
    call: Callable[[Any], Any]
    pool: str | None = None
    kind: str = "computation"
    errors: ErrorPolicy | None = None

    def describe(self) -> Description:
        """Return the kind's own keys of the topology."""
        return {"pool": self.pool, "fill": None}


class InspectNode(NamedTuple):
    """A stateless step that shows each message to ``call`` and passes it on, whatever that returns."""

    name: str
    inputs: tuple[int, ...]
    call: Callable[[Any], Any]
    pool: str | None = None
    kind: str = "computation"
    errors: ErrorPolicy | None = None

    def describe(self) -> Description:
        """Return the kind's own keys of the topology."""
        return {"pool": self.pool, "fill": None}


class SplitNode(NamedTuple):
    """A stateless step that gives each message to one of the :class:`BranchNode` below it, which are in its pool.

    ``branch_of(call(message))`` is the ``choice`` of that branch. A branch that leads to no sink is no node, and its
    messages are dropped.
    """

    name: str
    inputs: tuple[int, ...]
    call: Callable[[Any], Any]
    branch_of: Callable[[Any], Any]
    pool: str | None = None
    kind: str = "computation"
    errors: ErrorPolicy | None = None

    def describe(self) -> Description:
        """Return the kind's own keys of the topology."""
        return {"pool": self.pool, "fill": None}


class BranchNode(NamedTuple):
    """Where a branch below a :class:`SplitNode` begins. It passes on what it is given."""

    name: str
    inputs: tuple[int, ...]
    choice: Any
    pool: str | None = None
    kind: str = "computation"

    def describe(self) -> Description:
        """Return the kind's own keys of the topology."""
        return {"pool": self.pool, "fill": None}


class SideNode(NamedTuple):
    """A stateless step below a ``key_by``, of a stream that is joined with another.

    It gives ``(side, key, message)``, for the ``key_by`` of the join: ``side`` says which of the streams it is.
    """

    name: str
    inputs: tuple[int, ...]
    side: int
    pool: str | None = None
    kind: str = "computation"

    def describe(self) -> Description:
        """Return the kind's own keys of the topology."""
        return {"pool": self.pool, "fill": None}


class KeyByNode(NamedTuple):
    """Ends a stage: messages are routed by the key that ``call`` returns.

    ``keys`` is the fixed list of keys in the application's order, or ``None`` when any key may occur. ``only_plain``:
    keys of further types are refused, as in the older generations.
    """

    name: str
    inputs: tuple[int, ...]
    call: Callable[[Any], Any]
    keys: tuple[Any, ...] | None
    reject_unknown: bool
    kind: str = "key_by"
    only_plain: bool = False

    def describe(self) -> Description:
        """Return the kind's own keys of the topology."""
        return {
            "keys": None if self.keys is None else list(self.keys),
            "unknown_key": "reject" if self.reject_unknown else "create",
        }

    @property
    def known_keys(self) -> tuple[Any, ...] | None:
        """The only keys that may occur, in the application's order, or ``None``."""
        return self.keys if self.reject_unknown else None


class CollectNode(NamedTuple):
    """Ends a stage: all messages come together under the key ``None``."""

    name: str
    inputs: tuple[int, ...]
    kind: str = "collect"

    def describe(self) -> Description:
        """Return the kind's own keys of the topology: none."""
        return {}


class CutNode(NamedTuple):
    """Ends a stage where nothing else does: messages are routed by the key that they have.

    ``kind`` is that of the node which gave them their key: ``key_by`` or ``collect``.
    """

    name: str
    inputs: tuple[int, ...]
    kind: str

    def describe(self) -> Description:
        """Return the kind's own keys of the topology."""
        return {} if self.kind == "collect" else {"keys": None, "unknown_key": "create"}


class StateNode(NamedTuple):
    """A step with state. ``call(data, state)`` returns ``(output, state_changed)``; ``build()`` makes a key's state.

    ``builds_of_key``: it is ``build(key)``.
    """

    name: str
    inputs: tuple[int, ...]
    table: str
    table_type: str
    build: Callable[..., Any]
    call: Callable[[Any, Any], Any]
    multi: bool
    builds_of_key: bool = False
    kind: str = "state"
    errors: ErrorPolicy | None = None

    def describe(self) -> Description:
        """Return the kind's own keys of the topology."""
        return {"table": self.table, "table_type": self.table_type}


class WindowNode(NamedTuple):
    """A step with windows; the open ones of a key are its state. Or one whose states end, in a table of its name."""

    name: str
    inputs: tuple[int, ...]
    table: str
    table_type: str
    step: WindowStep[Any, Any]
    kind: str = "window"
    errors: ErrorPolicy | None = None

    def describe(self) -> Description:
        """Return the kind's own keys of the topology."""
        return {"table": self.table, "table_type": self.table_type, "window": self.step.windows.describe()}


class SinkNode(NamedTuple):
    """Where messages leave, as bytes."""

    name: str
    inputs: tuple[int, ...]
    sink: SinkConfig[Any]
    kind: str = "sink"

    def describe(self) -> Description:
        """Return the kind's own keys of the topology."""
        return {"sink": self.sink.describe(), "encoder": self.sink.encoder_name}


StatelessNode = Union[ComputationNode, BatchNode, AsyncNode, FilterNode, InspectNode, SplitNode, BranchNode, SideNode]
Node = Union[SourceNode, StatelessNode, KeyByNode, CollectNode, CutNode, StateNode, WindowNode, SinkNode]

STATELESS = (ComputationNode, BatchNode, AsyncNode, FilterNode, InspectNode, SplitNode, BranchNode, SideNode)
"""The types of nodes that may run in a pool."""

KEYING = (KeyByNode, CollectNode, CutNode)
"""The types of nodes at which a stage ends and another begins, whose messages have keys."""


def pool_of(node: Node) -> str | None:
    """Return the pool whose workers run a node; ``None`` for the main pool."""
    return node.pool if isinstance(node, STATELESS) else None


def node_of(step: Step[Any, Any], inputs: tuple[int, ...], pool: str | None = None) -> Node:
    """Return the node of a step. State is in a table of the step's name.

    Args:
        step: The step.
        inputs: The nodes it takes messages from.
        pool: The pool whose workers run it; ``None`` for the main one, which runs every step with state.
    """
    if isinstance(step, ComputationBatch):
        most, fill, errors = step.max_batch, step.fill, step.errors
        return BatchNode(step.name, inputs, step.function, pool, most=most, fill=fill, errors=errors)
    if isinstance(step, (Computation, ComputationMulti)):
        is_multi = isinstance(step, ComputationMulti)
        return ComputationNode(step.name, inputs, step.function, is_multi, pool, errors=step.errors)
    if isinstance(step, WindowStep):
        return WindowNode(step.name, inputs, window_table(step.name), qualified_name(step.aggregation), step)
    assert isinstance(step, StateStep), "there are no other steps"
    return state_node(step, inputs, step.name)


def state_node(step: StateStep[Any, Any, Any], inputs: tuple[int, ...], table: str) -> StateNode:
    """Return the node of a step with its state in ``table``."""
    call, build = changing(step.function), step.state
    return StateNode(step.name, inputs, table, qualified_name(build), build, call, step.multi, errors=step.errors)


def changing(call: Callable[[Any, Any], Any]) -> Callable[[Any, Any], tuple[Any, bool]]:
    """Return a function that says what generation 3 takes for granted: the state may have changed."""

    @calling(call)
    def call_and_say_so(data: Any, state: Any) -> tuple[Any, bool]:
        return call(data, state), True

    return call_and_say_so


def free_name(name: str, taken: set[str]) -> str:
    """Return ``name``, numbered if it is ``taken``: a step that is used again is numbered, as ``parse-2``."""
    free, count = name, 1
    while free in taken:
        count += 1
        free = f"{name}-{count}"
    taken.add(free)
    return free


def with_free_name(node: Node, taken: set[str]) -> Node:
    """Return a step's node under a name that is not ``taken``.

    The table of a step with state follows its name, so each use of the step has its own state.
    """
    name = free_name(node.name, taken)
    if name == node.name:
        return node
    if isinstance(node, StateNode):
        return node._replace(name=name, table=name)
    if isinstance(node, WindowNode):
        return node._replace(name=name, table=name if node.table == node.name else window_table(name))
    return node._replace(name=name)


def window_table(name: str) -> str:
    """Return the name of the table that holds the open windows of a step."""
    return f"window:{name}"


def check_address_is_free(where: str, source_config: SourceConfig[Any], nodes: Sequence[Node]) -> None:
    """Raise an error if another source among ``nodes`` has the same address.

    Raises:
        WallarooParameterError: Only one of the two could read there.
    """
    described = source_config.describe()
    if described["kind"] in ("generator", "connector") or described.get("port") == 0:
        return
    for node in nodes:
        if isinstance(node, SourceNode) and node.source.describe() == described:
            place = " ".join(str(value) for value in described.values())
            raise WallarooParameterError(
                f"{where}: pipeline {node.name!r} reads from {place} already", hint="give each source its own address"
            )


class Application:
    """A built application, for ``application_setup`` to return.

    Made by :func:`build_application` and :meth:`ApplicationBuilder.build`.

    Example:
        >>> import wallaroo
        >>> class Lines:
        ...     delimiter = b";"
        ...     def decode(self, bs):
        ...         return bs.decode()
        ...     def encode(self, data):
        ...         return data
        >>> lines = wallaroo.source("lines", wallaroo.StdinSourceConfig(Lines))
        >>> app = wallaroo.build_application("Echo", lines.to_sink(wallaroo.StdoutSinkConfig(Lines)))
        >>> app.name, [node.kind for node in app.nodes]
        ('Echo', ['source', 'sink'])
    """

    def __init__(self, name: str, nodes: Sequence[Node]) -> None:
        self.name = name
        self.nodes = tuple(nodes)
        self._children: list[list[int]] = [[] for _ in self.nodes]
        for index, node in enumerate(self.nodes):
            for above in dict.fromkeys(node.inputs):
                self._children[above].append(index)

    def describe(self) -> Description:
        """Return the topology as spec/protocol.md defines it: equal, byte for byte, in every worker of a run."""
        described: Description = {
            "name": self.name,
            "nodes": [
                {"kind": node.kind, "name": node.name, "inputs": list(node.inputs), **node.describe()}
                for node in self.nodes
            ],
        }
        stop_at = [node_id for node_id in range(len(self.nodes)) if self.stops_at(node_id)]
        return {**described, "stop_at": stop_at} if stop_at else described

    def stops_at(self, node_id: int) -> bool:
        """Whether a message that fails at a node ends the run.

        Args:
            node_id: The node's position in ``nodes``.
        """
        errors: ErrorPolicy | None = getattr(self.nodes[node_id], "errors", None)
        return errors is not None and errors.stops

    def without_pools(self) -> Application:
        """Return the same application with all its steps in the main pool."""
        here = [node._replace(pool=None) if isinstance(node, STATELESS) else node for node in self.nodes]
        return Application(self.name, here)

    def children(self, node_id: int) -> list[int]:
        """Return the nodes that take a node's outputs, in order.

        Args:
            node_id: The node's position in ``nodes``.
        """
        return self._children[node_id].copy()

    def children_in(self, pool: str | None, node_id: int) -> list[int]:
        """Return the nodes that take a node's outputs in one pool, in order.

        Args:
            pool: The pool's name, ``None`` for the main one.
            node_id: The node's position in ``nodes``.
        """
        return [child for child in self.children(node_id) if pool_of(self.nodes[child]) == pool]

    def has_crossing(self, node_id: int) -> bool:
        """Whether outputs of a node go on in another pool.

        Args:
            node_id: The node's position in ``nodes``.
        """
        own = pool_of(self.nodes[node_id])
        return any(pool_of(self.nodes[child]) != own for child in self.children(node_id))

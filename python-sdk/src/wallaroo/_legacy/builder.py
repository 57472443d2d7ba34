"""Generations 1 and 2 of the API: classes or decorated functions, and a builder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from wallaroo._errors import WallarooParameterError
from wallaroo._io.sinks import SinkConfig, check_sink_config
from wallaroo._io.sources import SourceConfig, check_source_config
from wallaroo._legacy.builder_steps import (
    check_keys,
    compute_method,
    key_function,
    state_builder,
    state_class,
)
from wallaroo._pipeline.topology import (
    Application,
    BatchNode,
    CollectNode,
    ComputationNode,
    KeyByNode,
    Node,
    SinkNode,
    SourceNode,
    StateNode,
    check_address_is_free,
    free_name,
    node_of,
    state_node,
)
from wallaroo._steps.computations import (
    BuilderStateComputation,
    StateStep,
    Step,
    check_pool,
    check_state_name,
)
from wallaroo._steps.key_functions import KeyExtractor
from wallaroo._steps.objects import as_list, as_object, check_name, shown_step, shown_type, step_name
from wallaroo._windows.windows import BARE_WINDOWS, WindowStep

_NEXT_PIPELINE = "start one with new_pipeline(name, source_config)"


class _Sharing(NamedTuple):
    """The settings on which pipelines must agree to share state by name."""

    pipeline: str
    table_type: str
    keys: tuple[Any, ...] | None
    keyed: bool


class ApplicationBuilder:
    r"""Describes an application, pipeline by pipeline and step by step; every method but ``build`` returns the builder.

    A step may be given as a class, which is called without arguments, as an instance (generation 1), or as a function
    decorated with :func:`computation` and its like (generation 2).

    Args:
        name: The application's name, in messages, logs and metrics.

    Raises:
        WallarooParameterError: The name is not a non-empty ``str``.

    Example:
        >>> import wallaroo
        >>> class Lines:
        ...     delimiter = b"\n"
        ...     def decode(self, bs):
        ...         return bs.decode("utf-8")
        ...     def encode(self, data):
        ...         return data + "\n"
        >>> class Reverse:
        ...     def name(self):
        ...         return "reverse"
        ...     def compute(self, data):
        ...         return data[::-1]
        >>> def application_setup(args):
        ...     ab = wallaroo.ApplicationBuilder("Reverse Word")
        ...     ab.new_pipeline("reverse", wallaroo.StdinSourceConfig(Lines))
        ...     ab.to(Reverse)
        ...     ab.to_sink(wallaroo.StdoutSinkConfig(Lines))
        ...     return ab.build()
        >>> [node.name for node in application_setup([]).nodes]
        ['reverse', 'reverse', 'stdout']
    """

    def __init__(self, name: str) -> None:
        self._name = check_name("ApplicationBuilder: name", name)
        self._nodes: list[Node] = []
        self._tables: dict[str, _Sharing] = {}
        self._pipelines: list[str] = []
        self._open: str | None = None
        self._head = -1
        self._may_be_done = False

    def new_pipeline(self, name: str, source_config: SourceConfig[Any]) -> ApplicationBuilder:
        """Begin a pipeline at its source.

        Args:
            name: The pipeline's name; each has its own.
            source_config: For example a :class:`TCPSourceConfig`.

        Raises:
            WallarooParameterError: The pipeline before this one has not ended, or an argument is unusable.

        Example:
            See :class:`ApplicationBuilder`.
        """
        if self._open is not None:
            raise WallarooParameterError(
                f"new_pipeline({name!r}): pipeline {self._open!r} has not ended",
                hint="end it with to_sink(...), to_sinks([...]) or done() first",
            )
        where = f"new_pipeline({name!r})"
        check_name("new_pipeline: name", name)
        if name in self._pipelines:
            raise WallarooParameterError(f"{where}: there is a pipeline of that name", hint="give each its own name")
        check_source_config(where, source_config)
        check_address_is_free(where, source_config, self._nodes)
        self._pipelines.append(name)
        self._open = name
        self._may_be_done = False
        self._head = self._add(SourceNode(name, (), source_config))
        return self

    def to(self, computation: Any, *, pool: str | None = None) -> ApplicationBuilder:
        """Add a stateless step.

        Args:
            computation: Class or instance with ``compute(data)``, which returns one output or ``None`` for none, or
                ``compute_multi(data)``, which returns an iterable of outputs; ``compute_multi`` wins when both exist.
                Or a function decorated with :func:`computation`, :func:`computation_multi` or
                :func:`computation_batch`.
            pool: Name of the pool whose workers run the step, as for :meth:`Pipeline.to`.

        Raises:
            WallarooParameterError: No pipeline is open, the computation has neither method, or ``pool`` is not valid.

        Example:
            See :class:`ApplicationBuilder`.
        """
        return self._to_computation("to", computation, pool)

    def to_parallel(self, computation: Any, *, pool: str | None = None) -> ApplicationBuilder:
        """Add a stateless step that may run on every worker at once. Order is kept.

        Args:
            computation: As for :meth:`to`.
            pool: As for :meth:`to`.

        Raises:
            WallarooParameterError: As for :meth:`to`.

        Example:
            See :class:`ApplicationBuilder`.
        """
        return self._to_computation("to_parallel", computation, pool)

    def to_stateful(self, computation: Any, state_builder: Any, state_name: str) -> ApplicationBuilder:
        """Add a step with one state object for all messages.

        An output must not be the state itself or a mutable part of it: later messages may change the state before the
        output is encoded. Return a copy.

        Args:
            computation: Class or instance with ``compute(data, state)``, which returns ``(output, state_changed)``, or
                ``compute_multi(data, state)``, which returns ``(outputs, state_changed)``. Or a function decorated with
                :func:`state_computation` or :func:`state_computation_multi`.
            state_builder: Class or instance with ``build()``, which returns the state before the first message. For a
                decorated function also the class of the state itself.
            state_name: Steps that give the same name share the state.

        Raises:
            WallarooParameterError: No pipeline is open, an argument lacks a method, or the name is in use for state of
                another kind.

        Example:
            See :class:`ApplicationBuilder`.
        """
        self._require_open("to_stateful")
        where = self._where("to_stateful", computation)
        step = self._state_step(where, computation, state_builder, state_name)
        self._share(where, state_name, _Sharing(self._pipeline, step.table_type, None, keyed=False))
        self._head = self._add(CollectNode("collect", (self._head,)))
        return self._add_state(step)

    def to_state_partition(
        self,
        computation: Any,
        state_builder: Any,
        state_name: str,
        partition_function: Any,
        partition_keys: Sequence[Any] = (),
    ) -> ApplicationBuilder:
        """Add a step with a state object for each key.

        As with :meth:`to_stateful`, an output must not be the state itself or a mutable part of it.

        Args:
            computation: As for :meth:`to_stateful`.
            state_builder: As for :meth:`to_stateful`; called once for each key.
            state_name: Steps that give the same name share the state; they must give the same keys and state builder.
            partition_function: Class or instance with ``partition(data)``, which returns the message's key, or a
                function decorated with :func:`partition`.
            partition_keys: The only keys allowed: a message with another key becomes a dead letter. If the partition
                function is decorated, other keys are created when they occur. Without a list all keys are.

        Raises:
            WallarooParameterError: No pipeline is open, an argument lacks a method, a value of the list cannot
                be a key, or the name is in use for state of another kind.

        Example:
            See :class:`ApplicationBuilder`.
        """
        return self._to_partition(
            "to_state_partition", computation, state_builder, state_name, partition_function, partition_keys
        )

    def to_state_partition_u64(
        self,
        computation: Any,
        state_builder: Any,
        state_name: str,
        partition_function: Any,
        partition_keys: Sequence[int] = (),
    ) -> ApplicationBuilder:
        """Add a step with a state object for each key, where keys are ``int``.

        Args:
            computation: As for :meth:`to_stateful`.
            state_builder: As for :meth:`to_state_partition`.
            state_name: As for :meth:`to_state_partition`.
            partition_function: As for :meth:`to_state_partition`.
            partition_keys: As for :meth:`to_state_partition`, each an ``int``.

        Raises:
            WallarooParameterError: As for :meth:`to_state_partition`, or a key is not an ``int``.

        Example:
            See :class:`ApplicationBuilder`.
        """
        step = "to_state_partition_u64"
        for key in as_list(f"{step}({shown_step(computation)}): partition_keys", partition_keys):
            if type(key) is not int:
                raise WallarooParameterError(
                    f"{step}({shown_step(computation)}): partition key {key!r} is {shown_type(key)}, not an int",
                    hint="use to_state_partition for other keys",
                )
        return self._to_partition(step, computation, state_builder, state_name, partition_function, partition_keys)

    def to_sink(self, sink_config: SinkConfig[Any]) -> ApplicationBuilder:
        """End the pipeline at a sink.

        Args:
            sink_config: For example a :class:`TCPSinkConfig`.

        Raises:
            WallarooParameterError: No pipeline is open, or the argument is not a sink config.

        Example:
            See :class:`ApplicationBuilder`.
        """
        return self._to_sinks("to_sink", [sink_config])

    def to_sinks(self, sink_configs: Sequence[SinkConfig[Any]]) -> ApplicationBuilder:
        """End the pipeline at several sinks; every one gets every message.

        Args:
            sink_configs: At least one sink config.

        Raises:
            WallarooParameterError: No pipeline is open, or the argument is not a list of sink configs.

        Example:
            See :class:`ApplicationBuilder`.
        """
        return self._to_sinks("to_sinks", as_list("to_sinks: sink_configs", sink_configs))

    def done(self) -> ApplicationBuilder:
        """End the pipeline without a sink; accepted, with no effect, after ``to_sink``.

        Raises:
            WallarooParameterError: There is no pipeline to end.

        Example:
            See :class:`ApplicationBuilder`.
        """
        if self._open is None and not self._may_be_done:
            raise WallarooParameterError("done(): there is no pipeline to end", hint=_NEXT_PIPELINE)
        self._open = None
        self._may_be_done = False
        return self

    def build(self) -> Application:
        """Return the application, for ``application_setup`` to return.

        Raises:
            WallarooParameterError: There is no pipeline, one has not ended, or none has a sink.

        Example:
            See :class:`ApplicationBuilder`.
        """
        where = f"application {self._name!r}"
        if not self._pipelines:
            raise WallarooParameterError(f"{where} has no pipeline", hint=_NEXT_PIPELINE)
        if self._open is not None:
            raise WallarooParameterError(
                f"{where}: pipeline {self._open!r} has not ended",
                hint="end it with to_sink(...), to_sinks([...]) or done()",
            )
        if not any(isinstance(node, SinkNode) for node in self._nodes):
            raise WallarooParameterError(
                f"{where}: no pipeline has a sink", hint="end at least one with to_sink(...) or to_sinks([...])"
            )
        return Application(self._name, _numbered(self._nodes))

    @property
    def _pipeline(self) -> str:
        assert self._open is not None, "checked by _require_open"
        return self._open

    def _require_open(self, step: str) -> None:
        if self._open is None:
            raise WallarooParameterError(f"{step}(...): no pipeline is open", hint=_NEXT_PIPELINE)

    def _where(self, step: str, thing: Any) -> str:
        return f"pipeline {self._pipeline!r}, {step}({shown_step(thing)})"

    def _add(self, node: Node) -> int:
        self._nodes.append(node)
        return len(self._nodes) - 1

    def _to_computation(self, step: str, thing: Any, pool: str | None) -> ApplicationBuilder:
        self._require_open(step)
        where = self._where(step, thing)
        self._refuse_windows(where, thing)
        if isinstance(thing, (Step, BuilderStateComputation)):
            if isinstance(thing, BuilderStateComputation) or thing.needs_key:
                raise WallarooParameterError(
                    f"{where}: {shown_step(thing)} has state", hint="use to_stateful or to_state_partition for it"
                )
            check_pool(where, thing, pool)
            self._head = self._add(node_of(thing, (self._head,), pool))
            return self
        check_pool(where, thing, pool)
        computation = as_object(where, thing)
        call, multi = compute_method(where, computation, "data")
        name = step_name(where, computation)
        self._head = self._add(ComputationNode(name, (self._head,), call, multi, pool))
        return self

    def _to_partition(
        self, step: str, computation: Any, builder: Any, state_name: str, partition_function: Any, partition_keys: Any
    ) -> ApplicationBuilder:
        self._require_open(step)
        where = self._where(step, computation)
        state_step = self._state_step(where, computation, builder, state_name)
        key_of, name = key_function(f"{where}: partition_function", partition_function)
        keys = check_keys(where, partition_keys)
        self._share(where, state_name, _Sharing(self._pipeline, state_step.table_type, keys, keyed=True))
        # In generation 1 the list has all keys; since generation 2 it has those that exist from the beginning.
        reject = keys is not None and not isinstance(partition_function, KeyExtractor)
        self._head = self._add(KeyByNode(name, (self._head,), key_of, keys, reject_unknown=reject, only_plain=True))
        return self._add_state(state_step)

    def _refuse_windows(self, where: str, thing: Any) -> None:
        if isinstance(thing, (WindowStep, *BARE_WINDOWS)):
            raise WallarooParameterError(
                f"{where}: windows are steps of pipelines, and ApplicationBuilder has none",
                hint="write wallaroo.source(...).key_by(...).to(windows), and give that to wallaroo.build_application",
            )

    def _state_step(self, where: str, thing: Any, state: Any, state_name: str) -> StateNode:
        self._refuse_windows(where, thing)
        check_name(f"{where}: state_name", state_name)
        check_state_name(f"{where}: state_name", state_name)
        if isinstance(thing, StateStep):
            if state is not thing.state:
                raise WallarooParameterError(
                    f"{where}: its decorator says that its state is {shown_step(thing.state)}, not {shown_step(state)}",
                    hint="give the same class in both places, or leave state= out of the decorator",
                )
            return state_node(thing, (), state_name)
        if isinstance(thing, BuilderStateComputation):
            build, table_type = state_class(f"{where}: state_class", state)
            return StateNode(thing.name, (), state_name, table_type, build, thing.function, thing.multi)
        if isinstance(thing, Step):
            raise WallarooParameterError(
                f"{where}: {shown_step(thing)} has no state",
                hint="use to or to_parallel for it, or decorate it with @wallaroo.state_computation",
            )
        computation = as_object(where, thing, '@wallaroo.state_computation(name="...")')
        call, multi = compute_method(where, computation, "data", "state")
        build, table_type = state_builder(f"{where}: state_builder", state)
        return StateNode(step_name(where, computation), (), state_name, table_type, build, call, multi)

    def _add_state(self, step: StateNode) -> ApplicationBuilder:
        self._head = self._add(step._replace(inputs=(self._head,)))
        return self

    def _share(self, where: str, state_name: str, sharing: _Sharing) -> None:
        other = self._tables.setdefault(state_name, sharing)
        described = f"{where}: state {state_name!r} is shared with pipeline {other.pipeline!r}"
        if other.table_type != sharing.table_type:
            raise WallarooParameterError(
                f"{described}, which builds it with {other.table_type}, not {sharing.table_type}",
                hint="use the same state builder in both, or another state_name",
            )
        if other.keyed != sharing.keyed:
            one, many = "one state object (to_stateful)", "a state object for each key (to_state_partition)"
            raise WallarooParameterError(
                f"{described}, which has {many if other.keyed else one}, not {many if sharing.keyed else one}",
                hint="use the same method in both, or another state_name",
            )
        if other.keys != sharing.keys:
            raise WallarooParameterError(
                f"{described}, which has other partition_keys: {_listed(other.keys)}, not {_listed(sharing.keys)}",
                hint="give the same keys in the same order in both, or another state_name",
            )

    def _to_sinks(self, step: str, sink_configs: Sequence[Any]) -> ApplicationBuilder:
        self._require_open(step)
        where = f"pipeline {self._pipeline!r}, {step}"
        if not sink_configs:
            raise WallarooParameterError(
                f"{where}: the list is empty", hint="give at least one sink config, or use done()"
            )
        checked = [check_sink_config(where, sink_config) for sink_config in sink_configs]
        for sink_config in checked:
            self._add(SinkNode(sink_config.shown_name, (self._head,), sink_config))
        self._open = None
        self._may_be_done = True
        return self


def _numbered(nodes: Sequence[Node]) -> list[Node]:
    """Number the names of steps that are used again. Tables of state keep the names that the application gave them."""
    taken: set[str] = set()
    return [
        node._replace(name=free_name(node.name, taken))
        if isinstance(node, (ComputationNode, BatchNode, StateNode))
        else node
        for node in nodes
    ]


def _listed(keys: tuple[Any, ...] | None) -> str:
    if keys is None:
        return "any"
    text = repr(list(keys))
    return text if len(text) <= 200 else text[:200] + "…"

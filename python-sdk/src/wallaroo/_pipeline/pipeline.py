"""Generation 3 of the API: pipelines that are values. Every call returns a new one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Callable, Generic, NoReturn, TypeVar, overload

from wallaroo._errors import WallarooParameterError
from wallaroo._io.sinks import SinkConfig, check_sink_config
from wallaroo._io.sources import SourceConfig, check_source_config
from wallaroo._pipeline.topology import (
    Application,
    CollectNode,
    KeyByNode,
    Node,
    SinkNode,
    SourceNode,
    check_address_is_free,
    node_of,
    with_free_name,
)
from wallaroo._steps.computations import (
    BuilderStateComputation,
    Computation,
    ComputationBatch,
    ComputationMulti,
    StateComputation,
    StateComputationMulti,
    Step,
    check_pool,
)
from wallaroo._steps.decorated import Decorated
from wallaroo._steps.key_functions import Key, KeyExtractor
from wallaroo._steps.objects import as_list, check_name, shown_step, shown_type
from wallaroo._windows.windows import BARE_WINDOWS, Aggregation

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")
U = TypeVar("U")


class _Vertex:
    """A node that has no number yet. Pipelines that branch off a common prefix share its vertices.

    Args:
        inputs: The vertices it takes messages from.
        make: Makes the node, once the numbers of its inputs are known.
        is_step: Whether it is a step, whose name is numbered where another step has it.
    """

    def __init__(
        self, inputs: Sequence[_Vertex], make: Callable[[tuple[int, ...]], Node], *, is_step: bool = False
    ) -> None:
        self.inputs = tuple(inputs)
        self.make = make
        self.is_step = is_step


# How a pipeline's messages are placed, which decides what one state belongs to.
_BY_KEY = frozenset(("key",))
_TOGETHER = frozenset(("collect",))
_BY_NOTHING = frozenset(("nothing",))


class Pipeline(Generic[T_co]):
    r"""A stream of messages of type ``T`` and the steps that lead to it; immutable. Made by :func:`source`.

    Example:
        >>> import wallaroo
        >>> @wallaroo.decoder(delimiter=b"\n")
        ... def text(bs: bytes) -> str:
        ...     return bs.decode()
        >>> @wallaroo.computation_multi(name="split into words")
        ... def split(line: str) -> list[str]:
        ...     return line.split()
        >>> @wallaroo.key_extractor
        ... def word(data: str) -> str:
        ...     return data
        >>> class Total:
        ...     count = 0
        >>> @wallaroo.state_computation(name="count", state=Total)
        ... def count(data: str, total: Total) -> tuple[str, int]:
        ...     total.count += 1
        ...     return data, total.count
        >>> @wallaroo.encoder
        ... def line(counted: tuple[str, int]) -> str:
        ...     return "{} => {}\n".format(*counted)
        >>> def application_setup(args: list[str]) -> wallaroo.Application:
        ...     words = wallaroo.source("text", wallaroo.StdinSourceConfig(text)).to(split)
        ...     counts = words.key_by(word).to(count).to_sink(wallaroo.StdoutSinkConfig(line))
        ...     return wallaroo.build_application("Word Count", counts)
        >>> [node.name for node in application_setup([]).nodes]
        ['text', 'split into words', 'word', 'count', 'stdout']
    """

    __slots__ = ("_ended_by", "_heads", "_name", "_placed_by", "_sinks")

    def __init__(
        self,
        name: str,
        heads: Sequence[_Vertex],
        placed_by: frozenset[str],
        sinks: Sequence[_Vertex] = (),
        ended_by: str | None = None,
    ) -> None:
        self._name = name
        # After a merge messages come from several vertices, which may place them differently.
        self._heads = tuple(heads)
        self._placed_by = placed_by
        self._sinks = tuple(sinks)
        self._ended_by = ended_by

    @overload
    def to(self, computation: Computation[T_co, U | None], *, pool: str | None = None) -> Pipeline[U]: ...
    @overload
    def to(
        self, computation: ComputationMulti[T_co, Iterable[U | None] | None], *, pool: str | None = None
    ) -> Pipeline[U]: ...
    @overload
    def to(
        self, computation: ComputationBatch[T_co, Iterable[U | None]], *, pool: str | None = None
    ) -> Pipeline[U]: ...
    @overload
    def to(self, computation: StateComputation[T_co, Any, U | None]) -> Pipeline[U]: ...
    @overload
    def to(self, computation: StateComputationMulti[T_co, Any, Iterable[U | None] | None]) -> Pipeline[U]: ...
    @overload
    def to(self, computation: Step[T_co, U]) -> Pipeline[U]: ...
    def to(self, computation: Any, *, pool: str | None = None) -> Pipeline[Any]:
        """Add a step.

        A step with state has one state for each key of the ``key_by`` before it, or a single one if there is no
        ``key_by``.

        Args:
            computation: A function decorated with :func:`computation`, :func:`computation_multi`,
                :func:`computation_batch`, or with :func:`state_computation` or :func:`state_computation_multi` and
                ``state=``; or windows such as :func:`range_windows` with an aggregation ``over`` them.
            pool: Name of the pool whose workers run the step with an interpreter of their own: ``wallaroo-orch run
                --pool NAME=PYTHON``, or ``[pool.NAME]`` in ``wallaroo.toml``. Steps without a pool and all steps with
                state run in the main pool. Every worker imports the application: import packages that only one pool
                has inside the step.

        Raises:
            WallarooParameterError: It is not a step, the pipeline has ended, a step with state comes after a
                ``merge`` of pipelines whose messages are placed differently, ``pool`` is not a valid name, or a step
                with state is given a pool.

        Example:
            See :class:`Pipeline`.
        """
        where = self._where("to", computation)
        self._require_open(where)
        if not isinstance(computation, Step):
            _refuse_step(where, computation)
        check_pool(where, computation, pool)
        below = self._with_state_placed(where, computation) if computation.needs_key else self
        return below._then(lambda inputs: node_of(computation, inputs, pool), is_step=True)

    def key_by(self, key_extractor: KeyExtractor[T_co, Key]) -> Pipeline[T_co]:
        """Give every message a key, for the steps up to the next ``key_by`` or ``collect``.

        Messages of one key are processed in the order they came in.

        Args:
            key_extractor: A function decorated with :func:`key_extractor`.

        Raises:
            WallarooParameterError: The argument has another type, or the pipeline has ended.

        Example:
            See :class:`Pipeline`.
        """
        where = self._where("key_by", key_extractor)
        self._require_open(where)
        if not isinstance(key_extractor, KeyExtractor):
            raise WallarooParameterError(
                f"{where}: the argument is {shown_type(key_extractor)}, not a key function",
                hint="put @wallaroo.key_extractor above a function that returns the message's key"
                + (", in place of the other decorator" if isinstance(key_extractor, Decorated) else ""),
            )
        function, name = key_extractor.function, key_extractor.name
        return self._then(lambda inputs: KeyByNode(name, inputs, function, None, reject_unknown=False), _BY_KEY)

    def collect(self) -> Pipeline[T_co]:
        r"""Bring all messages together: one worker takes them one after another, and they share one state.

        Raises:
            WallarooParameterError: The pipeline has ended.

        Example:
            >>> import wallaroo
            >>> @wallaroo.decoder(delimiter=b"\n")
            ... def text(bs: bytes) -> str:
            ...     return bs.decode()
            >>> wallaroo.source("lines", wallaroo.StdinSourceConfig(text)).collect()
            <Pipeline 'lines'>
        """
        self._require_open(f"pipeline {self._name!r}, collect()")
        return self._then(lambda inputs: CollectNode("collect", inputs), _TOGETHER)

    def merge(self, other: Pipeline[U]) -> Pipeline[T_co | U]:
        r"""Join two pipelines: messages of both go on in the order in which they come.

        Args:
            other: Another pipeline, or another branch of this one.

        Raises:
            WallarooParameterError: It is not a pipeline, shares an end with this one, or either has ended.

        Example:
            >>> import wallaroo
            >>> @wallaroo.decoder(delimiter=b"\n")
            ... def text(bs: bytes) -> str:
            ...     return bs.decode()
            >>> first, second = (wallaroo.source(f, wallaroo.FileSourceConfig(f, text)) for f in ("a.txt", "b.txt"))
            >>> first.merge(second)
            <Pipeline 'a.txt + b.txt'>
        """
        if not isinstance(other, Pipeline):
            raise WallarooParameterError(
                f"pipeline {self._name!r}, merge: the argument is {shown_type(other)}, not a pipeline",
                hint="wallaroo.source(name, source_config) begins one",
            )
        where = f"pipeline {self._name!r}, merge({other._name!r})"
        self._require_open(where)
        other._require_open(where)
        if not set(self._heads).isdisjoint(other._heads):
            raise WallarooParameterError(
                f"{where}: some messages are in both pipelines, and would come twice",
                hint="merge what comes of different sources or steps",
            )
        names = [self._name, *(name for name in other._name.split(" + ") if name not in self._name.split(" + "))]
        return Pipeline(" + ".join(names), self._heads + other._heads, self._placed_by | other._placed_by)

    def to_sink(self, sink_config: SinkConfig[T_co]) -> Pipeline[T_co]:
        """End the pipeline at a sink.

        Args:
            sink_config: For example a :class:`TCPSinkConfig`.

        Raises:
            WallarooParameterError: The argument has another type, or the pipeline has ended.

        Example:
            See :class:`Pipeline`.
        """
        return self._to_sinks("to_sink", [sink_config])

    def to_sinks(self, sink_configs: Sequence[SinkConfig[T_co]]) -> Pipeline[T_co]:
        """End the pipeline at several sinks; every one gets every message.

        Args:
            sink_configs: At least one sink config.

        Raises:
            WallarooParameterError: It is not a list of sink configs, or the pipeline has ended.

        Example:
            See :class:`Pipeline`.
        """
        return self._to_sinks("to_sinks", as_list("to_sinks: sink_configs", sink_configs))

    def __repr__(self) -> str:
        return f"<Pipeline {self._name!r}>"

    def _where(self, call: str, thing: Any) -> str:
        return f"pipeline {self._name!r}, {call}({shown_step(thing)})"

    def _require_open(self, where: str) -> None:
        if self._ended_by is not None:
            raise WallarooParameterError(
                f"{where}: pipeline {self._name!r} has ended with {self._ended_by}",
                hint="every call returns a new pipeline: branch off the one before the sink",
            )

    def _then(
        self, make: Callable[[tuple[int, ...]], Node], placed_by: frozenset[str] | None = None, *, is_step: bool = False
    ) -> Pipeline[Any]:
        vertex = _Vertex(self._heads, make, is_step=is_step)
        return Pipeline(self._name, [vertex], placed_by or self._placed_by)

    def _with_state_placed(self, where: str, computation: Any) -> Pipeline[T_co]:
        if len(self._placed_by) > 1:
            raise WallarooParameterError(
                f"{where}: {shown_step(computation)} has state, and the pipelines that were merged are placed by "
                f"{' and by '.join(sorted(self._placed_by))}",
                hint="put key_by(...) or collect() after merge(...)",
            )
        return self.collect() if self._placed_by == _BY_NOTHING else self

    def _to_sinks(self, call: str, sink_configs: Sequence[Any]) -> Pipeline[T_co]:
        where = f"pipeline {self._name!r}, {call}"
        self._require_open(where)
        if not sink_configs:
            raise WallarooParameterError(f"{where}: the list is empty", hint="give at least one sink config")
        checked = [check_sink_config(where, config) for config in sink_configs]
        sinks = [_Vertex(self._heads, _sink_node(config)) for config in checked]
        return Pipeline(self._name, self._heads, self._placed_by, sinks, call)


def _sink_node(config: SinkConfig[Any]) -> Callable[[tuple[int, ...]], Node]:
    return lambda inputs: SinkNode(config.shown_name, inputs, config)


def _refuse_step(where: str, thing: Any) -> NoReturn:
    if isinstance(thing, BuilderStateComputation):
        raise WallarooParameterError(
            f"{where}: the decorator of {shown_step(thing)} does not say what its state is",
            hint=f'write @wallaroo.{thing.decorator}(name="{thing.name}", state=TheClass), and return the output alone',
        )
    raise WallarooParameterError(f"{where}: the argument is {shown_type(thing)}, not a step", hint=_step_hint(thing))


def _step_hint(thing: Any) -> str:
    if isinstance(thing, BARE_WINDOWS):
        return f"say what is made of each window: {thing.call}(...).over(TheAggregation)"
    if isinstance(thing, KeyExtractor):
        return "give a key function to key_by"
    if isinstance(thing, SinkConfig):
        return "give a sink config to to_sink"
    if isinstance(thing, Pipeline):
        return "use merge to join two pipelines"
    kind = thing if isinstance(thing, type) else type(thing)
    if issubclass(kind, Aggregation):
        return f"aggregate windows by it: wallaroo.count_windows(...).over({kind.__name__})"
    if any(hasattr(kind, name) for name in ("compute", "compute_multi")):
        return 'classes are steps of ApplicationBuilder: here put @wallaroo.computation(name="...") above a function'
    return 'put @wallaroo.computation(name="...") above a function, and give that'


def source(name: str, source_config: SourceConfig[T]) -> Pipeline[T]:
    """Begin a pipeline at its source.

    Args:
        name: The pipeline's name; each source of an application has its own.
        source_config: For example a :class:`TCPSourceConfig`.

    Raises:
        WallarooParameterError: An argument is unusable.

    Example:
        >>> import wallaroo
        >>> class Countdown:
        ...     def initial_value(self):
        ...         return 3
        ...     def apply(self, previous):
        ...         return previous - 1 if previous > 1 else None
        >>> source("countdown", wallaroo.GenSourceConfig(Countdown))
        <Pipeline 'countdown'>
    """
    check_name("source: name", name)
    config = check_source_config(f"source({name!r})", source_config)
    vertex = _Vertex((), lambda _inputs: SourceNode(name, (), config))
    return Pipeline(name, [vertex], _BY_NOTHING)


def build_application(name: str, *pipelines: Pipeline[Any]) -> Application:
    """Return the application of some pipelines, for ``application_setup`` to return.

    Args:
        name: The application's name, in messages, logs and metrics.
        pipelines: Each has ended at a sink.

    Raises:
        WallarooParameterError: No pipeline is given, one has not ended, or two sources have one name or one address.

    A step may be used several times: its name is numbered (``parse``, ``parse-2``), and each use has its own state.

    Example:
        >>> import wallaroo
        >>> class Lines:
        ...     delimiter = b";"
        ...     def decode(self, bs):
        ...         return bs.decode()
        ...     def encode(self, data):
        ...         return data
        >>> lines = wallaroo.source("lines", wallaroo.StdinSourceConfig(Lines))
        >>> build_application("Echo", lines.to_sink(wallaroo.StdoutSinkConfig(Lines))).name
        'Echo'
    """
    check_name("build_application: name", name)
    where = f"application {name!r}"
    if not pipelines:
        raise WallarooParameterError(
            f"{where} has no pipeline", hint="give build_application the pipelines it is made of"
        )
    for index, pipeline in enumerate(pipelines):
        if not isinstance(pipeline, Pipeline):
            raise WallarooParameterError(
                f"{where}: pipelines[{index}] is {shown_type(pipeline)}, not a pipeline",
                hint="wallaroo.source(name, source_config) begins one",
            )
        if pipeline._ended_by is None:
            raise WallarooParameterError(
                f"{where}: pipeline {pipeline._name!r} has not ended",
                hint="end it with to_sink(...) or to_sinks([...]), and give what that returns",
            )
    return Application(name, _Numbering(where).numbered(pipelines))


class _Numbering:
    """Turns vertices into nodes: each once, after its inputs, in the order in which the pipelines reach them."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._nodes: list[Node] = []
        self._numbers: dict[_Vertex, int] = {}
        self._step_names: set[str] = set()

    def numbered(self, pipelines: Iterable[Pipeline[Any]]) -> list[Node]:
        for pipeline in pipelines:
            for sink in pipeline._sinks:
                self._number(sink)
        return self._nodes

    def _number(self, last: _Vertex) -> None:
        # Not recursive: a pipeline may be longer than Python's stack is deep.
        waiting = [last]
        while waiting:
            vertex = waiting[-1]
            missing = [above for above in vertex.inputs if above not in self._numbers]
            if vertex in self._numbers:
                waiting.pop()
                continue
            if missing:
                waiting.extend(reversed(missing))
                continue
            node = vertex.make(tuple(self._numbers[above] for above in vertex.inputs))
            if vertex.is_step:
                node = with_free_name(node, self._step_names)
            self._check_source(node)
            self._numbers[vertex] = len(self._nodes)
            self._nodes.append(node)
            waiting.pop()

    def _check_source(self, node: Node) -> None:
        if isinstance(node, SourceNode):
            if any(isinstance(other, SourceNode) and other.name == node.name for other in self._nodes):
                raise WallarooParameterError(
                    f"{self._where}: two sources are named {node.name!r}",
                    hint="give each its own name, or branch off one pipeline: every call returns a new one",
                )
            check_address_is_free(f"source({node.name!r})", node.source, self._nodes)

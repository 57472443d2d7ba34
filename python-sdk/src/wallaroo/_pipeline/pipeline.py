"""Pipelines: values that stand for a stream and the steps that lead to it. Every call returns a new one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Callable, NoReturn, TypeVar, overload

from wallaroo._errors import WallarooParameterError
from wallaroo._io.connectors import Sink, Source, config_of
from wallaroo._io.sinks import SinkConfig, check_sink_config
from wallaroo._io.sources import SourceConfig, check_source_config
from wallaroo._pipeline.joining import refusing_without_key
from wallaroo._pipeline.stateful_verbs import StatefulVerbs
from wallaroo._pipeline.stateless_verbs import StatelessVerbs
from wallaroo._pipeline.stream import BY_KEY, BY_NOTHING, T_co, Vertex
from wallaroo._pipeline.topology import KeyByNode, Node, SinkNode, SourceNode, node_of
from wallaroo._pipeline.windowed import WindowedPipeline
from wallaroo._steps.callables import callable_of, name_of, refuse_generator
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
from wallaroo._steps.fields import field_getter
from wallaroo._steps.key_functions import Key, KeyExtractor
from wallaroo._steps.objects import as_list, check_name, shown_step, shown_type
from wallaroo._windows import aggregations
from wallaroo._windows.windows import BARE_WINDOWS, Aggregation

if TYPE_CHECKING:
    from wallaroo._pipeline.keyed import KeyedPipeline

T = TypeVar("T")
U = TypeVar("U")
K = TypeVar("K", bound=Key)


class Pipeline(StatelessVerbs[T_co], StatefulVerbs[T_co]):
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

        The same with verbs, which take any function. A verb adds a step, named after the function.

        >>> def application_setup(args: list[str]) -> wallaroo.Application:
        ...     lines = wallaroo.source("text", wallaroo.StdinSourceConfig(text))
        ...     counts = lines.flat_map(str.split).map(str.lower).key_by(str).count()
        ...     return wallaroo.application("Word Count", counts.sink(wallaroo.StdoutSinkConfig(line)))
        >>> [node.name for node in application_setup([]).nodes]
        ['text', 'split', 'lower', 'str', 'count', 'stdout']

        Orders, and what each customer spends:

        >>> from operator import itemgetter
        >>> @wallaroo.decoder(delimiter=b"\n")
        ... def order(bs: bytes) -> list[str]:
        ...     return bs.decode().split(",")
        >>> orders = wallaroo.source("orders", wallaroo.StdinSourceConfig(order)).filter(lambda order: len(order) == 3)
        >>> by_customer = orders.key_by(itemgetter(0))
        >>> large, small = by_customer.dedup(by=itemgetter(1)).branch(lambda pair: float(pair[1][2]) >= 100)
        >>> spent = by_customer.sum(lambda order: float(order[2])).inspect(print)
        >>> spent, by_customer.stateful(lambda order, seen: seen.append(order) or len(seen), list)
        (<Pipeline 'orders'>, <Pipeline 'orders'>)
        >>> small.split(lambda pair: pair[0][0], ["a", "b"])["a"]
        <Pipeline 'orders'>
        >>> orders.map_batch(lambda batch: [len(order[1]) for order in batch])
        <Pipeline 'orders'>
    """

    __slots__ = ()

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
        where = self._where("to", shown_step(computation))
        self._require_open(where)
        if not isinstance(computation, Step):
            _refuse_step(where, computation)
        check_pool(where, computation, pool)
        placed = self._with_state_placed(where, shown_step(computation)) if computation.needs_key else self
        return placed._step(lambda inputs: node_of(computation, inputs, pool))  # type: ignore[no-any-return]

    @overload
    def key_by(self, key_extractor: str, *, name: str | None = None) -> KeyedPipeline[Any, T_co]: ...
    @overload
    def key_by(self, key_extractor: Callable[[T_co], K], *, name: str | None = None) -> KeyedPipeline[K, T_co]: ...
    def key_by(self, key_extractor: Any, *, name: str | None = None) -> KeyedPipeline[Any, T_co]:
        """Give every message a key, for the steps up to the next ``key_by`` or ``collect``.

        Messages of one key are processed in the order they came in.

        Args:
            key_extractor: Any callable of one argument, the message, also one decorated with :func:`key_extractor`; or
                the name of a field: of messages that are mappings the item, of others the attribute. A key is a
                ``str``, ``bytes``, ``int``, ``bool``, ``UUID``, ``date``, ``datetime`` or ``Enum``, or a tuple of them
                or ``NamedTuple``, and comes back as it was given. Subclasses of ``str``, ``bytes`` and ``int``, and
                numpy's integers, are the plain value.
            name: The name in messages, logs and metrics. Without it, the function's name, or ``key_by`` for a lambda;
                or the name of the field.

        Raises:
            WallarooParameterError: An argument is unusable, or the pipeline has ended.

        Example:
            See :class:`Pipeline`.
        """
        from wallaroo._pipeline.keyed import KeyedPipeline  # Imported here because a keyed pipeline is a pipeline.

        where = self._open_at("key_by", key_extractor)
        if isinstance(key_extractor, Decorated) and not isinstance(key_extractor, KeyExtractor):
            raise WallarooParameterError(
                f"{where}: the argument is {shown_type(key_extractor)}, not a key function",
                hint="put @wallaroo.key_extractor above a function that returns the message's key, in place of the "
                "other decorator",
            )
        if isinstance(key_extractor, str):
            call = field_getter(where, key_extractor)
            named = check_name(f"{where}: name", key_extractor if name is None else name)
        else:
            call = callable_of(where, "key_by", key_extractor, "message")
            refuse_generator(where, key_extractor, "return the key")
            named = name_of(where, "key_by", key_extractor, name)
        is_decorated = isinstance(key_extractor, KeyExtractor)
        vertex = Vertex(
            self._heads,
            lambda inputs: KeyByNode(named, inputs, call, None, reject_unknown=False, only_plain=is_decorated),
            key=call,
        )
        return KeyedPipeline(self._name, [vertex], BY_KEY)

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
        return self._collected()

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
        name = self._name_with(other)
        return Pipeline(name, self._heads + other._heads, self._placed_by | other._placed_by)

    if not TYPE_CHECKING:
        # Type checkers know these of a keyed pipeline alone.
        join = refusing_without_key("join")
        lookup = refusing_without_key("lookup")
        table = refusing_without_key("table")

    def sink(self, sink_config: SinkConfig[T_co] | Sink[T_co]) -> Pipeline[T_co]:
        """End the pipeline at a sink. Short for :meth:`to_sink`.

        Args:
            sink_config: As for :meth:`to_sink`.

        Raises:
            WallarooParameterError: As for :meth:`to_sink`.

        Example:
            See :class:`Pipeline`.
        """
        return self._to_sinks("sink", [sink_config])

    def to_sink(self, sink_config: SinkConfig[T_co] | Sink[T_co]) -> Pipeline[T_co]:
        """End the pipeline at a sink.

        Args:
            sink_config: For example a :class:`TCPSinkConfig`, or a :class:`Sink` of the application.

        Raises:
            WallarooParameterError: The argument has another type, or the pipeline has ended.

        Example:
            See :class:`Pipeline`.
        """
        return self._to_sinks("to_sink", [sink_config])

    def to_sinks(self, sink_configs: Sequence[SinkConfig[T_co] | Sink[T_co]]) -> Pipeline[T_co]:
        """End the pipeline at several sinks; every one gets every message.

        Args:
            sink_configs: At least one sink config.

        Raises:
            WallarooParameterError: It is not a list of sink configs, or the pipeline has ended.

        Example:
            See :class:`Pipeline`.
        """
        return self._to_sinks("to_sinks", as_list("to_sinks: sink_configs", sink_configs))

    def _to_sinks(self, call: str, sink_configs: Sequence[Any]) -> Pipeline[T_co]:
        where = f"pipeline {self._name!r}, {call}"
        self._require_open(where)
        if not sink_configs:
            raise WallarooParameterError(f"{where}: the list is empty", hint="give at least one sink config")
        checked = [check_sink_config(where, config_of(config)) for config in sink_configs]
        sinks = [Vertex(self._heads, _sink_node(config)) for config in checked]
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
    if isinstance(thing, WindowedPipeline):
        return "say what is made of each window: window(...).aggregate(...)"
    if isinstance(thing, BARE_WINDOWS) and thing.call in ("tumbling", "sliding", "sessions"):
        return f"use window({thing.call}(...)).aggregate(...)"
    if isinstance(thing, BARE_WINDOWS):
        return f"say what is made of each window: {thing.call}(...).over(TheAggregation)"
    if isinstance(thing, KeyExtractor):
        return "give a key function to key_by"
    if isinstance(thing, SinkConfig):
        return "give a sink config to to_sink"
    if isinstance(thing, Pipeline):
        return "use merge for the messages of two pipelines, or key_by(...).join(...) for pairs of them"
    kind = thing if isinstance(thing, type) else type(thing)
    if kind.__module__ == aggregations.__name__:
        return "aggregate windows by it: window(...).aggregate(...)"
    if issubclass(kind, Aggregation):
        return f"aggregate windows by it: wallaroo.count_windows(...).over({kind.__name__})"
    if any(hasattr(kind, name) for name in ("compute", "compute_multi")):
        return 'classes are steps of ApplicationBuilder: here put @wallaroo.computation(name="...") above a function'
    if shown_step(thing) == "<lambda>":
        return "use map, filter, flat_map or another verb, which take any function"
    return 'put @wallaroo.computation(name="...") above a function, and give that'


def source(name: str, source_config: SourceConfig[T] | Source[T]) -> Pipeline[T]:
    """Begin a pipeline at its source.

    Args:
        name: The pipeline's name; each source of an application has its own.
        source_config: For example a :class:`TCPSourceConfig`, or a :class:`Source` of the application.

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
    config = check_source_config(f"source({name!r})", config_of(source_config))
    vertex = Vertex((), lambda _inputs: SourceNode(name, (), config))
    return Pipeline(name, [vertex], BY_NOTHING)

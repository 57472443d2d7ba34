"""Pipelines whose messages have a key of a known type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Generic, TypeVar, overload

from wallaroo._pipeline.joining import Table, check_keyed, check_table, together
from wallaroo._pipeline.pipeline import Pipeline
from wallaroo._pipeline.stream import BY_KEY, Stream, T_co, Vertex
from wallaroo._pipeline.topology import Node, StateNode, node_of
from wallaroo._steps import running
from wallaroo._steps.objects import check_name, qualified_name
from wallaroo._steps.shapes import Addable, Keyed, Ordered
from wallaroo._windows.joins import join_step

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable
    from typing import Literal

    from wallaroo._pipeline.windowed import WindowedPipeline
    from wallaroo._steps.durations import Duration
    from wallaroo._steps.errors import OnError
    from wallaroo._windows.context import Context
    from wallaroo._windows.windows import Windows

A = TypeVar("A")
C = TypeVar("C", bound=Ordered)
K_co = TypeVar("K_co", covariant=True)
N = TypeVar("N", bound=Addable)
S = TypeVar("S")
U = TypeVar("U")


class KeyedPipeline(Pipeline[T_co], Generic[K_co, T_co]):
    r"""A pipeline below a ``key_by``: type checkers know its key. Made by :meth:`Pipeline.key_by`.

    Example:
        >>> import wallaroo
        >>> @wallaroo.decoder(delimiter=b"\n")
        ... def text(bs: bytes) -> str:
        ...     return bs.decode()
        >>> def by_length(lines: wallaroo.Pipeline[str]) -> wallaroo.KeyedPipeline[int, str]:
        ...     return lines.key_by(len)
        >>> by_length(wallaroo.source("lines", wallaroo.StdinSourceConfig(text)))
        <Pipeline 'lines'>

        Orders with their payments within an hour, and with the latest address of the customer:

        >>> from datetime import timedelta
        >>> import wallaroo.testing
        >>> def rows(name: str) -> wallaroo.Pipeline[dict[str, str]]:
        ...     return wallaroo.source(name, wallaroo.tcp(f"{name}:7010", wallaroo.csv_lines("id", "what")))
        >>> orders, payments, addresses = (rows(name).key_by("id") for name in ("orders", "payments", "addresses"))
        >>> paid = orders.join(payments, within=timedelta(hours=1), how="left")
        >>> placed = orders.lookup(addresses.table())
        >>> both = wallaroo.stdout(wallaroo.json_lines()), wallaroo.file("placed.jsonl", wallaroo.json_lines())
        >>> app = wallaroo.application("shop", paid.sink(both[0]), placed.sink(both[1]))
        >>> sent = {"addresses": ["1,Delft"], "orders": ["1,tea", "2,cup"], "payments": ["1,cash"]}
        >>> outcome = wallaroo.testing.run(app, sent)
        >>> for line in (*outcome.outputs["stdout"], *outcome.outputs["file placed.jsonl"]):
        ...     print(line.decode().strip())
        ["1",[{"id":"1","what":"tea"},{"id":"1","what":"cash"}]]
        ["2",[{"id":"2","what":"cup"},null]]
        [{"id":"1","what":"tea"},{"id":"1","what":"Delft"}]
        [{"id":"2","what":"cup"},null]
    """

    __slots__ = ()

    @overload
    def join(
        self,
        other: KeyedPipeline[K_co, U],
        *,
        within: Duration | None = None,
        how: Literal["inner"] = "inner",
        delay: Duration = 0,
        on_late: str = "drop",
        name: str | None = None,
    ) -> Pipeline[Keyed[K_co, tuple[T_co, U]]]: ...
    @overload
    def join(
        self,
        other: KeyedPipeline[K_co, U],
        *,
        within: Duration | None = None,
        how: Literal["left"],
        delay: Duration = 0,
        on_late: str = "drop",
        name: str | None = None,
    ) -> Pipeline[Keyed[K_co, tuple[T_co, U | None]]]: ...
    @overload
    def join(
        self,
        other: KeyedPipeline[K_co, U],
        *,
        within: Duration | None = None,
        how: Literal["outer"],
        delay: Duration = 0,
        on_late: str = "drop",
        name: str | None = None,
    ) -> Pipeline[Keyed[K_co, tuple[T_co | None, U | None]]]: ...
    def join(
        self,
        other: KeyedPipeline[Any, Any],
        *,
        within: Duration | None = None,
        how: str = "inner",
        delay: Duration = 0,
        on_late: str = "drop",
        name: str | None = None,
    ) -> Pipeline[Any]:
        """Pair the messages of two pipelines that have the same key: gives ``(key, (left, right))``.

        A message is paired with every message of the other pipeline that has its key and is near in time. Time is event
        time, or the time of arrival where a source has no ``event_time``.

        Args:
            other: The right side; its keys are of the same type.
            within: Between the times of two messages that are paired, at most: nanoseconds, or a ``timedelta``. A
                message is kept so long after its time. Without it all messages are kept until the sources end: for
                sources that end.
            how: ``"inner"``: pairs alone. ``"left"``: also messages of this pipeline that were not paired, as
                ``(left, None)``, when their time is over. ``"outer"``: those of ``other`` as well, as
                ``(None, right)``.
            delay: How much longer a message is kept, for others that are out of order; as for :func:`tumbling`.
            on_late: What happens to a message that comes when its time is over; as for :func:`tumbling`.
            name: The step's name; ``join`` without it.

        Raises:
            WallarooParameterError: An argument is unusable, ``other`` has no keys, or either pipeline has ended.

        Example:
            See :class:`KeyedPipeline`.
        """
        where = self._where("join", repr(getattr(other, "_name", other)))
        self._require_open(where)
        right = check_keyed(where, other)
        named = "join" if name is None else check_name(f"{where}: name", name)
        step = join_step(where, named, within, how, delay, on_late)
        return self._together(named, right, lambda inputs: node_of(step, inputs))

    def lookup(self, table: Table[K_co, U], *, name: str | None = None) -> KeyedPipeline[K_co, tuple[T_co, U | None]]:
        """Give each message with the latest row of its key in a table: ``(message, row)``, or ``(message, None)``.

        A row counts for the messages that come after it, not for those before. Messages of one source come in its order
        if ``key_by`` is the last step of both pipelines. Which comes first is not known of different sources.

        Args:
            table: What :meth:`table` returns; its keys are of the same type.
            name: The step's name; ``lookup`` without it.

        Raises:
            WallarooParameterError: An argument is unusable, or either pipeline has ended.

        Example:
            See :class:`KeyedPipeline`.
        """
        where = self._where("lookup", repr(table))
        self._require_open(where)
        rows = check_table(where, table)
        rows._require_open(where)
        named = "lookup" if name is None else check_name(f"{where}: name", name)
        kept, call = running.Row, running.looking_up
        return self._together(
            named, rows, lambda inputs: StateNode(named, inputs, named, qualified_name(kept), kept, call, False)
        )

    def table(self) -> Table[K_co, T_co]:
        """Return the latest message of each key as a table, for :meth:`lookup`. It is kept until the run ends.

        Raises:
            WallarooParameterError: The pipeline has ended.

        Example:
            See :class:`KeyedPipeline`.
        """
        self._require_open(self._where("table", ""))
        return Table(self)

    def _together(
        self, name: str, right: Stream[Any], make: Callable[[tuple[int, ...]], Node]
    ) -> KeyedPipeline[Any, Any]:
        step = Vertex([together(name, self, right)], make, is_step=True)
        return KeyedPipeline(self._name_with(right), [step], BY_KEY)

    if TYPE_CHECKING:
        # What Pipeline does, with the type of the key.
        def map(
            self,
            f: Callable[[T_co], U | None],
            *,
            name: str | None = None,
            pool: str | None = None,
            on_error: OnError[T_co, U | None] = "dead-letter",
            retries: int = 0,
        ) -> KeyedPipeline[K_co, U]: ...

        def flat_map(
            self,
            f: Callable[[T_co], Iterable[U | None] | None],
            *,
            name: str | None = None,
            pool: str | None = None,
            on_error: OnError[T_co, Iterable[U | None] | None] = "dead-letter",
            retries: int = 0,
        ) -> KeyedPipeline[K_co, U]: ...

        def map_batch(
            self,
            f: Callable[[list[T_co]], Iterable[U | None]],
            *,
            max_batch: int | None = None,
            max_wait: Duration | None = None,
            name: str | None = None,
            pool: str | None = None,
            on_error: OnError[T_co, U | None] = "dead-letter",
            retries: int = 0,
        ) -> KeyedPipeline[K_co, U]: ...

        def map_async(
            self,
            f: Callable[[T_co], Awaitable[U | None]],
            *,
            concurrency: int = 50,
            timeout: Duration | None = None,
            retries: int = 0,
            backoff: Duration = ...,
            ordered: bool = True,
            on_error: OnError[T_co, U | None] = "dead-letter",
            name: str | None = None,
            pool: str | None = None,
        ) -> KeyedPipeline[K_co, U]: ...

        @overload
        def stateful(
            self,
            f: Callable[[T_co, S], U | None],
            state: Callable[[], S],
            *,
            ttl: Duration | None = None,
            name: str | None = None,
            on_error: OnError[T_co, U | None] = "dead-letter",
            retries: int = 0,
            atomic: bool = False,
        ) -> KeyedPipeline[K_co, U]: ...
        @overload
        def stateful(
            self,
            f: Callable[[T_co, S, Context[K_co]], U | None],
            state: Callable[[], S],
            *,
            ttl: Duration | None = None,
            on_timer: Callable[[S, Context[K_co]], U | None] | None = None,
            name: str | None = None,
            on_error: OnError[T_co, U | None] = "dead-letter",
            retries: int = 0,
            atomic: bool = False,
        ) -> KeyedPipeline[K_co, U]: ...
        def stateful(self, f: Any, state: Any, **options: Any) -> Any: ...

        def reduce(
            self: KeyedPipeline[K_co, A], f: Callable[[A, A], A], *, name: str | None = None
        ) -> Pipeline[Keyed[K_co, A]]: ...

        def count(self, *, name: str | None = None) -> Pipeline[Keyed[K_co, int]]: ...

        @overload
        def sum(
            self: KeyedPipeline[K_co, N], f: None = None, *, name: str | None = None
        ) -> Pipeline[Keyed[K_co, N]]: ...
        @overload
        def sum(self, f: Callable[[T_co], N | None], *, name: str | None = None) -> Pipeline[Keyed[K_co, N]]: ...
        def sum(self, f: Any = None, *, name: str | None = None) -> Any: ...

        @overload
        def mean(
            self: KeyedPipeline[K_co, float], f: None = None, *, name: str | None = None
        ) -> Pipeline[Keyed[K_co, float]]: ...
        @overload
        def mean(
            self, f: Callable[[T_co], float | None], *, name: str | None = None
        ) -> Pipeline[Keyed[K_co, float]]: ...
        def mean(self, f: Any = None, *, name: str | None = None) -> Any: ...

        @overload
        def min(
            self: KeyedPipeline[K_co, C], f: None = None, *, name: str | None = None
        ) -> Pipeline[Keyed[K_co, C]]: ...
        @overload
        def min(self, f: Callable[[T_co], C | None], *, name: str | None = None) -> Pipeline[Keyed[K_co, C]]: ...
        def min(self, f: Any = None, *, name: str | None = None) -> Any: ...

        @overload
        def max(
            self: KeyedPipeline[K_co, C], f: None = None, *, name: str | None = None
        ) -> Pipeline[Keyed[K_co, C]]: ...
        @overload
        def max(self, f: Callable[[T_co], C | None], *, name: str | None = None) -> Pipeline[Keyed[K_co, C]]: ...
        def max(self, f: Any = None, *, name: str | None = None) -> Any: ...

        def window(self, windows: Windows, *, early: Duration | None = None) -> WindowedPipeline[K_co, T_co]: ...

        def collect_list(self, *, name: str | None = None) -> Pipeline[Keyed[K_co, list[T_co]]]: ...

        def dedup(
            self,
            by: Callable[[T_co], object] | str | None = None,
            *,
            within: Duration | None = None,
            name: str | None = None,
        ) -> Pipeline[Keyed[K_co, T_co]]: ...

"""How two keyed streams come together: each message is marked with its side, and both reach one ``key_by``.

Below it is one stage, so the messages of a key of both sides meet one state, in one order, under one watermark.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any, Callable, Generic, NoReturn, TypeVar

from wallaroo._errors import WallarooParameterError
from wallaroo._pipeline.stream import BY_KEY, Stream, Vertex
from wallaroo._pipeline.topology import ComputationNode, KeyByNode, Node, SideNode
from wallaroo._steps.objects import shown_type
from wallaroo._steps.wrapping import calling

if TYPE_CHECKING:
    from wallaroo._pipeline.keyed import KeyedPipeline

K_co = TypeVar("K_co", covariant=True)
T_co = TypeVar("T_co", covariant=True)


class Table(Generic[K_co, T_co]):
    """The latest message of each key, for :meth:`KeyedPipeline.lookup`. Made by :meth:`KeyedPipeline.table`.

    Example:
        >>> import wallaroo
        >>> def names_of(users: wallaroo.Pipeline[dict[str, str]]) -> wallaroo.Table[str, str]:
        ...     return users.key_by(lambda user: user["id"]).map(lambda user: user["name"]).table()
        >>> names_of(wallaroo.source("users", wallaroo.stdin(wallaroo.json_lines())))
        <Table 'users'>
    """

    __slots__ = ("_stream",)

    def __init__(self, stream: KeyedPipeline[K_co, T_co]) -> None:
        self._stream = stream

    def __repr__(self) -> str:
        return f"<Table {self._stream._name!r}>"


def check_keyed(where: str, other: Any) -> Stream[Any]:
    """Return the stream that is joined. Raise an error unless it has keys and is open.

    Raises:
        WallarooParameterError: It has none, has ended, or is no stream.
    """
    if isinstance(other, Table):
        raise WallarooParameterError(f"{where}: the argument is a table", hint="use lookup for a table")
    if not isinstance(other, Stream):
        raise WallarooParameterError(
            f"{where}: the argument is {shown_type(other)}, not a pipeline", hint="give another pipeline with a key_by"
        )
    other._require_open(where)
    if other._placed_by != BY_KEY:
        raise WallarooParameterError(f"{where}: pipeline {other._name!r} has no keys", hint=_KEY_BOTH)
    return other


def check_table(where: str, table: Any) -> Stream[Any]:
    """Return the stream of a table.

    Raises:
        WallarooParameterError: It is no table.
    """
    if not isinstance(table, Table):
        is_stream = isinstance(table, Stream)
        raise WallarooParameterError(
            f"{where}: the argument is {'a pipeline' if is_stream else shown_type(table)}, not a table",
            hint="write key_by(...).table() behind the pipeline that has the rows",
        )
    return table._stream


def refusing_without_key(verb: str) -> Callable[..., NoReturn]:
    """Return the method that stands for a verb where messages have no key."""

    def refuse(self: Stream[Any], *_: Any, **__: Any) -> NoReturn:
        """Raise an error: only a pipeline with keys has this verb."""
        raise WallarooParameterError(
            f"{self._where(verb, '')}: pipeline {self._name!r} has no keys",
            hint=_KEY_BOTH if verb == "join" else f"write key_by(...).{verb}(...)",
        )

    refuse.__name__ = refuse.__qualname__ = verb
    return refuse


_KEY_BOTH = "write key_by(...) before join, in both pipelines"


def together(name: str, left: Stream[Any], right: Stream[Any]) -> Vertex:
    """Return the ``key_by`` that messages of two keyed streams reach as ``(side, key, message)``.

    Args:
        name: The name of the step below it.
        left: Side 0.
        right: Side 1.
    """
    sides = [
        _marked(head, side, f"{name} {word}")
        for side, (word, stream) in enumerate((("left", left), ("right", right)))
        for head in stream._heads
    ]
    key = itemgetter(1)
    return Vertex(sides, lambda inputs: KeyByNode(f"{name} key", inputs, key, None, reject_unknown=False))


def _marked(head: Vertex, side: int, name: str) -> Vertex:
    """Return the step that marks the messages of one head of a stream.

    Where that is the ``key_by`` itself, its function is called here, and messages are sent on once and not twice.
    """
    if head.key is None:
        return Vertex([head], lambda inputs: SideNode(name, inputs, side), is_step=True)
    call = _marking(side, head.key)

    def make(inputs: tuple[int, ...]) -> Node:
        return ComputationNode(name, inputs, call, False)

    return Vertex(head.inputs, make, is_step=True)


def _marking(side: int, key_of: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @calling(key_of)
    def mark(message: Any) -> tuple[int, Any, Any]:
        return side, key_of(message), message

    return mark

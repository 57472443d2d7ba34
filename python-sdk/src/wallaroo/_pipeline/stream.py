"""What pipelines are made of: where their messages come from, how those are placed, and how a step is added.

Every call returns a new pipeline.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Callable, Generic, TypeVar

from wallaroo._errors import WallarooParameterError
from wallaroo._pipeline.topology import CollectNode, Node
from wallaroo._steps.callables import shown_callable

if TYPE_CHECKING:
    from wallaroo._pipeline.pipeline import Pipeline

T_co = TypeVar("T_co", covariant=True)


class Vertex:
    """A node that has no number yet. Pipelines that branch off a common prefix share its vertices.

    Args:
        inputs: The vertices it takes messages from.
        make: Makes the node, once the numbers of its inputs are known.
        is_step: Whether it is a step, whose name is numbered where another step has it.
        key: The key function of a ``key_by``.
    """

    def __init__(
        self,
        inputs: Sequence[Vertex],
        make: Callable[[tuple[int, ...]], Node],
        *,
        is_step: bool = False,
        key: Callable[[Any], Any] | None = None,
    ) -> None:
        self.inputs = tuple(inputs)
        self.make = make
        self.is_step = is_step
        self.key = key


# How a pipeline's messages are placed, which decides what one state belongs to.
BY_KEY = frozenset(("key",))
TOGETHER = frozenset(("collect",))
BY_NOTHING = frozenset(("nothing",))


class Stream(Generic[T_co]):
    """What the verbs of a pipeline build on.

    Args:
        name: Names of the sources, for errors.
        heads: The vertices whose messages it has. After a merge there are several, which may place them differently.
        placed_by: How its messages are placed.
        sinks: Where it ends.
        ended_by: The call that ended it, or ``None``.
    """

    __slots__ = ("_ended_by", "_heads", "_name", "_placed_by", "_sinks")

    def __init__(
        self,
        name: str,
        heads: Sequence[Vertex],
        placed_by: frozenset[str],
        sinks: Sequence[Vertex] = (),
        ended_by: str | None = None,
    ) -> None:
        self._name = name
        self._heads = tuple(heads)
        self._placed_by = placed_by
        self._sinks = tuple(sinks)
        self._ended_by = ended_by

    def __repr__(self) -> str:
        return f"<Pipeline {self._name!r}>"

    def _where(self, call: str, thing: str) -> str:
        return f"pipeline {self._name!r}, {call}({thing})"

    def _open_at(self, verb: str, *functions: Any) -> str:
        """Return where an error of a verb is. Raise an error if the pipeline has ended."""
        where = self._where(verb, ", ".join(map(shown_callable, functions)))
        self._require_open(where)
        return where

    def _name_with(self, other: Stream[Any]) -> str:
        """Return the names of the sources of both, each once."""
        known = self._name.split(" + ")
        return " + ".join([*known, *(name for name in other._name.split(" + ") if name not in known)])

    def _require_open(self, where: str) -> None:
        if self._ended_by is not None:
            raise WallarooParameterError(
                f"{where}: pipeline {self._name!r} has ended with {self._ended_by}",
                hint="every call returns a new pipeline: branch off the one before the sink",
            )

    def _step(self, make: Callable[[tuple[int, ...]], Node]) -> Any:
        """Return the pipeline with one more step. It is of the same class: a step keeps the key."""
        return type(self)(self._name, [Vertex(self._heads, make, is_step=True)], self._placed_by)

    def _collected(self) -> Pipeline[T_co]:
        from wallaroo._pipeline.pipeline import Pipeline  # Imported here because a pipeline is a stream.

        vertex = Vertex(self._heads, lambda inputs: CollectNode("collect", inputs))
        return Pipeline(self._name, [vertex], TOGETHER)

    def _with_state_placed(self, where: str, step: str) -> Stream[T_co]:
        """Return the pipeline with its messages placed, as a step with state needs it.

        Raises:
            WallarooParameterError: Pipelines were merged whose messages are placed differently.
        """
        if len(self._placed_by) > 1:
            raise WallarooParameterError(
                f"{where}: {step} has state, and the pipelines that were merged are placed by "
                f"{' and by '.join(sorted(self._placed_by))}",
                hint="put key_by(...) or collect() after merge(...)",
            )
        return self._collected() if self._placed_by == BY_NOTHING else self

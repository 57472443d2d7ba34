"""Applications of pipelines: their vertices become the numbered nodes of a topology."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from wallaroo._errors import WallarooParameterError
from wallaroo._pipeline.branches import Branches
from wallaroo._pipeline.own_stages import with_own_stages
from wallaroo._pipeline.pipeline import Pipeline
from wallaroo._pipeline.stream import Vertex
from wallaroo._pipeline.topology import Application, Node, SourceNode, check_address_is_free, with_free_name
from wallaroo._pipeline.windowed import WindowedPipeline
from wallaroo._steps.objects import check_name, shown_type


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
    return _application("build_application", name, pipelines)


def application(name: str, *pipelines: Pipeline[Any]) -> Application:
    """Return the application of some pipelines. Short for :func:`build_application`.

    Args:
        name: As for :func:`build_application`.
        pipelines: As for :func:`build_application`.

    Raises:
        WallarooParameterError: As for :func:`build_application`.

    Example:
        >>> import wallaroo
        >>> class Lines:
        ...     delimiter = b";"
        ...     def decode(self, bs):
        ...         return bs.decode()
        ...     def encode(self, data):
        ...         return data
        >>> lines = wallaroo.source("lines", wallaroo.StdinSourceConfig(Lines))
        >>> wallaroo.application("Shout", lines.map(str.upper).sink(wallaroo.StdoutSinkConfig(Lines))).name
        'Shout'
    """
    return _application("application", name, pipelines)


def _application(call: str, name: str, pipelines: tuple[Pipeline[Any], ...]) -> Application:
    check_name(f"{call}: name", name)
    where = f"application {name!r}"
    if not pipelines:
        raise WallarooParameterError(f"{where} has no pipeline", hint=f"give {call} the pipelines it is made of")
    for index, pipeline in enumerate(pipelines):
        if not isinstance(pipeline, Pipeline):
            raise WallarooParameterError(
                f"{where}: pipelines[{index}] is {shown_type(pipeline)}, not a pipeline",
                hint=_hint_for_no_pipeline(call, pipeline),
            )
        if pipeline._ended_by is None:
            raise WallarooParameterError(
                f"{where}: pipeline {pipeline._name!r} has not ended",
                hint="end it with to_sink(...) or to_sinks([...]), and give what that returns",
            )
    return Application(name, with_own_stages(_Numbering(where).numbered(pipelines)))


def _hint_for_no_pipeline(call: str, given: Any) -> str:
    if isinstance(given, WindowedPipeline):
        return "say what is made of each window with aggregate(...), and end it with sink(...)"
    if isinstance(given, (list, tuple, Branches)):
        return f"give each pipeline as an argument of its own: {call}(name, *pipelines)"
    return "wallaroo.source(name, source_config) begins one"


class _Numbering:
    """Turns vertices into nodes: each once, after its inputs, in the order in which the pipelines reach them."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._nodes: list[Node] = []
        self._numbers: dict[Vertex, int] = {}
        self._step_names: set[str] = set()

    def numbered(self, pipelines: Iterable[Pipeline[Any]]) -> list[Node]:
        for pipeline in pipelines:
            for sink in pipeline._sinks:
                self._number(sink)
        return self._nodes

    def _number(self, last: Vertex) -> None:
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

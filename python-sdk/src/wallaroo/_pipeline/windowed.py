"""Pipelines whose messages are gathered in windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from wallaroo._errors import WallarooParameterError
from wallaroo._pipeline.stream import Stream
from wallaroo._pipeline.topology import node_of
from wallaroo._steps.callables import shown_callable
from wallaroo._steps.objects import ROUTINES, shown_type
from wallaroo._windows import aggregations
from wallaroo._windows.windowed import Windowed
from wallaroo._windows.windows import AggregationLike, Windows, WindowStep

if TYPE_CHECKING:
    from wallaroo._pipeline.pipeline import Pipeline

K_co = TypeVar("K_co", covariant=True)
T_co = TypeVar("T_co", covariant=True)
Out = TypeVar("Out")


class WindowedPipeline(Generic[K_co, T_co]):
    r"""A pipeline whose messages are gathered in windows: :meth:`aggregate` says what is made of each window.

    Made by :meth:`Pipeline.window`.

    Example:
        >>> from datetime import timedelta
        >>> import wallaroo, wallaroo.testing
        >>> @wallaroo.decoder(delimiter=b"\n")
        ... def visit(bs: bytes) -> list[str]:
        ...     return bs.decode().split()
        >>> @wallaroo.encoder
        ... def line(visits: wallaroo.Windowed[str, int]) -> str:
        ...     return f"{visits.start:%H:%M} {visits.key} {visits.value} {visits.closed_by}\n"
        >>> def when(visit: list[str]) -> int:
        ...     return wallaroo.minutes(int(visit[0]))
        >>> visits = wallaroo.source("visits", wallaroo.StdinSourceConfig(visit, event_time=when))
        >>> hours = visits.key_by(lambda visit: visit[1]).window(wallaroo.tumbling(timedelta(hours=1)))
        >>> by_hour = hours.aggregate(wallaroo.count())
        >>> app = wallaroo.application("app", by_hour.sink(wallaroo.StdoutSinkConfig(line)))
        >>> wallaroo.testing.run(app, ["10 ada", "50 ada", "70 ada"]).lines
        ['00:00 ada 2 time', '01:00 ada 1 drain']
    """

    __slots__ = ("_early", "_stream", "_where", "_windows")

    def __init__(self, where: str, stream: Stream[T_co], windows: Windows, early: int | None) -> None:
        self._where = where
        self._early = early
        self._stream = stream
        self._windows = windows

    def aggregate(
        self, aggregation: AggregationLike[T_co, Out], *, name: str | None = None
    ) -> Pipeline[Windowed[K_co, Out]]:
        """Make one output of each window, when it is complete, and with ``early=`` some before.

        Args:
            aggregation: :func:`count`, :func:`sum`, :func:`mean`, :func:`min`, :func:`max`, :func:`reduce` or
                :func:`collect_list`; or a subclass of :class:`Aggregation`, or an instance of one. A window for which
                its ``output`` returns ``None`` gives nothing.
            name: The step's name. Without it, that of the aggregation: what its ``name()`` returns, or else its class.

        Raises:
            WallarooParameterError: An argument is unusable, or the pipeline was merged of pipelines whose messages are
                placed differently.

        Example:
            See :class:`WindowedPipeline`.
        """
        where = f"{self._where}.aggregate({shown_callable(aggregation)})"
        if aggregation in aggregations.WITHOUT_ARGUMENTS:
            aggregation = cast("AggregationLike[T_co, Out]", aggregation())  # type: ignore[operator]
        if isinstance(aggregation, ROUTINES) or not any(hasattr(aggregation, each) for each in _METHODS):
            raise WallarooParameterError(
                f"{where}: the argument is {shown_type(aggregation)}, not an aggregation",
                hint=_hint_for_no_aggregation(aggregation),
            )
        step: WindowStep[Any, Any] = WindowStep(
            self._windows, aggregation, where=where, name=name, windowed=True, early=self._early
        )
        placed = self._stream._with_state_placed(where, step.name)
        return placed._step(lambda inputs: node_of(step, inputs))  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        return f"<WindowedPipeline {self._where}>"

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if not name.startswith("_") and hasattr(type(self._stream), name):
                raise WallarooParameterError(
                    f"{self._where}.{name}: it is not said what is made of each window",
                    hint=f"write aggregate(wallaroo.count()) or the like before {name}",
                )
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


_METHODS = ("initial_accumulator", "update", "output")


def _hint_for_no_aggregation(given: Any) -> str:
    if given is aggregations.reduce:
        return "call it: reduce(f)"
    return "give wallaroo.reduce(f), sum(f), count() or the like, or a subclass of wallaroo.Aggregation"

"""Metrics of an application: counters, gauges and histograms, by step, in Prometheus (``run --metrics ADDRESS``).

Make them at the top of the module, and use them in steps::

    import wallaroo

    REJECTED = wallaroo.metrics.counter("orders_rejected_total", "Orders without a price.")

    def has_price(order: dict) -> bool:
        if "price" not in order:
            REJECTED.add()
            return False
        return True

The orchestrator adds up what all workers measure, since the run began. What user code does again, because a worker has
died, is measured again.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections.abc import Iterable
from typing import Any, Callable, TypeVar

from wallaroo._errors import WallarooParameterError

__all__ = ["Counter", "Gauge", "Histogram", "counter", "gauge", "histogram"]

M = TypeVar("M", bound="_Metric")

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""The bounds of a histogram that is given none: seconds, from a millisecond on."""

MOST = 1000
"""Metrics in a process. More are taken for names that are made of data."""

_known: dict[str, _Metric] = {}
_running_step: Callable[[], str | None] = lambda: None  # noqa: E731 - replaced in a worker
# Guards what all metrics have measured: user code may have threads.
_lock = threading.Lock()


class _Metric:
    """A metric: what was measured in each step since the orchestrator was told."""

    kind: str

    def __init__(self, name: str, description: str) -> None:
        self.name = name
        self.description = description
        self._new: dict[str | None, Any] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    def _fields(self, measured: Any) -> tuple[float, list[float], list[int]]:
        return measured, [], []

    def take(self) -> list[Any]:
        """Return flat ``name, description, step, kind, number, bounds, counts`` of what is new."""
        new, self._new = self._new, {}
        flat: list[Any] = []
        for step, measured in new.items():
            flat += [self.name, self.description, step, self.kind, *self._fields(measured)]
        return flat


class Counter(_Metric):
    """A number that grows. Made by :func:`counter`.

    Example:
        >>> Counter("orders_rejected_total", "Orders without a price.")
        <Counter 'orders_rejected_total'>
    """

    kind = "counter"

    def add(self, amount: float = 1) -> None:
        """Let it grow.

        Args:
            amount: By how much.

        Raises:
            ValueError: It is negative, or no number.
        """
        amount = float(amount)
        if not 0 <= amount < math.inf:
            raise ValueError(f"{self!r} grows by {amount}: a counter does not fall; use a gauge")
        step = _running_step()
        with _lock:
            self._new[step] = self._new.get(step, 0.0) + amount


class Gauge(_Metric):
    """A number that rises and falls; each worker has its own. Made by :func:`gauge`.

    Example:
        >>> Gauge("cache_entries", "Customers in the cache.")
        <Gauge 'cache_entries'>
    """

    kind = "gauge"

    def set(self, value: float) -> None:
        """Set it.

        Args:
            value: What it is now.
        """
        step = _running_step()
        with _lock:
            self._new[step] = float(value)


class Histogram(_Metric):
    """Numbers that are counted in buckets. Made by :func:`histogram`.

    Example:
        >>> Histogram("order_amount_euros", "Of orders.", (10.0, 100.0))
        <Histogram 'order_amount_euros'>
    """

    kind = "histogram"

    def __init__(self, name: str, description: str, bounds: tuple[float, ...]) -> None:
        super().__init__(name, description)
        self.bounds = bounds

    def observe(self, value: float) -> None:
        """Count a value.

        Args:
            value: A number, in the unit of the bounds.

        Raises:
            ValueError: It is no number.
        """
        value = float(value)
        if not math.isfinite(value):
            raise ValueError(f"{self!r} observes {value}, which is in no bucket")
        step = _running_step()
        bucket = bisect_left(self.bounds, value)
        with _lock:
            measured = self._new.get(step)
            if measured is None:
                measured = self._new[step] = [0.0, [0] * (len(self.bounds) + 1)]
            measured[0] += value
            measured[1][bucket] += 1

    def _fields(self, measured: Any) -> tuple[float, list[float], list[int]]:
        total, counts = measured
        return total, list(self.bounds), counts


def counter(name: str, description: str = "") -> Counter:
    """Return the counter of a name; a second call returns the same one.

    Args:
        name: As Prometheus wants it: letters, digits, ``_`` and ``:``; by convention it ends in ``_total``.
        description: What it counts.

    Raises:
        WallarooParameterError: The name is unusable, or that of another kind of metric.

    Example:
        >>> import wallaroo
        >>> rejected = wallaroo.metrics.counter("orders_rejected_total", "Orders without a price.")
        >>> rejected.add()
    """
    return _known_or("counter", name, Counter, lambda: Counter(name, description))


def gauge(name: str, description: str = "") -> Gauge:
    """Return the gauge of a name; a second call returns the same one.

    Args:
        name: As for :func:`counter`.
        description: What it says.

    Raises:
        WallarooParameterError: As for :func:`counter`.

    Example:
        >>> import wallaroo
        >>> size = wallaroo.metrics.gauge("cache_entries", "Customers in the cache.")
        >>> size.set(12)
    """
    return _known_or("gauge", name, Gauge, lambda: Gauge(name, description))


def histogram(name: str, description: str = "", buckets: Iterable[float] = BUCKETS) -> Histogram:
    """Return the histogram of a name; a second call returns the same one.

    Args:
        name: As for :func:`counter`.
        description: What is observed.
        buckets: The greatest value of each bucket, rising; there is one more for larger values. Without it, those of
            seconds from a millisecond to ten seconds.

    Raises:
        WallarooParameterError: As for :func:`counter`; or buckets do not rise.

    Example:
        >>> import wallaroo
        >>> amounts = wallaroo.metrics.histogram("order_amount_euros", "Of orders.", buckets=[10, 100, 1000])
        >>> amounts.observe(42.5)
    """
    bounds = tuple(map(float, buckets))
    if list(bounds) != sorted(set(bounds)) or not all(map(math.isfinite, bounds)):
        raise WallarooParameterError(
            f"wallaroo.metrics.histogram({name!r}): buckets {list(bounds)} do not rise", hint="sort them, each once"
        )
    made = _known_or("histogram", name, Histogram, lambda: Histogram(name, description, bounds))
    if made.bounds != bounds:
        raise WallarooParameterError(
            f"wallaroo.metrics.histogram({name!r}): it has other buckets already",
            hint="make it once, and use it in all steps",
        )
    return made


def _known_or(call: str, name: str, kind: type[M], make: Any) -> M:
    where = f"wallaroo.metrics.{call}({name!r})"
    if not isinstance(name, str) or not (name.isascii() and name.replace(":", "_").isidentifier()):
        raise WallarooParameterError(
            f"{where}: it is no name of a metric", hint="use letters, digits and _, as in orders_rejected_total"
        )
    if name.startswith("wallaroo_"):
        raise WallarooParameterError(f"{where}: names with wallaroo_ are Wallaroo's own", hint="choose another name")
    with _lock:
        found = _known.get(name)
        if found is None:
            if len(_known) >= MOST:
                raise WallarooParameterError(
                    f"{where}: there are {MOST} metrics already", hint="do not make names of metrics out of messages"
                )
            found = _known[name] = make()
    if not isinstance(found, kind):
        raise WallarooParameterError(f"{where}: it is a {found.kind} already", hint="choose another name")
    return found


def measure_in(running_step: Callable[[], str | None]) -> None:
    """Let metrics know which step is running. Until then they are measured outside of steps."""
    global _running_step
    _running_step = running_step


def known_names() -> list[str]:
    """Return the names of all metrics of this process."""
    with _lock:
        return list(_known)


def take_measurements() -> list[Any]:
    """Return what all metrics have measured since the last call, as :meth:`_Metric.take` does."""
    if not _known:
        return []
    with _lock:
        return [field for metric in list(_known.values()) for field in metric.take()]

"""Functions of this package that call the user's. They say which, so that hooks and log records find the user's."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from types import FunctionType
from typing import Any, Callable, TypeVar

from wallaroo._steps.decorated import Decorated

F = TypeVar("F", bound=Callable[..., Any])


def calling(inner: Callable[..., Any]) -> Callable[[F], F]:
    """Return a decorator for a function that calls ``inner``. Unlike ``functools.wraps`` it leaves the name alone."""

    def mark(outer: F) -> F:
        outer.__wrapped__ = inner  # type: ignore[attr-defined]
        return outer

    return mark


def layers(thing: Any) -> Iterator[Any]:
    """Return ``thing``, what it calls, and so on."""
    yield thing
    while True:
        if isinstance(thing, partial):
            thing = thing.func
        elif isinstance(thing, (FunctionType, Decorated)) and hasattr(thing, "__wrapped__"):
            thing = thing.__wrapped__
        else:
            return
        yield thing

"""What runs before a worker is ready and when it stops: hooks of the application and of the objects of its steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Callable, NamedTuple

from wallaroo._errors import WallarooParameterError
from wallaroo._pipeline.topology import Application, pool_of
from wallaroo._steps.decorated import shown_name
from wallaroo._steps.objects import check_arity, check_not_async, class_name
from wallaroo._steps.wrapping import layers
from wallaroo.worker._failures import user_traceback
from wallaroo.worker._user_code import owner_of, things_of


class Hook(NamedTuple):
    """A function to call, and what it is, for errors."""

    what: str
    call: Callable[[], Any]


class Lifecycle:
    """The hooks of an application: ``starts`` are to be called in order before the worker is ready.

    Args:
        application: Its steps may have objects with ``setup()`` and ``teardown()``.
        on_start: The functions that :func:`wallaroo.on_start` registered.
        on_stop: The functions that :func:`wallaroo.on_stop` registered.

    Raises:
        WallarooParameterError: A hook takes arguments or is async, or a worker cannot know whether to run it.
    """

    def __init__(
        self, application: Application, on_start: list[Callable[[], Any]], on_stop: list[Callable[[], Any]]
    ) -> None:
        objects = list(_objects(application))
        setups = list(_hooks(objects, "setup"))
        teardowns = list(_hooks(objects, "teardown"))
        pooled = sorted({pool for node in application.nodes if (pool := pool_of(node)) is not None})
        if pooled and setups:
            raise WallarooParameterError(
                f"{setups[0].what} is for every worker that runs the step, and an application with pools "
                f"({', '.join(pooled)}) cannot say yet which workers do",
                hint="load what the step needs when it is first called, or in a function with @wallaroo.on_start, which"
                " the workers of all pools run",
            )
        self.starts = [Hook(f"on_start function {shown_name(each)}", each) for each in on_start] + setups
        stops = [Hook(f"on_stop function {shown_name(each)}", each) for each in on_stop] + teardowns
        self._stops = stops[::-1]

    def stop(self) -> list[str]:
        """Run the hooks of the stop, all of them, and return what went wrong."""
        problems = []
        for hook in self._stops:
            try:
                hook.call()
            except BaseException as error:  # noqa: BLE001 - the user's
                problems.append(f"{hook.what} failed\n{user_traceback(error).rstrip()}")
        return problems


def modules_of(application: Application) -> set[str]:
    """Return the names of the modules that define the steps of an application."""
    things = [layer for node in application.nodes for thing in things_of(node) for layer in layers(thing)]
    owners = [owner_of(thing)[0] for thing in things]
    return {str(getattr(thing, "__module__", "")) for thing in (*things, *owners)}


def _objects(application: Application) -> Iterator[tuple[str, Any, bool]]:
    """Return the objects of the steps, each once, with their place and whether they are called themselves."""
    seen: set[int] = set()
    for node in application.nodes:
        for thing in things_of(node):
            owner, is_called = owner_of(thing)
            if owner is not None and id(owner) not in seen:
                seen.add(id(owner))
                yield f"step {node.name!r}", owner, is_called


def _hooks(objects: list[tuple[str, Any, bool]], name: str) -> Iterator[Hook]:
    for place, owner, is_called in objects:
        found = getattr(owner, name, None)
        if isinstance(owner, type) or not callable(found):
            continue
        what = f"{place}: {name}() of {class_name(owner)}"
        try:
            check_arity(what, found, f"{name}(self)", ())
        except WallarooParameterError:
            if is_called:
                raise
            # A method of that name in an application of an older generation is its own matter.
            continue
        check_not_async(what, found, f"{name}(self)")
        yield Hook(what, found)

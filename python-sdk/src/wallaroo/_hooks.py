"""Functions that run when a worker starts or stops: what :func:`on_start` and :func:`on_stop` register."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from types import FrameType, FunctionType, ModuleType
from typing import Any, Callable, NamedTuple, TypeVar

from wallaroo._steps.decorated import check_function

F = TypeVar("F", bound=Callable[[], Any])


class _Hook(NamedTuple):
    function: Callable[[], Any]
    # The module in which it was registered, and those whose import had led there.
    module: str
    importers: frozenset[str]


class Registered:
    """The functions that one decorator has registered in this process, in order."""

    def __init__(self) -> None:
        self._hooks: dict[Any, _Hook] = {}

    def add(self, function: Callable[[], Any], module: str, importers: frozenset[str] = frozenset()) -> None:
        """Register a function in place of that from the same line: its module has been imported again.

        Args:
            function: Called without arguments.
            module: The name of the module in which it is registered.
            importers: The names of the modules that are being imported.
        """
        key: Any = function
        if isinstance(function, FunctionType) and function.__closure__ is None:
            code = function.__code__
            key = code.co_filename, code.co_firstlineno, code.co_name
        self._hooks.pop(key, None)
        self._hooks[key] = _Hook(function, module, importers)

    def all(self) -> list[Callable[[], Any]]:
        """Return the functions of all modules: in a worker there is one application."""
        return [hook.function for hook in self._hooks.values()]

    def of(self, modules: Iterable[str]) -> list[Callable[[], Any]]:
        """Return the functions of these modules and of those that they import or use."""
        if not self._hooks:
            return []
        used = _used(modules, {hook.module for hook in self._hooks.values()})
        return [
            hook.function for hook in self._hooks.values() if hook.module in used or not hook.importers.isdisjoint(used)
        ]


started = Registered()
stopped = Registered()


def on_start(function: F) -> F:
    """Run a function in every worker before it is ready, to load a model or to check a connection.

    Decorates a function without arguments. What it returns is ignored; it keeps what it makes in a global variable.
    Functions run in the order in which they are defined, after ``application_setup``, and before ``setup()`` of the
    steps' objects. All workers run them, also those of pools, standbys, and workers that replace a dead one. If one
    raises when the run begins, the run ends with exit code 3 and the traceback. ``--start-timeout`` bounds the time.

    Raises:
        WallarooParameterError: It is not a function, is ``async``, or takes arguments.

    Args:
        function: Called without arguments.

    Example:
        >>> import wallaroo
        >>> model = {}
        >>> @wallaroo.on_start
        ... def load_model() -> None:
        ...     model["weights"] = [0.5, 0.25]
        >>> load_model()
        >>> model
        {'weights': [0.5, 0.25]}
    """
    check_function("@wallaroo.on_start", function)
    started.add(function, *_where(sys._getframe(1)))
    return function


def on_stop(function: F) -> F:
    """Run a function in every worker when it is told to stop, to close what :func:`on_start` has opened.

    Decorates a function without arguments. Functions run in the opposite order of their definition, after
    ``teardown()`` of the steps' objects. A worker that stops has 3 seconds before it is killed. Workers that die, are
    killed or are replaced stop without it, so nothing may depend on it. An exception is logged.

    Args:
        function: Called without arguments.

    Raises:
        WallarooParameterError: As for :func:`on_start`.

    Example:
        >>> import wallaroo
        >>> @wallaroo.on_stop
        ... def close() -> None:
        ...     print("closed")
        >>> close()
        closed
    """
    check_function("@wallaroo.on_stop", function)
    stopped.add(function, *_where(sys._getframe(1)))
    return function


def _where(frame: FrameType) -> tuple[str, frozenset[str]]:
    """Return the name of the module of a frame, and the modules whose import had led there."""
    names = []
    caller: FrameType | None = frame
    while caller is not None:
        if caller.f_code.co_name == "<module>":
            names.append(str(caller.f_globals.get("__name__")))
        caller = caller.f_back
    return str(frame.f_globals.get("__name__")), frozenset(names)


def _used(modules: Iterable[str], wanted: set[str]) -> set[str]:
    """Return ``modules`` and those that they use through global names, until all of ``wanted`` are among them."""
    seen: set[str] = set()
    waiting = list(modules)
    while waiting and not wanted <= seen:
        name = waiting.pop()
        module = sys.modules.get(name)
        if module is not None and name not in seen and not _is_common(name, module):
            seen.add(name)
            waiting += (_module_of(value) for value in list(vars(module).values()))
    return seen


def _is_common(name: str, module: ModuleType) -> bool:
    """Whether every application may use a module: this package, which has no hooks, and the standard library.

    The library leads to the whole process, for example from ``sys`` to what another module has set as its hooks.
    """
    if name.partition(".")[0] == "wallaroo":
        return True
    if getattr(getattr(module, "__spec__", None), "origin", None) in ("built-in", "frozen"):
        return True
    path = getattr(module, "__file__", None) or ""
    return path.startswith(_LIBRARY) and _INSTALLED.isdisjoint(path.split(os.sep))


_LIBRARY = os.path.dirname(os.__file__) + os.sep
_INSTALLED = frozenset(["site-packages", "dist-packages"])


def _module_of(value: Any) -> str:
    name = value.__name__ if isinstance(value, ModuleType) else vars(type(value)).get("__module__")
    if callable(value):
        try:
            name = value.__module__
        except Exception:  # noqa: BLE001 - the user's __getattr__
            return ""
    return name if isinstance(name, str) else ""

"""Importing the application and asking it for its topology."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from types import ModuleType
from typing import Any, NamedTuple

from wallaroo._codec.protocol import Refused
from wallaroo._codec.values import ValueCodec
from wallaroo._errors import WallarooParameterError
from wallaroo._hooks import started, stopped
from wallaroo._legacy.builder import ApplicationBuilder
from wallaroo._pipeline.pipeline import Pipeline
from wallaroo._pipeline.topology import Application
from wallaroo.worker._failures import exception_message, exception_type, user_traceback
from wallaroo.worker._frozen_code import FrozenCode
from wallaroo.worker._lifecycle import Lifecycle

_NAME_A_FILE = "give the path of the application's .py file, or a module's name"
_DEFINE_SETUP = (
    "define application_setup(args) and return wallaroo.build_application(...) or ApplicationBuilder(...)...build()"
)


class Loaded(NamedTuple):
    """An application that is ready to be planned, and what to run when the worker stops."""

    application: Application
    codec: ValueCodec
    lifecycle: Lifecycle


class LoadError(Exception):
    """The application cannot be used; ``refused`` tells the orchestrator why."""

    def __init__(self, kind: str, message: str, hint: str | None, error: BaseException | None = None) -> None:
        super().__init__(message)
        trace = user_traceback(error) if error is not None else None
        self.refused = Refused(kind, " ".join(message.split("\n")), hint, trace or None)


def load(application: str, args: list[str], copies: str | None = None) -> Loaded:
    """Import ``application``, call its ``application_setup``, and run its hooks.

    The hooks run here, before the topology is sent: the first worker that cannot load the application ends the run.

    Args:
        application: Path of a ``.py`` file, or a module's name.
        args: The words after it on the command line.
        copies: Folder of the copies of the edition's code; ``None``: the code is not frozen.

    Raises:
        LoadError: It cannot be imported, or does not describe an application.
    """
    described, module = _describe(application, args, copies)
    return Loaded(described, codec_of(module), _start(described))


def describe(application: str, args: list[str], copies: str | None = None) -> Application:
    """Import ``application`` and call its ``application_setup``. No hook is run: no step is, either.

    Args:
        application: As for :func:`load`.
        args: As for :func:`load`.
        copies: As for :func:`load`.

    Raises:
        LoadError: As for :func:`load`.
    """
    described, _ = _describe(application, args, copies)
    return described


def _describe(application: str, args: list[str], copies: str | None) -> tuple[Application, ModuleType]:
    module = _import(application, args, copies)
    setup = getattr(module, "application_setup", None)
    if setup is None:
        raise LoadError("import", f"{application} has no application_setup", _DEFINE_SETUP)
    if not callable(setup):
        raise LoadError("import", f"application_setup of {application} is not a function", _DEFINE_SETUP)
    return _set_up(application, setup, args), module


def import_application(application: str) -> None:
    """Import ``application`` and no more, so that its classes can be found.

    Raises:
        LoadError: It cannot be imported.
    """
    _import(application, [], None)


def _import(application: str, args: list[str], copies: str | None) -> ModuleType:
    if not application:
        raise LoadError("import", "the name of the application is empty", _NAME_A_FILE)
    is_path = application.endswith(".py") or os.sep in application
    if os.path.isdir(application) and (is_path or not os.path.isfile(os.path.join(application, "__init__.py"))):
        raise LoadError("import", f"{os.path.abspath(application)} is a folder", _NAME_A_FILE)
    if not is_path and application.startswith("."):
        raise LoadError("import", f"{application} is not the name of a module", _NAME_A_FILE)
    sys.argv = [application, *args]
    try:
        module = _import_path(application, copies) if is_path else _import_module(application, copies)
    except LoadError:
        raise
    except WallarooParameterError as error:
        # A decorator's complaint.
        raise LoadError("topology", error.message, error.hint, error) from None
    except BaseException as error:  # noqa: BLE001 - whatever a module may do when imported
        raise LoadError("import", _raised(f"{application} could not be imported", error), _hint(error), error) from None
    sys.argv[0] = os.path.abspath(getattr(module, "__file__", None) or application)
    return module


def _import_path(path: str, copies: str | None) -> ModuleType:
    path = os.path.abspath(path)
    name, suffix = os.path.splitext(os.path.basename(path))
    code = _freeze(os.path.dirname(path), copies)
    loader = code.loader(name, path) if code is not None and suffix == ".py" else None
    if loader is None and not os.path.isfile(path):
        raise LoadError("import", f"{path} is not a file", _NAME_A_FILE)
    sys.argv[0] = path
    if name in sys.modules or name in _standard_library():
        raise LoadError(
            "import",
            f"{path}: there is a module named {name} already",
            "rename the file: it is imported under its own name",
        )
    _put_first_on_path(os.path.dirname(path))
    # Under its own name and not as __main__: its classes are pickled by name and found by that name in other workers.
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    if spec is None or spec.loader is None:
        raise LoadError("import", f"{path} is not a Python file", "the application's name ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _standard_library() -> frozenset[str]:
    # Since Python 3.10.
    return getattr(sys, "stdlib_module_names", frozenset())


def _put_first_on_path(folder: str) -> None:
    """Look for modules in ``folder`` first: ``python app.py`` does so in its folder, ``python -m`` in the current one.

    Until then no folder comes before the standard library: the orchestrator starts workers in that way.
    """
    sys.path.insert(0, folder)


def _freeze(folder: str, copies: str | None) -> FrozenCode | None:
    if copies is None:
        return None
    code = FrozenCode(copies, folder)
    code.install()
    return code


def _import_module(name: str, copies: str | None) -> ModuleType:
    _freeze(os.getcwd(), copies)
    _put_first_on_path(os.getcwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            hint = f"give the path of a .py file, or a module that `{sys.executable} -m {name}` would find"
            raise LoadError("import", f"there is no module named {error.name}", hint) from None
        raise


def _set_up(application: str, setup: Any, args: list[str]) -> Application:
    try:
        described = setup(list(args))
    except WallarooParameterError as error:
        raise LoadError("topology", error.message, error.hint, error) from None
    except SystemExit as error:
        message = f"application_setup of {application} called sys.exit({error.code!r})"
        raise LoadError(
            "setup", message, "check the application's arguments, after its name on the command line"
        ) from None
    except BaseException as error:  # noqa: BLE001
        raise LoadError(
            "setup", _raised(f"application_setup of {application} failed", error), _hint(error), error
        ) from None
    if isinstance(described, Application):
        return described
    hint = "end it with: return ab.build(), or return wallaroo.build_application(...)"
    if isinstance(described, ApplicationBuilder):
        hint = "it returned the builder: return ab.build() instead of ab"
    if isinstance(described, Pipeline):
        hint = "it returned a pipeline: return wallaroo.build_application(name, pipeline)"
    message = f"application_setup of {application} returned {type(described).__name__}, not a built application"
    raise LoadError("topology", message, hint)


def _start(application: Application) -> Lifecycle:
    try:
        lifecycle = Lifecycle(application, started.all(), stopped.all())
    except WallarooParameterError as error:
        raise LoadError("topology", error.message, error.hint, error) from None
    for hook in lifecycle.starts:
        try:
            hook.call()
        except BaseException as error:  # noqa: BLE001 - the user's
            raise LoadError("setup", _raised(f"{hook.what} failed", error), _hint(error), error) from None
    return lifecycle


def codec_of(module: ModuleType) -> ValueCodec:
    """Return the value codec of an application: by its ``serialize`` and ``deserialize``, if it has both."""
    serialize, deserialize = getattr(module, "serialize", None), getattr(module, "deserialize", None)
    if callable(serialize) and callable(deserialize):
        return ValueCodec(serialize, deserialize)
    return ValueCodec()


def _raised(what: str, error: BaseException) -> str:
    first_line = exception_message(error).split("\n", 1)[0]
    return f"{what}: {exception_type(error)}: {first_line}"


def _hint(error: BaseException) -> str | None:
    if isinstance(error, ModuleNotFoundError):
        return f"install {error.name} for {sys.executable}, or choose the interpreter that has it with --python"
    if isinstance(error, SyntaxError):
        version = ".".join(map(str, sys.version_info[:2]))
        return f"the worker's interpreter is Python {version}; choose another with --python if the code is for another"
    if isinstance(error, SystemExit):
        return "an application is imported, not run: put what ends the process under if __name__ == '__main__'"
    if isinstance(error, IndexError):
        return "are the application's arguments complete? They come after its name on the command line"
    return None

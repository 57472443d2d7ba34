"""The command line of a connector script, and the application and the connector that it names."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any, TypeVar, Union

from wallaroo._legacy.builder import ApplicationBuilder
from wallaroo._pipeline.pipeline import Pipeline
from wallaroo._pipeline.topology import Application, SinkNode, SourceNode
from wallaroo.experimental._configs import SinkConnectorConfig, SourceConnectorConfig
from wallaroo.experimental._errors import ConnectorError

C = TypeVar("C", bound=Union[SourceConnectorConfig[Any], SinkConnectorConfig[Any]])


def parse_connector_args(
    args: Sequence[str], required_params: Sequence[str] = (), optional_params: Sequence[str] = ()
) -> argparse.Namespace:
    """Read the command line of a connector script. It ends the process, as :mod:`argparse` does, if a word is missing.

    Other words are left alone: they are the application's.

    Args:
        args: The words, without the script's name.
        required_params: Parameters of the script that must be given, as ``--CONNECTOR-PARAM``.
        optional_params: Parameters that may be given; ``None`` if they are not.

    Returns:
        An object with the attributes ``application``, ``connector_name``, and one for each parameter.

    Example:
        >>> words = ["--application-module", "celsius", "--connector", "feed", "--feed-port", "8801"]
        >>> params = parse_connector_args(words, required_params=["port"], optional_params=["host"])
        >>> params.application, params.connector_name, params.port, params.host
        ('celsius', 'feed', '8801', None)
    """
    return parsed(args, required_params, optional_params)[0]


def parsed(
    args: Sequence[str], required_params: Sequence[str], optional_params: Sequence[str]
) -> tuple[argparse.Namespace, list[str]]:
    """Return what :func:`parse_connector_args` does, and the words that are the application's."""
    # No abbreviations: an option of the application must not be taken for one of the script.
    prefix = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    prefix.add_argument("--connector", nargs="?")
    connector = prefix.parse_known_args(args)[0].connector or "CONNECTOR"
    parser = argparse.ArgumentParser(
        allow_abbrev=False, epilog="Other words are passed on to application_setup of the application."
    )
    parser.add_argument(
        "--application-module", dest="application", metavar="MODULE", required=True, help="name of the application"
    )
    parser.add_argument(
        "--connector", dest="connector_name", metavar="NAME", required=True, help="name of its connector"
    )
    for required, params in ((True, required_params), (False, optional_params)):
        for param in params:
            parser.add_argument(f"--{connector}-{param}", dest=param, metavar=param.upper(), required=required)
    return parser.parse_known_args(args)


def source_connector(params: argparse.Namespace, words: Sequence[str]) -> SourceConnectorConfig[Any]:
    """Return the config of the source connector that ``params`` name; ``words`` are those of the application.

    Raises:
        ConnectorError: The application cannot be found, or has no such connector.
    """
    application = _application(params.application, words)
    found = [source for source in _sources(application) if source.name == params.connector_name]
    return _only(application, "source", params.connector_name, found)


def sink_connector(params: argparse.Namespace, words: Sequence[str]) -> SinkConnectorConfig[Any]:
    """Return the config of the sink connector that ``params`` name; ``words`` are those of the application.

    Raises:
        ConnectorError: As for :func:`source_connector`.
    """
    application = _application(params.application, words)
    found = [sink for sink in _sinks(application) if sink.name == params.connector_name]
    return _only(application, "sink", params.connector_name, found)


def _sources(application: Application) -> Iterator[SourceConnectorConfig[Any]]:
    for node in application.nodes:
        if isinstance(node, SourceNode) and isinstance(node.source, SourceConnectorConfig):
            yield node.source


def _sinks(application: Application) -> Iterator[SinkConnectorConfig[Any]]:
    for node in application.nodes:
        if isinstance(node, SinkNode) and isinstance(node.sink, SinkConnectorConfig):
            yield node.sink


def _only(application: Application, side: str, name: str, found: Sequence[C]) -> C:
    """Return the config that was found; several are one if they have one address."""
    if not found:
        known = {
            "source": list(dict.fromkeys(source.name for source in _sources(application))),
            "sink": list(dict.fromkeys(sink.name for sink in _sinks(application))),
        }
        other = "sink" if side == "source" else "source"
        shown = "; ".join(f"its {each} connectors are {', '.join(known[each]) or 'none'}" for each in (side, other))
        what = f"; that is a {other} connector, and this script is of a {side}" if name in known[other] else ""
        raise ConnectorError(
            f"--connector {name}: application {application.name!r} has no {side} connector of that name{what}",
            hint=shown,
        )
    places = list(dict.fromkeys(f"{config.host}:{config.port}" for config in found))
    if len(places) > 1:
        raise ConnectorError(
            f"--connector {name}: application {application.name!r} has several {side} connectors of that name, at"
            f" {' and '.join(places)}",
            hint="give each its own name",
        )
    return found[0]


def _application(name: str, words: Sequence[str]) -> Application:
    setup = getattr(_imported(name), "application_setup", None)
    if not callable(setup):
        raise ConnectorError(
            f"--application-module {name}: it has no function application_setup",
            hint="give the module that wallaroo-orch run is given",
        )
    application = setup(list(words))
    if isinstance(application, Application):
        return application
    hint = "end it with: return wallaroo.build_application(...)"
    if isinstance(application, (ApplicationBuilder, Pipeline)):
        hint = "end it with: return ab.build(), or return wallaroo.build_application(name, pipeline)"
    raise ConnectorError(
        f"--application-module {name}: application_setup returned {type(application).__name__}, not an application",
        hint=hint,
    )


def _imported(name: str) -> ModuleType:
    """Import the application as a worker does: from the current folder, or from the folder of the file."""
    path = os.path.abspath(name) if name.endswith(".py") or os.sep in name else None
    folder = os.getcwd() if path is None else os.path.dirname(path)
    if path is not None and not os.path.isfile(path):
        raise ConnectorError(
            f"--application-module {name}: {path} is not a file", hint="give the path of a .py file, or a module's name"
        )
    if folder not in sys.path:
        sys.path.insert(0, folder)
    module_name = name if path is None else os.path.splitext(os.path.basename(path))[0]
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise ConnectorError(
            f"--application-module {name}: there is no module named {error.name} in {folder} or on PYTHONPATH",
            hint="run the script in the application's folder, or give the path of the application's .py file",
        ) from None
    found = getattr(module, "__file__", None)
    if path is not None and (found is None or not os.path.samefile(found, path)):
        raise ConnectorError(
            f"--application-module {name}: there is a module named {module_name} already, {found}",
            hint="rename the file: it is imported under its own name",
        )
    return module

"""Every public name says what it is, what it takes and raises, and shows it in an example that the doctests run."""

from __future__ import annotations

import doctest
import inspect
from pathlib import Path

import pytest

import wallaroo
import wallaroo.client
import wallaroo.connectors
import wallaroo.experimental
import wallaroo.testing

NAMES = [
    *((wallaroo, name) for name in wallaroo.__all__ if name not in ("__version__", "Keyed", "metrics")),
    *((wallaroo, name) for name in ("max", "min", "sum")),
    *(
        (module, name)
        for module in (wallaroo.client, wallaroo.connectors, wallaroo.experimental, wallaroo.metrics, wallaroo.testing)
        for name in module.__all__
    ),
]
# What is started is no example for a doctest: shown, and run by the end-to-end tests.
SHOWN = {"Orchestrator"}
# Users name these in annotations or ``except``, and do not call them.
MADE_BY_OTHERS = {
    "Application",
    "Branches",
    "Codec",
    "Computation",
    "ConnectorError",
    "Context",
    "Counter",
    "Decoder",
    "Encoder",
    "Gauge",
    "Histogram",
    "KeyExtractor",
    "KeyedPipeline",
    "Pipeline",
    "RunStoppedError",
    "SinkConfig",
    "SourceConfig",
    "StreamError",
    "StreamMessageDecoder",
    "StreamMessageEncoder",
    "Table",
    "UnsavedStateError",
    "UnsavedStateWarning",
    "WindowedPipeline",
}


def public_methods(thing):
    if not inspect.isclass(thing):
        return {}
    members = inspect.getmembers(thing, lambda member: inspect.isfunction(member) or isinstance(member, property))
    # PyPy's exceptions have methods that are functions.
    return {name: member for name, member in members if not name.startswith("_") and _is_ours(member)}


def _is_ours(member):
    function = member.fget if isinstance(member, property) else member
    return (function.__module__ or "").startswith("wallaroo")


@pytest.mark.parametrize(("module", "name"), NAMES, ids=[name for _, name in NAMES])
def test_a_public_name_is_documented(module, name):
    thing = getattr(module, name)
    text = inspect.getdoc(thing) or ""
    for parameter in () if name in MADE_BY_OTHERS else parameters(thing):
        assert f"{parameter}:" in text, f"{name} does not say what {parameter} is"
    if name in SHOWN:
        assert "Example:" in text
    else:
        (found,) = doctest.DocTestFinder(recurse=False).find(thing, name)
        assert found.examples, f"{name} has no example that runs"


@pytest.mark.parametrize(("module", "name"), NAMES, ids=[name for _, name in NAMES])
def test_so_are_its_methods(module, name):
    for method_name, method in public_methods(getattr(module, name)).items():
        text = inspect.getdoc(method) or ""
        assert text, f"{name}.{method_name} says nothing of itself"
        for parameter in () if isinstance(method, property) else parameters(method):
            assert f"{parameter}:" in text, f"{name}.{method_name} does not say what {parameter} is"


def test_the_reference_has_every_public_name():
    pages = (Path(__file__).parents[1] / "docs" / "reference").glob("*.md")
    found = [line[4:] for page in pages for line in page.read_text().splitlines() if line.startswith("::: ")]
    assert sorted(found) == sorted(f"{module.__name__}.{name}" for module, name in NAMES)


def parameters(thing):
    if inspect.isclass(thing) and issubclass(thing, BaseException):
        thing = thing.__init__
    try:
        found = inspect.signature(thing).parameters.values()
    except ValueError:
        return []
    named = [each.name for each in found if each.kind not in (each.VAR_KEYWORD,)]
    return [each for each in named if not each.startswith("_") and each not in ("self", "cls")]

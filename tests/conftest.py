"""Fixtures of the end-to-end tests."""

import pytest

from tests.harness.clients import Consumer
from tests.harness.interpreters import discover, environment, missing

_FOUND = discover()


def pytest_addoption(parser):
    parser.addoption("--restarts", type=int, default=30, help="times that a worker is killed to look for leaks")
    parser.addoption("--examples", type=int, default=25, help="random applications of each kind run both ways")


def pytest_report_header():
    names = ", ".join(interpreter.name for interpreter in _FOUND)
    return [f"interpreters: {names}", f"not on this machine: {', '.join(missing(_FOUND)) or 'none'}"]


def pytest_generate_tests(metafunc):
    if "interpreter" in metafunc.fixturenames:
        metafunc.parametrize("interpreter", _FOUND, ids=lambda interpreter: interpreter.name, indirect=True)


@pytest.fixture
def interpreter(request):
    """The Python of each interpreter in turn, with the wheel installed."""
    return environment(request.param)


@pytest.fixture
def consumer():
    """A listening consumer."""
    with Consumer() as consumer:
        yield consumer

"""Connectors as Wallaroo 0.6 had them: an application and its two scripts, each a process of its own."""

import subprocess
import sys

import pytest

from tests.harness.orchestrator import PATIENCE, Orchestrator
from tests.harness.places import APPS
from tests.harness.scripts import Script, free_port

FOLDER = APPS / "connector_scripts"
APP = FOLDER / "connected.py"
MESSAGES = 2_000


@pytest.fixture
def ports():
    return [free_port(), free_port()]


def feed(*args, **options):
    return Script(FOLDER / "feed.py", "connected", "feed", *args, cwd=FOLDER, **options)


def results(*args, **options):
    return Script(FOLDER / "results.py", "connected", "results", *args, cwd=FOLDER, **options)


def run_messages(ports, python=sys.executable, **options):
    texts = [f"text {number}" for number in range(MESSAGES)]
    with results(*ports, python=python) as sink, feed(*ports, python=python) as source:
        with Orchestrator(APP, *ports, python=python, **options) as run:
            source.write(*texts)
            assert sink.line() == "listening"
            assert sink.lines(MESSAGES) == texts
            run.stop()
            assert run.summary()["dead_letters"] == 0


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_every_message_comes_out_in_order(workers, ports):
    run_messages(ports, workers=workers)


def test_scripts_of_every_interpreter(ports, interpreter):
    run_messages(ports, python=interpreter)


@pytest.mark.parametrize("way", ["datetime", "milliseconds"])
@pytest.mark.parametrize("workers", [1, 2])
def test_event_times_come_to_windows(way, workers, ports):
    words = [*ports, "windowed"]
    with results(*words) as sink, feed(*words, "--feed-as", way) as source:
        with Orchestrator(APP, *words, workers=workers) as run:
            source.write("a1@1777636800", "b1@1777636805.5", "a2@1777636809.999", "a3@1777636810", "a4@1777636800")
            # What has passed the windows of all keys.
            source.write("end@1777636820")
            assert sink.line() == "listening"
            # By the clock, no window would have ended yet.
            assert sorted(sink.lines(3)) == ["a: a1 a2", "a: a3", "b: b1"]
            run.stop()
            assert sink.line() == "e: end"
            assert run.summary()["late"] == 1


def test_scripts_wait_for_the_application(ports):
    with feed(*ports) as source:
        assert source.error().startswith(f"connector 'feed': cannot connect to 127.0.0.1:{ports[0]}: ")
        source.write("early")
        with Orchestrator(APP, *ports) as run:
            # It says so again every ten seconds.
            while (said := source.error()) != f"connector 'feed': connected to 127.0.0.1:{ports[0]}":
                assert "cannot connect" in said
            assert source.line() == "written early"
            run.wait_for("sink is down, its messages are kept")
            with results(*ports) as sink:
                assert sink.lines(2) == ["listening", "early"]
            run.stop()


def test_scripts_outlive_the_application(ports):
    with results(*ports) as sink, feed(*ports) as source:
        assert sink.line() == "listening"
        for number in range(3):
            with Orchestrator(APP, *ports) as run:
                run.ready()
                source.write(f"text {number}")
                assert sink.line() == f"text {number}"
                run.stop()


def test_results_are_kept_while_their_script_is_away(ports):
    with feed(*ports) as source, Orchestrator(APP, *ports) as run:
        with results(*ports) as sink:
            source.write("one")
            assert sink.lines(2) == ["listening", "one"]
        run.wait_for("sink is down, its messages are kept")
        source.write("two")
        with results(*ports) as sink:
            assert sink.lines(2) == ["listening", "two"]
        run.stop()


def test_an_unknown_connector_is_named(ports):
    with Script(FOLDER / "feed.py", "connected", "fed", *ports, cwd=FOLDER) as script:
        code, said = script.wait()
    assert code == 1
    assert said.endswith(
        "--connector fed: application 'connected' has no source connector of that name\n"
        "hint: its source connectors are feed; its sink connectors are results"
    )


def test_a_missing_word_is_named():
    command = [sys.executable, FOLDER / "feed.py", "--connector", "feed"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ran.returncode == 2
    assert ran.stderr.endswith("error: the following arguments are required: --application-module\n")


def test_a_script_that_runs_twice(ports):
    with results(*ports) as sink:
        assert sink.line() == "listening"
        with results(*ports) as second:
            code, said = second.wait()
    assert code == 1
    assert said.endswith("hint: does the script run already? End it, or give the SinkConnectorConfig another port")

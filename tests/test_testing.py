"""``wallaroo.testing``: its runs in one process come to what the real thing comes to, and its fixtures."""

import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import wallaroo.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.harness.orchestrator import PATIENCE, Orchestrator, read_dead_letters
from tests.harness.places import APPS, WORD_COUNT, orchestrator_command

STEPS = st.sampled_from(
    ["upper", "no vowels", "raises", "words", "batch", "number", "twice", "whole", "strange", "collect", "branches"]
)
TEXTS = st.lists(st.text("aqxz b", max_size=8), max_size=12)
PIPELINES = st.lists(st.tuples(TEXTS, st.lists(STEPS, max_size=5)), min_size=1, max_size=3)


def shaped():
    sys.path.insert(0, str(APPS))
    try:
        return importlib.import_module("shaped")
    finally:
        sys.path.remove(str(APPS))


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(PIPELINES, st.integers(1, 3), st.integers(1, 5))
def test_in_one_process_it_comes_to_what_it_comes_to_in_several(pipelines, workers, batch):
    with tempfile.TemporaryDirectory() as folder:
        shape, inputs = [], {}
        for number, (lines, steps) in enumerate(pipelines):
            path = Path(folder) / f"in {number}.txt"
            path.write_text("".join(f"{line}\n" for line in lines))
            shape.append((str(path), steps))
            inputs[f"source {number}"] = lines
        sinks = [str(Path(folder) / f"out {number}.txt") for number in range(2)]
        args = [json.dumps(shape), *sinks]
        letters = Path(folder) / "dead.jsonl"
        options = ["--dead-letters", letters, "--standbys", "0"]
        with Orchestrator(APPS / "shaped.py", *args, workers=workers, options=options) as real:
            assert real.wait() == 0, real.log()
        outcome = wallaroo.testing.run(shaped(), inputs, args=args, batch=batch)
        for sink in sinks:
            written = b"".join(outcome.outputs[f"file {sink}"]).decode().splitlines()
            assert Counter(Path(sink).read_text().splitlines()) == Counter(written)
        expected = Counter(
            (letter.step, letter.exception, letter.message, letter.shown_value, key(letter.key))
            for letter in outcome.dead_letters
        )
        fields = ("step", "exception", "message", "value", "key")
        assert Counter(tuple(letter[field] for field in fields) for letter in read_dead_letters(letters)) == expected


def key(value):
    return None if value is None else repr(value)


FIXTURES = """
from wallaroo.testing import frames

def test_a_worker_may_die(wallaroo_orch, wallaroo_sink):
    app = wallaroo_orch({app!r}, "--in", "127.0.0.1:0", "--out", wallaroo_sink.address, workers=2)
    app.send(frames(["to be or", b"\\xff"]))
    assert sorted(wallaroo_sink.wait_lines(3)) == ["be => 1", "or => 1", "to => 1"]
    killed = app.kill_worker()
    app.send(frames(["not to be"]))
    lines = wallaroo_sink.wait_lines(6)
    assert sorted(lines[3:]) == ["be => 2", "not => 1", "to => 2"]
    app.wait_for("killed by SIGKILL")
    assert killed not in app.workers()
    app.stop()
    (letter,) = app.dead_letters()
    assert letter["exception"] == "UnicodeDecodeError"

def test_what_cannot_run_says_why(wallaroo_orch):
    import pytest
    app = wallaroo_orch({app!r})
    with pytest.raises(AssertionError, match="--in is missing"):
        app.address()
"""


def test_the_fixtures(tmp_path):
    (tmp_path / "test_app.py").write_text(FIXTURES.format(app=str(WORD_COUNT)))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "wallaroo._pytest_plugin", "-p", "no:cacheprovider"]
    # Where the wheel is installed pytest would find the plugin a second time.
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "WALLAROO_ORCH": orchestrator_command()}
    ran = subprocess.run(
        [*command, tmp_path],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "2 passed" in ran.stdout

"""What Python's logging writes says its level, however the application configures it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import wallaroo
import wallaroo.testing
from wallaroo.worker._marker import Marker
from wallaroo.worker._running_step import Steps

SOURCE = Path(wallaroo.__file__).parents[1]
LOG = """
log = logging.getLogger("app")
log.debug("d"); log.info("i"); log.warning("w"); log.error("e"); log.critical("c")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("x")
"""


def written(code, stream="stderr"):
    start = f"import sys; sys.path.insert(0, {str(SOURCE)!r}); from wallaroo.worker._log_levels import mark_levels\n"
    ran = subprocess.run([sys.executable, "-c", start + code + LOG], capture_output=True, text=True, check=True)
    return getattr(ran, stream).replace("\x1e", "^").splitlines()


@pytest.mark.parametrize("start", ["mark_levels(); import logging", "import logging; mark_levels()"])
def test_a_record_is_one_line_that_says_its_level_whenever_logging_is_imported(start):
    warning, error, critical, traceback = written(start)
    assert [warning, error, critical] == ["^Wapp: w", "^Eapp: e", "^Eapp: c"]
    lines = traceback.split("\\n")
    assert lines[:2] == ["^Eapp: x", "Traceback (most recent call last):"]
    assert lines[-1] == "ZeroDivisionError: division by zero"


def test_the_format_of_the_application_stays_and_its_line_ends_are_escaped():
    format = "'%(levelname)s\\n%(message)s\\r\\n'"
    lines = written(f"mark_levels(); import logging; logging.basicConfig(level=10, format={format})")
    assert lines[:5] == [
        "^DDEBUG\\nd\\n",
        "^IINFO\\ni\\n",
        "^WWARNING\\nw\\n",
        "^EERROR\\ne\\n",
        "^ECRITICAL\\nc\\n",
    ]
    assert lines[5].endswith("ZeroDivisionError: division by zero")
    assert len(lines) == 6


def test_handlers_of_standard_output_are_marked_and_others_are_not(tmp_path):
    configured = f"mark_levels(); import logging; logging.basicConfig(filename={str(tmp_path / 'log')!r});"
    assert written(configured) == []
    assert (tmp_path / "log").read_text().splitlines()[0] == "WARNING:app:w"
    configured = "mark_levels(); import logging; logging.basicConfig(stream=sys.stdout)"
    assert written(configured, "stdout")[0] == "^Wapp: w"


@pytest.mark.parametrize("character", ["x", "€", "\U0001f375"])
def test_a_record_longer_than_a_line_of_the_orchestrators_log_goes_on_in_further_ones(character):
    text = character * 9_000
    first, *rest = written(f"mark_levels(); import logging; logging.error({text!r})")[:-4]
    assert first.startswith("^Eroot: " + character)
    lines = [first, *rest]
    assert all(line.startswith("^E") and len(line.encode()) <= 8_192 for line in lines)
    assert "".join(line[2:] for line in lines) == "root: " + text


def test_a_handler_that_fails_reports_it_as_logging_does():
    broken = "mark_levels(); import logging; logging.basicConfig(format='%(nothing)s')"
    assert "--- Logging error ---" in written(broken)


STEPS = """
import asyncio, functools, logging, sys, threading
import wallaroo, wallaroo.testing
from wallaroo.worker._log_levels import mark_levels
from wallaroo.worker._marker import Marker
from wallaroo.worker._running_step import Steps, know_steps

mark_levels()
log = logging.getLogger("app")

class Lines:
    delimiter = b"\\n"
    def decode(self, bs):
        log.error("decodes")
        return bs.decode()
    def encode(self, data):
        log.error("encodes")
        return data

class Shout:
    def __call__(self, data):
        self.say()
        return data.upper()
    def say(self):
        log.error("shouts")

def noted(function):
    @functools.wraps(function)
    def wrapper(*args):
        log.error("wraps")
        return function(*args)
    return wrapper

@noted
def plain(data):
    inner(data)
    return data

@wallaroo.computation_multi(name="inner")
def inner(data):
    log.error("yields")
    yield data

async def fetch(data):
    await asyncio.sleep(0)
    log.error("fetches")
    return data

@wallaroo.state_computation(name="count", state=dict)
def count(data, state):
    thread = threading.Thread(target=log.error, args=("counts in a thread",))
    thread.start()
    thread.join()
    log.error("counts")
    return data

@wallaroo.key_extractor
def by_itself(data):
    log.error("keys")
    return data

class Last(wallaroo.Aggregation):
    def initial_accumulator(self):
        return []
    def update(self, data, accumulator):
        log.error("updates")
        accumulator.append(data)
    def output(self, key, accumulator):
        return accumulator[-1]

pipeline = wallaroo.source("in", wallaroo.stdin(Lines)).to(wallaroo.computation(name="shout")(Shout()))
pipeline = pipeline.to(wallaroo.computation(name="plain")(plain)).to(inner).map_async(fetch).key_by(by_itself).to(count)
pipeline = pipeline.to(wallaroo.count_windows(1).over(Last)).to_sink(wallaroo.stdout(Lines))
app = wallaroo.build_application("app", pipeline)
know_steps(Steps(app, Marker(None)))
wallaroo.testing.run(app, ["tea"])
log.error("between steps")
"""


def test_a_record_says_in_which_step_it_was_logged():
    ran = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(SOURCE)!r})\n{STEPS}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line[2:] for line in ran.stderr.split("\n")[:-1]] == [
        "app: decodes (step in)",
        "app: shouts (step shout)",
        "app: wraps (step plain)",
        "app: yields (step inner)",
        "app: fetches (step fetch)",
        "app: keys (step by_itself)",
        "app: counts in a thread",
        "app: counts (step count)",
        "app: updates (step Last)",
        "app: encodes (step stdout)",
        "app: between steps",
    ]


def test_of_steps_that_run_the_same_code_the_marker_says_which():
    def parse(data):
        return steps.running(sys._getframe())

    step = wallaroo.computation(name="parse")(parse)
    pipeline = wallaroo.source("in", wallaroo.stdin(wallaroo.lines())).to(step).to(step)
    app = wallaroo.build_application("app", pipeline.to_sink(wallaroo.stdout(wallaroo.lines())))
    marker = Marker(None)
    steps = Steps(app, marker)
    assert parse("x") is None
    for node, name in ((1, "parse"), (2, "parse-2")):
        marker.entering(1, node)
        assert parse("x") == name
    marker.idle(1)
    assert parse("x") is None


def test_of_objects_of_one_class_each_is_its_own_step():
    class Step:
        def __init__(self, name):
            self.name = name

        def __call__(self, data):
            assert steps.running(sys._getframe()) == self.name
            return data

        method = __call__

    first, second, third = Step("first"), Step("second"), Step("third")
    pipeline = wallaroo.source("in", wallaroo.stdin(wallaroo.lines()))
    for name, call in (("first", first), ("second", second), ("third", third.method)):
        pipeline = pipeline.to(wallaroo.computation(name=name)(call))
    app = wallaroo.build_application("app", pipeline.to_sink(wallaroo.stdout(wallaroo.lines())))
    steps = Steps(app, Marker(None))
    assert wallaroo.testing.run(app, ["x"], raises=True).lines == ["x"]


def test_a_worker_does_not_import_logging():
    start = f"import sys; sys.path.insert(0, {str(SOURCE)!r}); import wallaroo.worker.__main__\n"
    code = start + "print('logging' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"


def test_a_function_inside_a_verb_is_in_the_step_of_that_verb():
    found = []

    def look(*arguments):
        found.append(steps.running(sys._getframe()))
        return 1

    source = wallaroo.source("in", wallaroo.stdin(wallaroo.lines()))
    aggregates = [source.sum(look), source.mean(look), source.min(look), source.max(look), source.dedup(look)]
    window = source.window(wallaroo.count_windows(1))
    windows = [window.aggregate(each(look)) for each in (wallaroo.sum, wallaroo.mean)]
    branches = [*aggregates, source.reduce(look), *windows]
    sinks = [branch.map(str).sink(wallaroo.stdout(wallaroo.lines())) for branch in branches]
    for sink in sinks:
        # One at a time: the marker of a test does not say which of them runs.
        app = wallaroo.application("app", sink)
        steps = Steps(app, Marker(None))
        wallaroo.testing.run(app, ["a", "b"], batch=1)
        assert set(found) == {app.nodes[2].name}
        found.clear()

"""``wallaroo-orch state``: what a run has kept is shown, printed, checked and changed while no run uses it."""

import json
import sys

import pytest

from tests.harness.clients import frames, send
from tests.harness.control import command
from tests.harness.orchestrator import Orchestrator
from tests.harness.places import APPS, WORD_COUNT

APP = APPS / "shaped.py"
TABLE = "number 0.0"
SOURCE = "source 0"
WORDS = ["tea", "tea", "cup"] * 100
INPUT = "".join(f"{word}\n" for word in WORDS)


def state(what, folder, *words):
    """Runs a command and returns its exit code, standard output and standard error."""
    ended = command("state", what, folder, *words)
    return ended.returncode, ended.stdout, ended.stderr


def run(folder, path, sink):
    """A run that saves states at once: its journal may hold nothing."""
    shape = json.dumps([[str(path), ["number"]]])
    return Orchestrator(APP, shape, sink, workers=1, options=["--state", folder, "--replay-budget", "1ms"])


@pytest.fixture
def stopped(tmp_path):
    """The state folder of a run that has ended; its input and its output are beside it."""
    (tmp_path / "in.txt").write_text(INPUT)
    with run(tmp_path / "state", tmp_path / "in.txt", tmp_path / "out.txt") as application:
        assert application.wait() == 0, application.log()
    return tmp_path / "state"


def files(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def stored(folder):
    """What ``export`` prints, by key."""
    code, output, errors = state("export", folder, "--python", sys.executable, "--app", APP)
    assert code == 0, errors
    return {line["key"]: line["state"] for line in map(json.loads, output.splitlines())}


def test_what_a_stopped_run_has_kept_is_shown(stopped):
    before = files(stopped)
    code, output, errors = state("show", stopped, "--json")
    assert code == 0, errors
    shown = json.loads(output)
    assert (shown["application"], shown["version"]) == ("Shaped", 2)
    assert shown["last_record"] == shown["checkpoint"] + shown["records_after"]
    (source,) = shown["sources"]
    assert (source["name"], source["position"]) == (SOURCE, len(INPUT))
    (sink,) = shown["sinks"]
    written = (stopped.parent / "out.txt").stat().st_size
    assert (sink["delivered_bytes"], sink["undelivered_bytes"]) == (written, 0)
    (table,) = shown["tables"]
    assert table["name"] == TABLE
    assert [stage["queued_groups"] for stage in shown["stages"]] == [0, 0]
    code, output, errors = state("show", stopped)
    assert code == 0, errors
    assert "application   Shaped\n" in output
    assert f'  state "{TABLE}" "{TABLE}" <- [1]\n' in output
    assert files(stopped) == before


def test_states_are_printed(stopped):
    counts = stored(stopped)
    assert counts.keys() <= {"tea", "cup"}
    _, output, _ = state("show", stopped, "--json")
    (table,) = json.loads(output)["tables"]
    assert table["keys"] == len(counts)
    for key, count in counts.items():
        python = ["--python", sys.executable, "--app", APP]
        code, output, errors = state("get", stopped, TABLE, key, *python)
        assert (code, output) == (0, f"Total(count={count['count']})\n"), errors
        assert state("get", stopped, TABLE, "--key-json", json.dumps(key), *python)[:2] == (code, output)


def test_what_is_not_there_is_named(stopped):
    python = ["--python", sys.executable]
    code, _, errors = state("get", stopped, TABLE, "coffee", *python)
    assert (code, 'no stored state of key "coffee"' in errors) == (1, True), errors
    code, _, errors = state("get", stopped, "totals", "tea", *python)
    assert (code, f'there are "{TABLE}"' in errors) == (2, True), errors
    code, _, errors = state("export", stopped, *python, "--app", "no_such_module")
    assert (code, "no_such_module" in errors) == (3, True), errors
    code, _, errors = state("show", stopped.parent / "nothing")
    assert (code, "hint: give the folder" in errors) == (4, True), errors


def test_damage_is_found_and_nothing_is_changed(stopped):
    code, output, errors = state("verify", stopped)
    assert (code, output.startswith("whole: ")) == (0, True), errors
    (segment,) = (stopped / "log").iterdir()
    content = bytearray(segment.read_bytes())
    content[40] ^= 1
    segment.write_bytes(content)
    before = files(stopped)
    code, output, errors = state("verify", stopped)
    assert (code, output) == (1, ""), errors
    assert f"{segment} is damaged at offset 32: record 1" in errors
    assert files(stopped) == before


def test_a_killed_run_is_read_without_a_change(consumer, tmp_path):
    folder = tmp_path / "state"
    addresses = ["--in", "127.0.0.1:0", "--out", consumer.place]
    with Orchestrator(WORD_COUNT, *addresses, options=["--state", folder]) as application:
        send(application.address(), frames(["to be or not to be"]))
        consumer.wait_count(6)
        code, _, errors = state("show", folder)
        assert (code, "a run is going on" in errors, "wallaroo-orch status" in errors) == (4, True, True), errors
        code, _, errors = state("reset", folder, "--source", "Split and Count", "--to", "start")
        assert (code, "a run is going on" in errors) == (4, True), errors
        application.process.kill()
        application.process.wait()
    before = files(folder)
    code, output, errors = state("verify", folder)
    assert (code, output.startswith("whole: ")) == (0, True), errors
    code, output, errors = state("show", folder, "--json")
    assert (code, json.loads(output)["last_record"] > 0) == (0, True), errors
    assert files(folder) == before
    code, _, errors = state("reset", folder, "--source", "Split and Count", "--to", "start")
    assert (code, "has no position: it is tcp" in errors) == (2, True), errors


def test_part_of_a_file_is_read_again(stopped):
    source, sink = stopped.parent / "in.txt", stopped.parent / "out.txt"
    position = len(INPUT) - len("tea\ntea\ncup\n")
    code, _, errors = state("reset", stopped, "--source", SOURCE, "--to", len(INPUT) + 1)
    assert (code, f"there is no position {len(INPUT) + 1}" in errors) == (2, True), errors
    code, _, errors = state("reset", stopped, "--source", "lines", "--to", "start")
    assert (code, f'there are "{SOURCE}"' in errors) == (2, True), errors
    code, output, errors = state("reset", stopped, "--source", SOURCE, "--to", position)
    assert (code, f"--to {len(INPUT)} undoes this" in output) == (0, True), errors
    with run(stopped, source, sink) as application:
        assert application.wait() == 0, application.log()
    assert sorted(sink.read_text().splitlines()[len(WORDS) :]) == ["cup#101", "tea#201", "tea#202"]
    for to, expected in [("start", None), ("end", len(INPUT))]:
        assert state("reset", stopped, "--source", SOURCE, "--to", to)[0] == 0
        _, output, _ = state("show", stopped, "--json")
        assert json.loads(output)["sources"][0]["position"] == expected

"""Sources and sinks that are written in Python: nothing is lost or doubled, whichever process dies."""

import os
import random
import shutil
import signal
import sqlite3
import sys
import time

import pytest

from tests.harness import processes
from tests.harness.orchestrator import Orchestrator, read_dead_letters
from tests.harness.places import APPS

APP = APPS / "connectors.py"
PATIENCE = 120


def run_app(folder, *args, options=(), **more):
    return Orchestrator(APP, folder / "rows.db", *map(str, args), options=options, cwd=folder, **more)


def rows(folder):
    """The numbers of each partition, in the order in which they were written."""
    found = {}
    with sqlite3.connect(folder / "rows.db", timeout=60) as database:
        for partition, number in database.execute("select partition, number from numbers order by rowid"):
            found.setdefault(partition, []).append(number)
    return found


def count(folder):
    try:
        return sum(map(len, rows(folder).values()))
    except sqlite3.OperationalError:
        return 0


def wait_for_rows(run, folder, wanted):
    deadline = time.monotonic() + PATIENCE
    while count(folder) < wanted:
        assert run.process.poll() is None, run.log()
        assert time.monotonic() < deadline, run.log()
        time.sleep(0.005)


def expected(partitions, end):
    return {f"p{number}": list(range(end)) for number in range(partitions)}


def connectors(run):
    """The process ids of connectors."""
    return [
        pid
        for pid in processes.children(run.pid)
        if any("wallaroo._connector" in word for word in processes.command_line(pid))
    ]


@pytest.mark.parametrize("trouble", ["none", "async", "exit", "fail"])
def test_all_of_it_comes_once_and_in_order(tmp_path, trouble):
    with run_app(tmp_path, 3, 5_000, trouble) as run:
        assert run.wait() == 0, run.log()
        for partition in range(3):
            run.wait_for(f"closed p{partition} behind 4999")
    assert rows(tmp_path) == expected(3, 5_000)


def test_connectors_with_codecs_and_pools(tmp_path):
    with run_app(tmp_path, 2, 1_000, "codec", options=["--pool", f"readers={sys.executable}"]) as run:
        assert run.wait() == 0, run.log()
    assert rows(tmp_path) == expected(2, 1_000)


def test_a_message_that_is_rejected_is_a_dead_letter(tmp_path):
    letters = tmp_path / "letters.jsonl"
    with run_app(tmp_path, 2, 3_000, "reject", options=["--dead-letters", letters]) as run:
        assert run.wait() == 0, run.log()
        assert run.summary()["dead_letters"] == 6
    unlucky = [13, 1_013, 2_013]
    assert rows(tmp_path) == {
        name: [number for number in numbers if number not in unlucky] for name, numbers in expected(2, 3_000).items()
    }
    found = sorted((letter["value"], letter["message"], letter["step"]) for letter in read_dead_letters(letters))
    assert found == sorted(
        (repr((name, number)), f"{number} is unlucky", "connector Table") for name in ("p0", "p1") for number in unlucky
    )


def test_processes_of_connectors_are_killed(tmp_path):
    with run_app(tmp_path, 2, 4_000, "slow") as run:
        for wanted in (500, 1_500, 3_000):
            wait_for_rows(run, tmp_path, wanted)
            for pid in connectors(run):
                os.kill(pid, signal.SIGKILL)
        assert run.wait(PATIENCE) == 0, run.log()
    assert rows(tmp_path) == expected(2, 4_000)


def test_what_is_away_is_in_the_status_until_it_is_back(tmp_path):
    with run_app(tmp_path, 2, 6_000, "away") as run:
        wait_for_rows(run, tmp_path, 500)
        (tmp_path / "away").touch()
        run.wait_for(lambda event: 'sink "connector Table": exit code 1' in event["message"])
        run.wait_for(lambda event: 'source "numbers": exit code 1' in event["message"])
        run.wait_for("the table is away")
        told = run.status()
        assert [told["sources"][0]["health"]["state"], told["sinks"][0]["health"]["state"]] == ["down", "down"]
        assert [problem.partition(" has been down for ")[0] for problem in told["problems"]] == [
            'source "numbers"',
            'sink "connector Table"',
        ]
        assert told["sinks"][0]["health"]["reason"].endswith("exit code 1")
        (tmp_path / "away").unlink()
        assert run.wait(PATIENCE) == 0, run.log()
    assert rows(tmp_path) == expected(2, 6_000)


def test_a_sink_that_is_away_holds_up_no_end_without_messages(tmp_path):
    (tmp_path / "away").touch()
    with run_app(tmp_path, 0, 1, "away") as run:
        run.wait_for("the table is away")
        assert run.wait(PATIENCE) == 0, run.log()


def test_the_orchestrator_is_killed(tmp_path):
    options = ["--state", tmp_path / "state"]
    rng = random.Random(5)
    for _ in range(6):
        with run_app(tmp_path, 2, 60_000, "slow", options=options) as run:
            wait_for_rows(run, tmp_path, count(tmp_path) + rng.randrange(1_500))
            run.signal(signal.SIGKILL)
            run.wait()
    with run_app(tmp_path, 2, 60_000, options=options) as run:
        assert run.wait(PATIENCE) == 0, run.log()
    assert rows(tmp_path) == expected(2, 60_000)


def test_a_state_folder_older_than_the_table_is_refused(tmp_path):
    state, copy = tmp_path / "state", tmp_path / "copy"
    with run_app(tmp_path, 1, 1_000, options=["--state", state]) as run:
        assert run.wait() == 0, run.log()
    shutil.copytree(state, copy)
    with run_app(tmp_path, 1, 2_000, options=["--state", state]) as run:
        assert run.wait() == 0, run.log()
    with run_app(tmp_path, 1, 2_000, options=["--state", copy]) as run:
        assert run.wait() == 1
        assert "the state folder is an older copy of the one that the target goes with" in run.text()
    assert rows(tmp_path) == expected(1, 2_000)


def test_a_run_that_is_suspended_goes_on_behind_what_it_has_read(tmp_path):
    options = ["--state", tmp_path / "state"]
    with run_app(tmp_path, 2, 60_000, "slow", options=options) as run:
        wait_for_rows(run, tmp_path, 1_000)
        run.stop()
    assert 1_000 <= count(tmp_path) < 120_000
    with run_app(tmp_path, 2, 60_000, options=options) as run:
        assert run.wait(PATIENCE) == 0, run.log()
    assert rows(tmp_path) == expected(2, 60_000)

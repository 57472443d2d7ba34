"""Steps in pools of their own, with other interpreters and packages than the main pool."""

import os
import shutil
import signal
import sys

import pytest

from tests.harness.clients import Sender, frames, send
from tests.harness.control import command, output, status
from tests.harness.interpreters import discover, empty_environment, environment_for
from tests.harness.numbered import by_key
from tests.harness.orchestrator import Orchestrator
from tests.harness.places import APPS

APP = APPS / "pooled.py"
KEYS = 20


@pytest.fixture(scope="module")
def modern():
    """The Python of an environment with the new version of the library."""
    return environment_for("pooled-modern", APPS / "pooled_modern.txt")


@pytest.fixture(scope="module")
def legacy():
    """The Python of an environment with the old version of the library."""
    return environment_for("pooled-legacy", APPS / "pooled_legacy.txt")


def messages(count):
    """``count`` version numbers; every third is no longer valid."""
    return [f"k{number % KEYS} {number} 1.{number}" + ("-x!" if number % 3 == 0 else "") for number in range(count)]


def expected(sent):
    """The output lines of each key, in order."""
    lines = {}
    for message in sent:
        key, number, version = message.split(" ")
        old, new = f"20.9 Version {version}", f"24.2 Version {version}"
        if version.endswith("!"):
            old, new = f"20.9 LegacyVersion {version}", "24.2 refuses it"
        of_key = lines.setdefault(key, [])
        of_key.append(f"{key} {number} => {len(of_key) + 1}, {old}, {new}")
    return lines


def pooled(consumer, modern, pool, *args, app=APP, **options):
    places = ["--in", "127.0.0.1:0", "--out", consumer.place, *args]
    return Orchestrator(app, *places, python=modern, options=["--pool", pool] if pool else [], **options)


def workers_of(run, pool="legacy"):
    """The seated workers of a pool."""
    return [worker for worker in status(run)["workers"] if worker["pool"] == pool and worker["seat"]]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("where", ["before", "after", "both"])
def test_two_versions_of_one_library_in_one_pipeline(consumer, modern, legacy, where, workers):
    sent = messages(3000)
    with pooled(consumer, modern, f"legacy={legacy},workers={workers}", "--where", where) as run:
        send(run.address(), frames(sent))
        consumer.wait_count(len(sent))
        assert len(workers_of(run)) == workers
        run.stop()
    assert by_key(consumer.lines()) == expected(sent)


def test_a_pools_workers_killed_in_mid_stream(consumer, modern, legacy):
    sent = messages(3000)
    with pooled(consumer, modern, f"legacy={legacy},workers=2", "--where", "both", "--slow") as run:
        sender = Sender(run.address(), frames(sent))
        for kills in range(1, 6):
            consumer.wait_count(500 * kills)
            others = [worker["pid"] for worker in workers_of(run, None)]
            os.kill(workers_of(run)[kills % 2]["pid"], signal.SIGKILL)
            run.wait_for("slot is back", count=kills)
            assert [worker["pid"] for worker in workers_of(run, None)] == others, "the main pool went on"
        consumer.wait_count(len(sent))
        sender.join()
        run.stop()
    assert by_key(consumer.lines()) == expected(sent)


def test_the_main_pools_workers_killed_in_mid_stream(consumer, modern, legacy):
    sent = messages(2000)
    with pooled(consumer, modern, f"legacy={legacy}", "--where", "both", "--slow") as run:
        sender = Sender(run.address(), frames(sent))
        for kills in range(1, 4):
            consumer.wait_count(500 * kills)
            os.kill(workers_of(run, None)[kills % 2]["pid"], signal.SIGKILL)
            run.wait_for("slot is back", count=kills)
        consumer.wait_count(len(sent))
        sender.join()
        run.stop()
    assert by_key(consumer.lines()) == expected(sent)


@pytest.mark.parametrize("kind", ["oldest", "pypy"])
def test_a_pool_of_another_interpreter(consumer, modern, kind):
    found = discover()
    if kind == "pypy":
        chosen = [interpreter for interpreter in found if interpreter.name.startswith("pypy")]
    else:
        own = "{}{}.{}".format(sys.implementation.name, *sys.version_info[:2])
        older = [interpreter for interpreter in found if interpreter.name.startswith("cpython")]
        older.sort(key=lambda interpreter: int(interpreter.name.rpartition(".")[2]))
        chosen = [interpreter for interpreter in older[:1] if interpreter.name != own]
    if not chosen:
        pytest.skip(f"no {kind} interpreter beside this one")
    python = environment_for(f"pooled-legacy-{chosen[0].name}", APPS / "pooled_legacy.txt", chosen[0].path)
    sent = messages(2000)
    with pooled(consumer, modern, f"legacy={python}", "--where", "both") as run:
        send(run.address(), frames(sent))
        consumer.wait_count(len(sent))
        interpreter = workers_of(run)[0]["interpreter"]
        run.stop()
    assert interpreter["implementation"] + interpreter["version"].rpartition(".")[0] == chosen[0].name
    assert by_key(consumer.lines()) == expected(sent)


def test_a_pool_of_the_file_beside_the_application_is_scaled_and_swapped(consumer, modern, legacy, tmp_path):
    app = shutil.copy(APP, tmp_path)
    (tmp_path / "wallaroo.toml").write_text(
        f'[pool.legacy]\npython = "{legacy}"\nworkers = 1\nworker-memory = "2GiB"\n[pool.unused]\npython = "python3"\n'
    )
    sent = messages(6000)
    with pooled(consumer, modern, None, "--slow", app=app) as run:
        assert "no step names the pool unused, so it has no workers" in run.ready().messages("WARN")
        sender = Sender(run.address(), frames(sent))
        consumer.wait_count(500)
        assert "legacy slot 0" in output("status", "--control", run.control)
        output("scale", "--control", run.control, "--pool", "legacy", 3)
        assert len(workers_of(run)) == 3
        before = {worker["pid"] for worker in workers_of(run)}
        output("swap", "--control", run.control, "--pool", "legacy", "--python", legacy)
        assert before.isdisjoint(worker["pid"] for worker in workers_of(run))
        output("scale", "--control", run.control, "--pool", "legacy", 1)
        assert len(workers_of(run)) == 1
        refused = command("scale", "--control", run.control, "--pool", "lagacy", 2)
        assert refused.returncode == 1
        assert refused.stderr == (
            "error: there is no pool named lagacy\n"
            "hint: steps name legacy; a request that names no pool is about the main pool\n"
        )
        consumer.wait_count(len(sent))
        sender.join()
        run.stop()
    assert by_key(consumer.lines()) == expected(sent)


def test_a_pool_that_is_not_defined_is_refused(consumer, modern):
    with pooled(consumer, modern, None) as run:
        assert run.wait() == 3
        assert run.text() == (
            'error: step "read before" names the pool "legacy", which is not defined\n'
            "hint: name its Python: --pool legacy=PATH, or in wallaroo.toml beside the application: "
            '[pool.legacy] and python = "PATH"'
        )


def test_a_pool_whose_python_has_no_sdk_is_named(consumer, modern, tmp_path):
    bare = tmp_path / "python"
    # Isolated mode ignores a PYTHONPATH that is set for the others.
    bare.write_text(f'#!/bin/sh\nexec {empty_environment(tmp_path / "bare")} -I "$@"\n')
    bare.chmod(0o755)
    with pooled(consumer, modern, f"legacy={bare}") as run:
        assert run.wait() == 3
        assert f"error: {bare} has no wallaroo module" in run.text()


def test_a_pool_that_is_not_understood_is_refused(consumer, modern, tmp_path):
    app = shutil.copy(APP, tmp_path)
    (tmp_path / "wallaroo.toml").write_text('[pool.legacy]\npython = "python3"\nworker = 2\n')
    with pooled(consumer, modern, None, app=app) as run:
        assert run.wait() == 2
        text = run.text()
    assert text.startswith(f"error: {tmp_path / 'wallaroo.toml'} is not valid: TOML parse error at line 3, column 1")
    assert "unknown field `worker`" in text
    assert text.endswith('hint: a pool is [pool.NAME] with python = "PATH" and optionally workers and worker-memory')

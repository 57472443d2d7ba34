"""The control socket, used by real commands to inspect and end a run."""

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import urllib.parse
import urllib.request

import pytest

from tests.harness.clients import frames, send
from tests.harness.control import command, output, status, words
from tests.harness.numbered import messages
from tests.harness.orchestrator import PATIENCE, Orchestrator
from tests.harness.places import APPS


@pytest.fixture
def run(consumer):
    with Orchestrator(APPS / "numbered.py", "--in", "127.0.0.1:0", "--out", consumer.place, workers=2) as run:
        yield run.ready()


def test_status_counts_messages_and_names_workers(run, consumer):
    send(run.address(), frames(messages(1000)))
    consumer.wait_count(1000)
    report = status(run)
    assert report["application"] == "Numbered"
    assert report["state"] == "running"
    assert report["pid"] == run.pid
    assert report["sources"][0]["messages"] == 1000
    assert report["sinks"][0]["messages"] == 1000
    assert report["stages"][0]["steps"][-1] == "watch"
    seated = [worker for worker in report["workers"] if worker["state"] == "seated"]
    assert sorted(worker["seat"]["slot"] for worker in seated) == [0, 1]
    assert {worker["pid"] for worker in seated} <= set(run.workers())
    assert all(worker["resident_bytes"] > 0 for worker in seated)
    assert {worker["interpreter"]["implementation"] for worker in seated} == {"cpython"}


def test_status_knows_open_connections(run, consumer):
    with socket.create_connection(run.address()) as connection:
        connection.sendall(frames(["a 1"]))
        consumer.wait_count(1)
        assert status(run)["sources"][0]["connections"] == 1
    send(run.address(), frames(["a 2"]))
    consumer.wait_count(2)


def test_status_says_what_ended_a_worker(consumer):
    application = [APPS / "numbered.py", "--in", "127.0.0.1:0", "--out", consumer.place]
    with Orchestrator(*application, options=["-v"]) as run:
        run.ready().wait_for("worker took a slot", count=2)
        victim = next(worker["pid"] for worker in status(run)["workers"] if worker["seat"])
        os.kill(victim, signal.SIGKILL)
        run.wait_for("worker took a slot", count=3)
        seats = [worker["seat"] for worker in status(run)["workers"] if worker["seat"]]
    (restarted,) = (seat for seat in seats if seat["restarts"])
    assert "SIGKILL" in restarted["last_death"]


def test_status_for_people(run):
    text = output("status", "--control", run.control)
    assert text.startswith("Numbered  running  pid ")
    assert "slot 0" in text
    assert "standby" in text or "starting" in text


def test_latency_is_of_every_message(run, consumer):
    send(run.address(), frames(messages(1000)))
    consumer.wait_count(1000)
    report = status(run)
    latency = report["latency"]
    assert latency["messages"] == 1000
    assert 0 < latency["p50_seconds"] <= latency["p99_seconds"] <= latency["longest_seconds"] < 60
    assert [stage["latency"]["messages"] for stage in report["stages"]] == [1000, 1000]


def test_clients_that_say_nothing_do_not_keep_metrics_from_others(consumer):
    options = ["--metrics", "127.0.0.1:0"]
    arguments = ["--in", "127.0.0.1:0", "--out", consumer.place]
    with Orchestrator(APPS / "numbered.py", *arguments, options=options) as run, contextlib.ExitStack() as silent:
        place = run.wait_for("metrics at ")["message"].rpartition(" ")[2]
        host, port = urllib.parse.urlsplit(place).netloc.split(":")
        # More than are served at a time.
        for _ in range(60):
            silent.enter_context(socket.create_connection((host, int(port)), PATIENCE)).sendall(b"GET")
        with urllib.request.urlopen(place, timeout=PATIENCE) as response:
            assert response.status == 200
        run.stop()


def test_swap_says_what_it_can_swap():
    done = command("swap")
    assert done.returncode == 2
    assert "--python" in done.stderr
    assert "--app" in done.stderr


def test_metrics_for_prometheus(consumer):
    options = ["--metrics", "127.0.0.1:0"]
    with Orchestrator(APPS / "numbered.py", "--in", "127.0.0.1:0", "--out", consumer.place, options=options) as run:
        send(run.address(), frames(messages(1000)))
        consumer.wait_count(1000)
        place = run.wait_for("metrics at ")["message"].rpartition(" ")[2]
        for route in ("health", "ready"):
            with urllib.request.urlopen(place.replace("metrics", route)) as response:
                assert response.status == 200
        with urllib.request.urlopen(place) as response:
            assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            text = response.read().decode()
    samples = dict(line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
    assert (
        samples[f'wallaroo_sink_messages_total{{sink="tcp {consumer.place}",place="tcp {consumer.place}"}}'] == "1000"
    )
    assert float(samples['wallaroo_latency_seconds{quantile="0.99"}']) > 0
    assert float(samples['wallaroo_slot_in_flight_batches{slot="0"}']) == 0
    assert "# TYPE wallaroo_stage_messages_total counter" in text


def test_metrics_of_the_application(consumer, tmp_path):
    app = tmp_path / "measures.py"
    app.write_text(
        "import wallaroo\n"
        "LINES = wallaroo.metrics.counter('lines_total', 'Lines.')\n"
        "LONGEST = wallaroo.metrics.gauge('longest_line', 'Of a worker.')\n"
        "LENGTHS = wallaroo.metrics.histogram('line_length', 'Characters.', buckets=[1, 3])\n"
        "def length(line):\n"
        "    LINES.add()\n"
        "    LENGTHS.observe(len(line))\n"
        "    return len(line)\n"
        "def keep(length):\n"
        "    LONGEST.set(length)\n"
        "    return length\n"
        "def application_setup(args):\n"
        "    lines = wallaroo.source('lines', wallaroo.tcp('127.0.0.1:0', wallaroo.lines()))\n"
        "    kept = lines.map(length).map(keep)\n"
        "    return wallaroo.application('measures', kept.sink(wallaroo.tcp(args[0], wallaroo.json_lines())))\n"
    )
    with Orchestrator(app, consumer.place, options=["--metrics", "127.0.0.1:0"], workers=1) as run:
        send(run.address(), b"a\nabc\nabcde\n" * 10)
        consumer.wait_count(30)
        place = run.wait_for("metrics at ")["message"].rpartition(" ")[2]
        with urllib.request.urlopen(place) as response:
            text = response.read().decode()
        # A worker that has died has measured, too.
        os.kill(run.seated()[0], signal.SIGKILL)
        send(run.address(), b"a\n")
        consumer.wait_count(31)
        with urllib.request.urlopen(place) as response:
            later = response.read().decode()
    expected = """\
# HELP line_length Characters.
# TYPE line_length histogram
line_length_bucket{step="length",le="1"} 10
line_length_bucket{step="length",le="3"} 20
line_length_bucket{step="length",le="+Inf"} 30
line_length_sum{step="length"} 90
line_length_count{step="length"} 30
# HELP lines_total Lines.
# TYPE lines_total counter
lines_total{step="length"} 30
# HELP longest_line Of a worker.
# TYPE longest_line gauge
longest_line{step="keep",slot="0"} 5
"""
    assert text.endswith(expected)
    assert 'lines_total{step="length"} 31\n' in later


def test_the_stacks_of_workers(run):
    stacks = json.loads(output("stack", "--control", run.control, "--json"))
    assert {stack["pid"] for stack in stacks} <= set(run.workers())
    for stack in stacks:
        assert "_serve" in stack["stack"] or stack["slot"] is None, stack["stack"]
    pid = next(stack["pid"] for stack in stacks if stack["slot"] is not None)
    assert "_serve" in output("stack", "--control", run.control, str(pid))
    refused = command("stack", "--control", run.control, "1")
    assert refused.returncode == 1
    assert "no worker has process id 1" in refused.stderr
    assert set(run.workers()) >= {pid}, "nobody was killed for being asked"


def test_a_drain_finishes_what_was_accepted(run, consumer):
    send(run.address(), frames(messages(5000)))
    consumer.wait_count(1)
    output("drain", "--control", run.control)
    assert run.wait() == 0
    assert consumer.count == run.summary()["messages_in"]
    assert not run.control.exists()


def test_a_stop_does_not_wait(run, consumer):
    consumer.hold()
    send(run.address(), frames(messages(50_000)))
    output("stop", "--control", run.control)
    assert run.wait() == 130
    assert "through the control socket" in run.text()


def test_a_second_run_on_one_socket_is_refused(run, consumer):
    options = ["--control", run.control]
    with Orchestrator(APPS / "numbered.py", "--in", "127.0.0.1:0", "--out", consumer.place, options=options) as second:
        assert second.wait() == 4
        assert f"pid {run.pid}" in second.text()
    assert status(run)["state"] == "running"


def test_a_socket_left_behind_is_replaced(run, consumer):
    run.signal(signal.SIGKILL)
    run.wait()
    assert run.control.exists()
    options = ["--control", run.control]
    with Orchestrator(APPS / "numbered.py", "--in", "127.0.0.1:0", "--out", consumer.place, options=options) as second:
        assert status(second.ready())["pid"] == second.pid


def test_the_socket_is_private(run):
    assert stat.S_IMODE(run.control.stat().st_mode) == 0o600


def test_the_default_is_the_only_application_that_runs(tmp_path, consumer):
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    nobody = command("status", environment=environment)
    assert (nobody.returncode, nobody.stderr.splitlines()[0]) == (5, "error: no application is running")
    application = [APPS / "numbered.py", "--in", "127.0.0.1:0", "--out", consumer.place]
    with Orchestrator(*application, control=None, environment=environment) as first:
        first.ready()
        assert json.loads(output("status", "--json", environment=environment))["pid"] == first.pid
        folder = tmp_path / f"wallaroo-{os.getuid()}"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        with Orchestrator(*application, control=None, environment=environment) as second:
            second.ready()
            several = command("status", environment=environment)
            assert several.returncode == 1
            assert "several applications are running" in several.stderr
            assert f"numbered-{second.pid}.sock" in several.stderr


def test_waiting_until_it_is_ready(tmp_path, consumer):
    socket_path = tmp_path / "late.sock"
    waiting = ["status", "--json", "--control", socket_path, "--wait-ready", "60s"]
    early = command("status", "--control", socket_path, "--wait-ready", "10ms")
    assert early.returncode == 1
    assert "not ready within 10ms" in early.stderr
    with subprocess.Popen(words(*waiting), stdout=subprocess.PIPE) as waits:
        application = [APPS / "numbered.py", "--in", "127.0.0.1:0", "--out", consumer.place]
        with Orchestrator(*application, options=["--control", socket_path]) as run:
            assert json.loads(waits.communicate()[0])["pid"] == run.pid

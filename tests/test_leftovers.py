"""A run leaves no process, no zombie and no descriptor."""

import os
import signal
import sys
import threading
import time

import pytest

from tests.chaos import loaded
from tests.harness import processes
from tests.harness.clients import frames, send
from tests.harness.control import status
from tests.harness.numbered import messages
from tests.harness.orchestrator import LEFT_BEHIND_FOR, PATIENCE, Orchestrator
from tests.harness.places import APPS


def run_app(consumer, name, **options):
    return Orchestrator(APPS / f"{name}.py", "--in", "127.0.0.1:0", "--out", consumer.place, **options)


def eventually(condition, what):
    """Polls for a condition that the operating system does not announce."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        threading.Event().wait(0.02)


@pytest.mark.parametrize("name", ["numbered", "endless_loop", "interpreter_lock", "forker", "daemonises"])
def test_no_orphans_when_the_orchestrator_is_killed(consumer, name):
    """This holds when user code spins, for its children, and for those in sessions of their own."""
    with run_app(consumer, name) as run:
        send(run.address(), frames(["k 1", "k 2 bad"]))
        consumer.wait_count(1)
        if name != "numbered":
            run.wait_for("misbehaves")
        assert len(processes.tagged(run.tag)) >= 4
        run.signal(signal.SIGKILL)
        run.process.wait()
        left = processes.wait_for_end(run.tag, LEFT_BEHIND_FOR)
        assert not left, [processes.command_line(pid) for pid in left]


def test_no_orphans_when_it_is_killed_while_workers_start(consumer):
    with run_app(consumer, "numbered", workers=4) as run:
        eventually(lambda: len(processes.children(run.pid)) >= 2, "no worker was started")
        run.signal(signal.SIGKILL)
        run.process.wait()
        assert not processes.wait_for_end(run.tag, LEFT_BEHIND_FOR)


def test_what_a_killed_worker_had_started_ends_with_it(consumer):
    with run_app(consumer, "forker", workers=1) as run:
        send(run.address(), frames(["k 1 bad"]))
        consumer.wait_count(1)
        (parent,) = [pid for pid in run.workers() if processes.children(pid)]
        (child,) = processes.children(parent)
        os.kill(parent, signal.SIGKILL)
        assert processes.wait_for_exit(child, LEFT_BEHIND_FOR)


def daemons(run):
    """What a step has started and left; the guard is nobody's daemon."""
    ours = {run.pid, *processes.children(run.pid)}
    workers = {pid for pid in ours if "wallaroo.worker" in " ".join(processes.command_line(pid))}
    guards = {pid for pid in ours if "guard" in processes.command_line(pid)}
    return [pid for pid in processes.tagged(run.tag) if pid not in {run.pid} | workers | guards]


@pytest.mark.parametrize("end", ["drain", "worker"])
def test_daemons_end_with_their_worker(consumer, end):
    with run_app(consumer, "daemonises", workers=1) as run:
        send(run.address(), frames(["k 1 bad", "k 2"]))
        consumer.wait_count(1)
        eventually(lambda: len(daemons(run)) == 2, "no daemon was left")
        left = daemons(run)
        if end == "drain":
            run.stop()
        else:
            for pid in run.workers():
                os.kill(pid, signal.SIGKILL)
            run.wait_for("died")
        for pid in left:
            assert processes.wait_for_exit(pid, LEFT_BEHIND_FOR), processes.command_line(pid)


def test_orphans_are_reaped(consumer):
    with run_app(consumer, "daemonises", workers=1) as run:
        send(run.address(), frames(["k 1 bad", "k 2"]))
        consumer.wait_count(1)
        eventually(lambda: len(daemons(run)) == 2, "no daemon was left")
        for pid in daemons(run):
            os.kill(pid, signal.SIGKILL)
        zombies = lambda: [pid for pid in processes.children(run.pid) if processes.is_zombie(pid)]  # noqa: E731
        eventually(lambda: not daemons(run) and not zombies(), "a zombie stays")
        run.stop()


def test_a_guard_that_is_killed_is_replaced(consumer):
    with run_app(consumer, "daemonises", workers=1) as run:
        run.ready()
        guards = lambda: [pid for pid in processes.children(run.pid) if "guard" in processes.command_line(pid)]  # noqa: E731
        (guard,) = guards()
        os.kill(guard, signal.SIGKILL)
        run.wait_for("the guard")
        eventually(lambda: guards() not in ([], [guard]), "no other guard was started")
        send(run.address(), frames(["k 1 bad", "k 2"]))
        consumer.wait_count(1)
        run.signal(signal.SIGKILL)
        run.process.wait()
        assert not processes.wait_for_end(run.tag, LEFT_BEHIND_FOR)


@pytest.mark.parametrize("odd", ["blocked", "ignored"])
def test_signals_that_a_parent_has_blocked_or_ignored(consumer, odd):
    numbers = "signal.SIGTERM, signal.SIGINT, signal.SIGCHLD"
    prepare = {
        "blocked": f"signal.pthread_sigmask(signal.SIG_BLOCK, [{numbers}])",
        "ignored": f"[signal.signal(number, signal.SIG_IGN) for number in ({numbers})]",
    }[odd]
    prefix = [sys.executable, "-c", f"import os, signal, sys; {prepare}; os.execv(sys.argv[1], sys.argv[1:])"]
    with run_app(consumer, "numbered", workers=1, prefix=prefix) as run:
        send(run.address(), frames(["k 1"]))
        consumer.wait_count(1)
        (worker,) = [worker["pid"] for worker in status(run)["workers"] if worker["state"] == "seated"]
        os.kill(worker, signal.SIGSEGV)
        died = run.wait_for(lambda event: "died" in event["message"])
        assert "SIGSEGV" in died["message"], died
        run.signal(signal.SIGTERM)
        assert run.wait() == 0


def test_restarts_leave_no_zombie_and_no_descriptor(consumer, request):
    restarts = request.config.getoption("--restarts")
    with run_app(consumer, "numbered", workers=1) as run:
        run.ready()
        send(run.address(), frames(["k 0"]))
        consumer.wait_count(1)
        eventually(lambda: len(loaded(run)) == 2, "no standby came")
        before = len(processes.descriptors(run.pid))
        for number in range(1, restarts + 1):
            victim = loaded(run)[number % 2]
            os.kill(victim, signal.SIGKILL)
            run.wait_for(lambda event, victim=victim: event.get("pid") == victim and "died" in event["message"])
            send(run.address(), frames([f"k {number}"]))
            consumer.wait_count(number + 1)
            eventually(lambda: len(loaded(run)) == 2, "no standby came")
        assert not [pid for pid in processes.children(run.pid) if processes.is_zombie(pid)]
        eventually(lambda: len(processes.descriptors(run.pid)) <= before, "descriptors were left open")
        print(f"{restarts} restarts: {before} descriptors before, {len(processes.descriptors(run.pid))} after")
        run.stop()
    assert consumer.lines() == [f"k {number} => {number + 1}" for number in range(restarts + 1)]


def test_workers_inherit_nothing_but_their_socket_and_their_marker(consumer, tmp_path):
    with open(tmp_path / "secret", "w") as secret:
        with run_app(consumer, "numbered", workers=2, pass_fds=[secret.fileno()]) as run:
            send(run.address(), frames(messages(100)))
            consumer.wait_count(100)
            for pid in run.seated():
                open_files = sorted(kind.split(":")[0] for kind in processes.descriptors(pid))
                assert open_files == ["/dev/null", "/memfd", "pipe", "pipe", "socket"], processes.descriptors(pid)

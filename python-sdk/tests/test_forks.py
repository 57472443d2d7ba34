"""Processes that user code starts from a step: they are no workers, and disturb none."""

from __future__ import annotations

import os
import signal

import pytest

from orchestrator import MARKER, WorkerProcess, echo

ONE_STAGE = [[0, "frames", 0, [2]]]


def test_a_child_that_user_code_forks_does_not_hold_the_socket(app):
    body = "import signal; pid = os.fork(); pid or signal.pause(); return str(pid)"
    with WorkerProcess() as worker:
        worker.start(app(echo(body)), stages=ONE_STAGE)
        (pid,) = worker.batch(1, 0, [b"a"])[0][2]
        try:
            worker.process.kill()
            assert worker.receive() is None
        finally:
            os.kill(int(pid), signal.SIGKILL)


@pytest.mark.parametrize(
    ("leave", "code"),
    [
        ("return data", 70),
        ("raise ValueError(data)", 70),
        ("sys.exit(3)", 3),
        ("sys.exit()", 0),
        ("sys.exit('words')", 1),
        ("os._exit(4)", 4),
    ],
)
def test_a_child_that_user_code_forks_does_not_answer(app, leave, code, tmp_path):
    body = f"""
        pid = os.fork()
        if pid == 0:
            {leave}
        return f"{{data}} {{os.waitpid(pid, 0)[1] >> 8}}"
    """
    source = echo(body.strip())
    with open(tmp_path / "marker", "w+b") as marker, WorkerProcess(marker=marker.fileno()) as worker:
        worker.start(app(source), stages=ONE_STAGE)
        for batch in (1, 2):
            outputs, failures, _ = worker.batch(batch, 0, [b"a", b"b"])
            assert (outputs, failures) == ({2: [f"a {code}", f"b {code}"]}, [])
            assert MARKER.unpack(os.pread(marker.fileno(), MARKER.size, 0))[:3] == (batch, 0, 0)
        _, _, err = worker.finish()
    assert err.count("a process that a step has forked returned") == (4 if code == 70 else 0)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_step_may_use_multiprocessing(app, method):
    body = f"""
        with __import__("multiprocessing").get_context("{method}").Pool(2) as pool:
            return pool.apply(double, (data,))
    """
    source = echo(body.strip()) + "\ndef double(data):\n    return data * 2\n"
    with WorkerProcess() as worker:
        worker.start(app(source), stages=ONE_STAGE)
        assert worker.batch(1, 0, [b"a", b"b"])[:2] == ({2: ["aa", "bb"]}, [])
        assert worker.finish()[0] == 0


def test_a_step_may_run_programs(app):
    body = "return __import__('subprocess').check_output(['sh', '-c', 'ls /proc/self/fd; echo ' + data], text=True)"
    with WorkerProcess() as worker:
        worker.start(app(echo(body)), stages=ONE_STAGE)
        *descriptors, said = worker.batch(1, 0, [b"a"])[0][2][0].split()
        assert said == "a"
        assert max(map(int, descriptors)) < 10
        assert worker.finish()[0] == 0


def test_a_child_of_a_state_computation_does_not_go_on(app):
    source = echo("return data").replace("ab.to(Step)", "ab.to_stateful(Fork, list, 'forks')").replace("list", "Fork")
    source += """
class Fork:
    def build(self):
        return []
    def compute(self, data, state):
        pid = os.fork()
        return f"{data} {pid and os.waitpid(pid, 0)[1] >> 8}", True
"""
    with WorkerProcess() as worker:
        worker.start(app(source), stages=[[0, "frames", 0, [1]], [1, "groups", 1, [3]]])
        groups = worker.batch(1, 0, [b"a", b"b", b"c"])[0][1]
        for flags in (0, 2):
            assert worker.batch(2, 1, groups, flags=flags)[:2] == ({3: ["a 70", "b 70", "c 70"]}, [])
        _, _, err = worker.finish()
    assert err.count("a process that a step has forked returned") == 6


def test_a_child_of_a_decoder_that_cuts_does_not_go_on(app):
    source = echo("return data").replace(
        'delimiter = b"\\n"',
        """def header_length(self): return 1
    def payload_length(self, bs):
        if bs == b"f":
            pid = os.fork()
            return pid and (os.waitpid(pid, 0)[1] >> 8) - 69
        return bs[0] & 127""",
    )
    with WorkerProcess() as worker:
        worker.start(app(source), stages=[*ONE_STAGE, [1, "cut", 0, []]])
        worker.send(4, 3, 1, 0, [], [], b"f!f!")
        kind, _, _, frames, consumed, _, error = worker.receive()
        assert (kind, frames, consumed, error) == (38, [1, 2, 3, 4], 4, None)
        worker.finish()

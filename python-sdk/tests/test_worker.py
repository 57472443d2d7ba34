"""A real worker process over a real socket pair."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from orchestrator import MARKER, WHOLE, WorkerProcess, echo

WORD_COUNT = Path(__file__).parents[2] / "examples" / "word_count" / "word_count.py"
WORD_COUNT_ARGS = ("--in", "127.0.0.1:7010", "--out", "127.0.0.1:7002")
TWO_STAGES = [[0, "frames", 0, [2]], [1, "groups", 2, [4]]]
ONE_STAGE = [[0, "frames", 0, [2]]]


def refused(path, *args):
    with WorkerProcess() as worker:
        worker.hello()
        answer = worker.load(path, *args)
        assert answer[0] == 34, answer
        assert worker.receive() is None
        assert worker.process.wait(60) == 3
        return answer[1:]


def test_word_count_from_hello_to_stop():
    with WorkerProcess() as worker:
        topology = worker.start(WORD_COUNT, *WORD_COUNT_ARGS, stages=TWO_STAGES)
        assert topology["name"] == "Word Count Application"
        assert topology["nodes"][0]["framing"]["kind"] == "length"
        outputs, failures, ended = worker.batch(7, 0, [b"why hello world\nhello -- world", b"\xff"])
        assert outputs[2][0::4] == ["w", "h", "!"]
        assert [failure[:2] for failure in failures] == [[0, 1]]
        assert ended is False
        outputs, _, _ = worker.batch(8, 1, outputs[2])
        assert outputs[4] == ["why => 1\n", "world => 1\n", "world => 2\n", "hello => 1\n", "hello => 2\n", " => 1\n"]
        entries, _, oldest = worker.snapshot(1, 99)
        assert (entries[1::3], oldest) == (["w", "h", "!"], None)
        assert worker.finish() == (0, "", "")


def test_a_state_moves_to_another_worker():
    with WorkerProcess() as first, WorkerProcess() as second:
        for worker in (first, second):
            worker.start(WORD_COUNT, *WORD_COUNT_ARGS, stages=TWO_STAGES)
        groups = ["a", 2, 1, b"\x92\xa1a\xa2aa"]
        first.batch(1, 1, groups)
        second.send(5, first.snapshot(1, 99)[0])
        assert second.batch(2, 1, groups)[0] == {4: ["a => 2\n", "aa => 2\n"]}


def test_a_state_is_tried_and_not_kept():
    with WorkerProcess() as first, WorkerProcess() as second:
        for worker in (first, second):
            worker.start(WORD_COUNT, *WORD_COUNT_ARGS, stages=TWO_STAGES)
        groups = ["a", 2, 1, b"\x92\xa1a\xa2aa"]
        first.batch(1, 1, groups)
        entries = first.snapshot(1, 99)[0]
        second.send(11, 7, entries)
        assert second.receive() == [40, 7, None]
        unknown = entries[2].replace(b"word_count", b"wurd_count")
        second.send(11, 8, [*entries, *entries[:2], unknown])
        kind, request, problem = second.receive()
        assert (kind, request) == (40, 8)
        assert "wurd_count" in problem
        assert second.batch(2, 1, groups)[0] == {4: ["a => 1\n", "aa => 1\n"]}
        first.send(10, entries[:2])
        assert first.batch(2, 1, groups)[0] == {4: ["a => 1\n", "aa => 1\n"]}


def test_the_greeting_says_who_this_is():
    with WorkerProcess() as worker:
        greeting = worker.hello()
    _, protocol, version, capabilities, implementation, python, executable, pid, pickle_protocol = greeting
    assert (protocol, version, capabilities) == (1, "0.1.0", [])
    assert implementation == sys.implementation.name
    assert python.startswith(f"{sys.version_info[0]}.{sys.version_info[1]}.")
    assert os.path.exists(executable)
    assert pid == worker.process.pid
    assert pickle_protocol == 5


def test_topologies_are_equal_byte_for_byte():
    topologies = []
    for _ in range(2):
        with WorkerProcess() as worker:
            worker.hello()
            topologies.append(worker.load(WORD_COUNT, *WORD_COUNT_ARGS))
    assert topologies[0] == topologies[1]


def test_another_version_is_refused():
    with WorkerProcess() as worker:
        worker.send(1, 2, "9.0.0", {"fields": "of then"})
        assert worker.receive()[0] == 33
        kind, where, message, hint, traceback = worker.receive()
    assert (kind, where, traceback) == (34, "protocol", None)
    assert message == "wallaroo-orch 9.0.0 speaks protocol 2, wallaroo-sdk 0.1.0 speaks protocol 1"
    assert hint.startswith("install the same version of wallaroo-sdk for ")


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"\xff\xff\xff\xff", "a frame of 4294967295 bytes is beyond the cap of 17825792 bytes"),
        (b"\x00\x00\x00\x00", "a frame of length 0"),
        (b"\x00\x00\x00\x02\x91\x07", "unknown message type 7"),
        (b"\x00\x00\x00\x02\x91\x08\x00\x00\x00\x01\x91", ""),  # Nothing is read after stop.
        (b"\x00\x00\x00\x02\x92", "before the end of a frame"),
    ],
)
def test_what_the_protocol_does_not_allow_ends_the_worker(raw, said):
    with WorkerProcess() as worker:
        worker.start(WORD_COUNT, *WORD_COUNT_ARGS, stages=TWO_STAGES)
        worker.send_raw(raw)
        worker.socket.shutdown(1)
        _, err = worker.process.communicate(timeout=60)
    assert said in err
    assert worker.process.returncode == (70 if said else 0)


def test_a_message_out_of_order_ends_the_worker():
    with WorkerProcess() as worker:
        worker.hello()
        worker.send(3, [])
        _, err = worker.process.communicate(timeout=60)
    assert err == "wallaroo worker: protocol error: expected message Load, got Plan\n"


def test_a_plan_that_does_not_fit_is_refused():
    with WorkerProcess() as worker:
        worker.hello()
        worker.load(WORD_COUNT, *WORD_COUNT_ARGS)
        worker.send(3, [[0, "frames", 2, [], None]])
        assert worker.receive()[:2] == [34, "protocol"]


def test_the_end_of_the_stream_is_a_quiet_exit():
    with WorkerProcess() as worker:
        worker.start(WORD_COUNT, *WORD_COUNT_ARGS, stages=TWO_STAGES)
        worker.socket.close()
        assert worker.process.communicate(timeout=60) == ("", "")
        assert worker.process.returncode == 0


def test_threads_of_the_application_do_not_keep_it_alive(app):
    source = echo("return data") + "import threading; threading.Thread(target=threading.Event().wait).start()\n"
    with WorkerProcess() as worker:
        worker.start(app(source), stages=ONE_STAGE)
        assert worker.finish()[0] == 0


@pytest.mark.parametrize(
    "body",
    [
        "print('noise'); sys.stderr.write('noise\\n'); os.write(1, b'noise\\n'); return data",
        "os.closerange(3, 21); return data",
        "[os.dup2(2, fd) for fd in range(3, 21)]; return data",
        "os.closerange(0, 21); return data",
        "[os.dup2(os.open('/dev/null', os.O_RDWR), fd) for fd in range(0, 21)]; return data",
        "sys.stdout.close(); return data",
    ],
)
def test_user_code_cannot_disturb_the_wire(app, body, tmp_path):
    with open(tmp_path / "marker", "w+b") as marker, WorkerProcess(marker=marker.fileno()) as worker:
        worker.start(app(echo(body)), stages=ONE_STAGE)
        for batch in range(1, 4):
            assert worker.batch(batch, 0, [b"a"])[0] in ({2: ["a"]}, {})
            # The mark that the batch is over is made before its result is sent.
            assert MARKER.unpack(os.pread(marker.fileno(), MARKER.size, 0)) == (batch, 0, 0, WHOLE, WHOLE)
        worker.finish()


def test_standard_output_is_seen_at_once_and_not_on_the_wire(app):
    with WorkerProcess() as worker:
        worker.start(app(echo("print('seen', data); return data")), stages=ONE_STAGE)
        assert worker.batch(1, 0, [b"a"])[0] == {2: ["a"]}
        assert worker.process.stdout.readline() == "seen a\n"


@pytest.mark.parametrize("leave", ["sys.exit(3)", "raise KeyboardInterrupt", "exit()"])
def test_leaving_from_a_step_is_a_failure_of_its_message(app, leave):
    with WorkerProcess() as worker:
        worker.start(app(echo(f"if data == 'bad': {leave}\n        return data")), stages=ONE_STAGE)
        outputs, failures, _ = worker.batch(1, 0, [b"a", b"bad", b"b"])
        assert outputs == {2: ["a", "b"]}
        assert [failure[:2] for failure in failures] == [[1, 1]]
        assert worker.finish()[0] == 0


def test_endless_recursion_is_a_failure_of_its_message(app):
    with WorkerProcess() as worker:
        worker.start(app(echo("return self.compute(data) if data == 'bad' else data")), stages=ONE_STAGE)
        outputs, failures, _ = worker.batch(1, 0, [b"a", b"bad", b"b"])
        assert outputs == {2: ["a", "b"]}
        assert failures[0][3] == "RecursionError"


def test_an_interrupt_does_not_end_the_worker(app):
    with WorkerProcess() as worker:
        worker.start(app(echo("return data")), stages=ONE_STAGE)
        worker.process.send_signal(signal.SIGINT)
        assert worker.batch(1, 0, [b"a"])[0] == {2: ["a"]}
        assert worker.finish()[0] == 0


def test_programs_that_a_step_starts_can_be_interrupted(app):
    ask = "import signal; print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"
    run = f"[__import__('sys').executable, '-c', {ask!r}], text=True"
    body = f"return __import__('subprocess').check_output({run}).strip()"
    with WorkerProcess() as worker:
        worker.start(app(echo(body)), stages=ONE_STAGE)
        assert worker.batch(1, 0, [b"a"])[0] == {2: ["False"]}


def test_a_signal_asks_for_the_stack(app):
    body = "os.kill(os.getpid(), __import__('signal').SIGUSR1); return data"
    with WorkerProcess() as worker:
        worker.start(app(echo(body)), stages=ONE_STAGE)
        worker.batch(1, 0, [b"a"])
        _, _, err = worker.finish()
    assert "in compute" in err


def test_the_application_sees_its_folder_and_its_arguments(app, tmp_path):
    (tmp_path / "beside.py").write_text("WORD = 'found'\n")
    source = (
        "import sys, beside\nassert __name__ == 'my_app', __name__\n"
        + echo("return data")
        + "    \nassert sys.argv == [__file__, '--x', '1'], sys.argv\n"
        + "import my_app; assert my_app is sys.modules[__name__]\n"
    )
    with WorkerProcess() as worker:
        worker.hello()
        assert worker.load(app(source, "my_app.py"), "--x", "1")[0] == 35


def test_an_application_may_be_a_module(app, tmp_path):
    app(echo("return data"), "some_module.py")
    with WorkerProcess(cwd=tmp_path) as worker:
        assert worker.start("some_module", stages=ONE_STAGE)["name"] == "echo"


def test_a_decoder_may_cut(app):
    source = echo("return data").replace(
        'delimiter = b"\\n"',
        "def header_length(self): return 1\n    def payload_length(self, bs): return bs[0] & 127",
    )
    with WorkerProcess() as worker:
        topology = worker.start(app(source), stages=[*ONE_STAGE, [1, "cut", 0, []]])
        assert topology["nodes"][0]["framing"] == {"kind": "decoder", "header": 1}
        worker.send(4, 3, 1, 0, [], [], b"\x82ab\x01c\x05d")
        kind, batch, _, frames, consumed, need, error = worker.receive()
        assert (kind, batch, frames, consumed, need, error) == (38, 3, [1, 3, 4, 5], 5, 6, None)


def test_serialize_and_deserialize_of_the_application_are_used(app):
    source = echo("return (data,)").replace("ab.to(Step)", "ab.to(Step).to_stateful(Last, Last, 'last')")
    source += """
class Last:
    def build(self):
        return []
    def compute(self, data, state):
        return data[0], True

def serialize(value):
    return value[0].encode()

def deserialize(data):
    return (data.decode() + "!",)
"""
    with WorkerProcess() as worker:
        worker.start(app(source), stages=[[0, "frames", 0, [2]], [1, "groups", 2, [4]]])
        groups = worker.batch(1, 0, [b"a"])[0][2]
        assert groups == [None, 1, 3, b"\x91\xc4\x01a"]
        assert worker.batch(2, 1, groups)[0] == {4: ["a!"]}


SETUP = "import wallaroo\ndef application_setup(args):\n    "


@pytest.mark.parametrize(
    ("source", "kind", "message", "hint"),
    [
        ("x = 1", "import", "{path} has no application_setup", "define application_setup(args)"),
        ("application_setup = 1", "import", "application_setup of {path} is not a function", "define "),
        ("1/0", "import", "{path} could not be imported: ZeroDivisionError: division by zero", None),
        ("import sys; sys.exit(3)", "import", "{path} could not be imported: SystemExit: 3", "an application is "),
        ("def broken(:", "import", "{path} could not be imported: SyntaxError: ", "the worker's interpreter is Python"),
        ("import no_such", "import", "{path} could not be imported: ModuleNotFoundError: ", "install no_such for "),
        (SETUP + "args[0]", "setup", "application_setup of {path} failed: IndexError: ", "are the "),
        (SETUP + "raise SystemExit(2)", "setup", "application_setup of {path} called sys.exit(2)", "check the "),
        (SETUP + "return 7", "topology", "application_setup of {path} returned int, not a built", "end it with"),
        (
            SETUP + "return wallaroo.ApplicationBuilder('a')",
            "topology",
            "application_setup of {path} returned ApplicationBuilder, not a built application",
            "it returned the builder: return ab.build()",
        ),
        (
            SETUP + "return wallaroo.ApplicationBuilder('a').build()",
            "topology",
            "application 'a' has no pipeline",
            "start one with new_pipeline",
        ),
    ],
)
def test_an_application_that_cannot_run_is_refused(app, source, kind, message, hint):
    path = app(source)
    got_kind, got_message, got_hint, _ = refused(path)
    assert got_kind == kind
    assert got_message.startswith(message.replace("{path}", str(path)))
    assert got_hint is None if hint is None else got_hint.startswith(hint)


def test_the_traceback_of_a_refusal_is_the_users(app):
    path = app("def helper():\n    return 1 / 0\n\ndef application_setup(args):\n    return helper()\n")
    _, _, _, traceback = refused(path)
    assert "in helper" in traceback
    assert "in application_setup" in traceback
    assert "wallaroo/worker" not in traceback
    assert "importlib" not in traceback


def test_an_application_that_is_not_there(tmp_path):
    kind, message, hint, traceback = refused(tmp_path / "nowhere.py")
    assert (kind, message, traceback) == ("import", f"{tmp_path / 'nowhere.py'} is not a file", None)
    assert hint is not None
    kind, message, hint, traceback = refused("no_such_module")
    assert (kind, message, traceback) == ("import", "there is no module named no_such_module", None)


def test_an_application_named_like_a_module_in_use(app):
    kind, message, hint, _ = refused(app("x = 1", "struct.py"))
    assert kind == "import"
    assert message.endswith("struct.py: there is a module named struct already")
    assert hint.startswith("rename the file")

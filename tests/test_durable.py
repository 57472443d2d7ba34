"""Runs with a state folder go on where they ended, however they ended. ``python -m tests.durable`` kills for longer."""

import contextlib
import json
import os
import signal
from pathlib import Path

import pytest

from tests.durable import SIZE_OF_KILL, Watch, kill_orchestrator, started, storm
from tests.harness import state_folder
from tests.harness.clients import Consumer, frames, send
from tests.harness.durable_shapes import Shapes
from tests.harness.durable_streams import STREAMS, Faults, Picky, Squares, Words
from tests.harness.orchestrator import Orchestrator
from tests.harness.places import WORD_COUNT
from tests.harness.word_counts import check_in_order, text_lines, totals

SIZE = 40_000
#: Seconds. A sleep takes about 60 microseconds more.
PACE = 2e-5
KILLS = 5
NO_FAULTS = Faults()
#: No checkpoint is made by then.
LATE = "60s"


@contextlib.contextmanager
def run_until(stream, share, workers=2, replay_budget="250ms"):
    """A run that has added that share of the whole output. It is slow, so that it does not end before it is killed."""
    with started(stream, workers, replay_budget, PACE) as run:
        watch = Watch(run, stream)
        assert watch.until(lambda: watch.grown > share * stream.bytes), f"it ended\n{run.text()}\n{run.log()}"
        yield run


def kill_at(stream, share, workers=2, replay_budget="250ms"):
    """Kills the orchestrator once a run has added that share of the whole output."""
    with run_until(stream, share, workers, replay_budget) as run:
        kill(run)


def kill(run):
    """Kills the orchestrator."""
    kill_orchestrator(run)
    assert run.wait() == -signal.SIGKILL, f"it ended before\n{run.text()}\n{run.log()}"


def finish(stream, workers=2):
    """Runs a stream to its end, and compares its output."""
    with started(stream, workers) as run:
        assert run.wait() == 0, f"{run.text()}\n{run.log()}"
    assert stream.faults() == NO_FAULTS


def refused(run) -> str:
    """What a run says that is refused."""
    with run:
        assert run.wait() == 4, run.log()
        text = run.text()
    assert "error: " in text
    return text


@pytest.mark.chaos
@pytest.mark.parametrize("kind", STREAMS)
def test_nothing_is_lost_or_doubled_by_kills(tmp_path, kind):
    outcome = storm(STREAMS[kind](tmp_path, KILLS * SIZE_OF_KILL[kind]), KILLS, seed=KILLS)
    assert outcome.faults == NO_FAULTS
    assert outcome.kills > 0


@pytest.mark.chaos
def test_a_random_application(tmp_path):
    outcome = storm(Shapes(tmp_path, 20_000, seed=9), KILLS, seed=9)
    assert outcome.faults == NO_FAULTS


@pytest.mark.parametrize("kind", STREAMS)
def test_a_signal_suspends_a_run(tmp_path, kind):
    """What has come out stays. Windows are not ended, and what is late is so with and without the stop."""
    stream = STREAMS[kind](tmp_path, SIZE)
    with run_until(stream, 0.2) as run:
        run.signal(signal.SIGTERM)
        assert run.wait() == 0, f"{run.text()}\n{run.log()}"
    before = stream.sink.read_bytes()
    assert len(before) < stream.bytes, "the stream is too short"
    if kind == "windows":
        assert stream.is_prefix()
    finish(stream, workers=3)
    assert stream.sink.read_bytes().startswith(before)
    check_that_nothing_is_left(stream)


def check_that_nothing_is_left(stream):
    """Runs a stream again whose sources have ended."""
    before = stream.sink.stat()
    with started(stream, 1) as run:
        assert run.wait() == 0, f"{run.text()}\n{run.log()}"
        assert run.summary()["messages_out"] == 0
    after = stream.sink.stat()
    assert (after.st_ino, after.st_size) == (before.st_ino, before.st_size)
    assert stream.faults() == NO_FAULTS


def test_other_numbers_of_workers(tmp_path):
    stream = Words(tmp_path, SIZE)
    kill_at(stream, 0.2, workers=1)
    kill_at(stream, 0.2, workers=3)
    finish(stream, workers=2)


def test_a_worker_dies_and_then_the_orchestrator(tmp_path):
    stream = Words(tmp_path, SIZE)
    for _ in range(2):
        with run_until(stream, 0.1) as run:
            os.kill(run.seated()[0], signal.SIGKILL)
            kill(run)
    finish(stream)


def test_kills_while_a_run_starts(tmp_path):
    """Each gets a little further than the last one."""
    stream = Words(tmp_path, SIZE)
    kill_at(stream, 0.2)
    for events in range(0, 6, 2):
        with started(stream, 2, pace=PACE) as run:
            Watch(run, stream).until(lambda run=run, events=events: len(run.events) >= events)
            kill(run)
    finish(stream)


def test_a_stream_to_a_tcp_sink_is_delivered_at_least_once(tmp_path):
    """After a kill it goes on with a message that came already, or with the next one."""
    stream = Squares(tmp_path, SIZE)
    with Consumer() as consumer:
        stream.sink = consumer.place
        for number in range(2):
            with started(stream, 2, pace=PACE) as run:
                consumer.wait_count((number + 1) * SIZE // 10)
                kill(run)
            consumer.wait_closed()
        with started(stream, 2) as run:
            assert run.wait() == 0, run.log()
        consumer.wait_closed()
        received = consumer.lines()
    due = 0
    numbers = {str(number * number): number for number in range(SIZE)}
    for line in received:
        assert numbers[line] <= due, f"{line} came before {due * due}"
        due = numbers[line] + 1
    assert due == SIZE


def test_what_came_over_tcp_is_kept(tmp_path):
    """A count goes on where it was: the client sends each half once, to a run of its own."""
    lines = text_lines(2_000)
    options = ["--state", tmp_path / "state"]
    with Consumer() as consumer:
        application = [WORD_COUNT, "--in", "127.0.0.1:0", "--out", consumer.place]
        for half in (lines[:1_000], lines[1_000:]):
            with Orchestrator(*application, options=options) as run:
                wanted = consumer.count + sum(totals(half).values())
                send(run.address(), frames(half))
                consumer.wait_count(wanted)
                run.signal(signal.SIGTERM)
                assert run.wait() == 0, f"{run.text()}\n{run.log()}"
            consumer.wait_closed()
        check_in_order(consumer.lines(), totals(lines))


def test_a_torn_tail_is_cut(tmp_path):
    """It is garbage, then the begin of a record, then a record that lacks its end."""
    stream = Words(tmp_path, SIZE)
    for tail in ("garbage", "begin", "end"):
        kill_at(stream, 0.1, replay_budget=LATE)
        last = state_folder.segments(stream.state)[-1]
        assert last.records, "there is nothing to tear"
        with open(last.path, "r+b") as file:
            if tail == "end":
                file.truncate(last.end - 5)
                continue
            record = last.path.read_bytes()[last.records[-1].offset : last.end]
            file.seek(last.end)
            file.write(b"\xff" * 5_000 if tail == "garbage" else record[: len(record) // 2])
    finish(stream)


def test_damage_is_refused(tmp_path):
    """A byte of a record flips that a later record says was durable."""
    stream = Words(tmp_path, SIZE)
    kill_at(stream, 0.3, replay_budget=LATE)
    first = state_folder.segments(stream.state)[0]
    damaged = first.records[1]
    assert max(record.durable for record in first.records) > damaged.lsn, "nothing says that it was durable"
    flip(first.path, damaged.end - 1)
    output = stream.sink.read_bytes()
    with started(stream, 2) as run:
        assert run.wait() not in (0, -signal.SIGKILL), run.log()
        text = run.text()
    for part in ("error: ", str(first.path), f"offset {damaged.offset}", f"record {damaged.lsn}"):
        assert part in text
    assert stream.sink.read_bytes() == output, "nothing is changed"
    flip(first.path, damaged.end - 1)
    finish(stream)


def test_the_log_is_as_its_specification_says(tmp_path):
    """Another reader finds the records without a gap, each with what was durable before it."""
    stream = Words(tmp_path, SIZE)
    kill_at(stream, 0.3, replay_budget=LATE)
    segments = state_folder.segments(stream.state)
    records = [record for segment in segments for record in segment.records]
    assert [record.lsn for record in records] == list(range(segments[0].first, segments[0].first + len(records)))
    assert all(record.durable < record.lsn for record in records)
    for segment in segments:
        assert segment.path.name == f"{segment.first:020}.log"
        assert not any(segment.path.read_bytes()[segment.end :]), "the rest of a segment is zeros"
    finish(stream)


def test_the_reader_reads_the_vectors_of_the_specification():
    header = bytes.fromhex("77616c6c61726f6f020000004a66277e2900000000000000efcdab8967452301")
    hello = bytes.fromhex("05000000592a99222a00000000000000280000000000000068656c6c6f")
    assert state_folder.segment(Path("segment"), header).first == 41
    found = state_folder.record(header + hello, len(header), header[24:])
    assert found == state_folder.Record(32, 42, 40, b"hello")


def test_a_torn_dead_letter_is_written_again(tmp_path):
    """The last letter was not known to be written when the run was killed in the middle of it."""
    stream = Picky(tmp_path, SIZE)
    kill_at(stream, 0.3)
    with open(stream.letters, "a") as letters:
        letters.write('{"id":"1000000.0","time":"2026-')
    finish(stream)


def test_a_folder_in_use_is_refused(tmp_path):
    options = ["--state", tmp_path / "state"]
    with Consumer() as consumer:
        application = [WORD_COUNT, "--in", "127.0.0.1:0", "--out", consumer.place]
        with Orchestrator(*application, options=options) as run:
            run.ready()
            text = refused(Orchestrator(*application, options=options))
            assert str(tmp_path / "state") in text
            assert str(run.pid) in text
            send(run.address(), frames(["still there"]))
            consumer.wait_count(2)
            run.stop()


def test_a_folder_of_something_else_is_refused(tmp_path):
    """Another application, other steps, a newer format: neither the folder nor the output changes."""
    stream = Words(tmp_path, SIZE)
    kill_at(stream, 0.2)
    output = stream.sink.read_bytes()
    text = refused(started(Squares(tmp_path, SIZE), 2))
    for part in (str(stream.state), "Durable words", "Durable squares"):
        assert part in text
    text = refused(Orchestrator(*stream.application(), "--more", options=stream.options))
    for part in (str(stream.state), "more", "hint: "):
        assert part in text
    path = stream.state / "FORMAT"
    known = path.read_text()
    path.write_text(json.dumps({**json.loads(known), "version": 99}))
    text = refused(started(stream, 2))
    assert str(path) in text
    assert "99" in text
    path.write_text(known)
    assert stream.sink.read_bytes() == output
    finish(stream)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    stream = Words(tmp_path, SIZE)
    stream.state.mkdir(mode=0o500)
    assert str(stream.state) in refused(started(stream, 2))


def test_a_folder_of_other_files_is_refused(tmp_path):
    stream = Words(tmp_path, SIZE)
    stream.state.mkdir()
    (stream.state / "thesis.txt").write_text("important")
    text = refused(started(stream, 2))
    assert str(stream.state) in text
    assert "thesis.txt" in text
    assert [file.name for file in stream.state.iterdir()] == ["thesis.txt"]


def flip(path, offset):
    """Changes a byte, and back the next time."""
    with open(path, "r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 0xFF]))


#: The state is one that pickle takes only where a file is there.
COUNTS = """
import os
import wallaroo as w


class Count:
    def __init__(self):
        self.number = 0
        self.harm = None if os.path.exists("mended") else lambda: None


def count(line, state):
    state.number += 1
    return f"{state.number}"


def application_setup(args):
    lines = w.source("lines", w.file("in.txt", w.lines()))
    counts = lines.key_by(lambda line: "all", name="key").stateful(count, state=Count, name="count")
    return w.application("unsaved", counts.sink(w.file("out.txt", w.lines())))
"""


def test_a_state_that_no_snapshot_has_ends_the_run_before_it_is_lost(tmp_path):
    (tmp_path / "app.py").write_text(COUNTS)
    (tmp_path / "in.txt").write_text("".join(f"{number:06}\n" for number in range(60_000)))
    options = ["--state", "state", "--queue-bytes", "64KiB"]
    with Orchestrator("app.py", options=options, cwd=tmp_path) as run:
        assert run.wait() == 1, run.log()
        text = run.text()
    assert "'all'" in text
    assert "hint: " in text
    (tmp_path / "mended").touch()
    with Orchestrator("app.py", options=["--state", "state"], cwd=tmp_path) as run:
        assert run.wait() == 0, run.log()
    # Replayed objects are made anew, so pickle takes them now.
    assert (tmp_path / "out.txt").read_text().split() == [str(number) for number in range(1, 60_001)]


def test_an_absent_consumer_holds_up_no_suspended_run(tmp_path):
    stream = Squares(tmp_path, SIZE)
    with Consumer() as consumer:
        stream.sink = consumer.place
    with Orchestrator(*stream.application(), options=[*stream.options, "--stop-timeout", "100ms"]) as run:
        run.ready()
        run.signal(signal.SIGTERM)
        assert run.wait() == 0, f"{run.text()}\n{run.log()}"


#: A step that fails until a file is there.
CHECKED = """
import os
import wallaroo as w


def check(line):
    if line == "bad" and not os.path.exists("mended"):
        raise ValueError(line)
    return line


def application_setup(args):
    lines = w.source("lines", w.file("in.txt", w.lines()))
    return w.application("checked", lines.map(check).sink(w.file("out.txt", w.lines())))
"""


def test_mended_code_gets_the_message_that_ended_the_run(tmp_path):
    (tmp_path / "app.py").write_text(CHECKED)
    (tmp_path / "in.txt").write_text("one\nbad\ntwo\n")
    options = ["--state", "state", "--on-error", "stop"]
    for _ in range(2):
        with Orchestrator("app.py", options=options, cwd=tmp_path) as run:
            assert run.wait() == 1, run.log()
            assert "ValueError: bad" in run.text()
    (tmp_path / "mended").touch()
    with Orchestrator("app.py", options=options, cwd=tmp_path) as run:
        assert run.wait() == 0, f"{run.text()}\n{run.log()}"
    assert (tmp_path / "out.txt").read_text() == "one\nbad\ntwo\n"

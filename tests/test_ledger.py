"""State whose snapshots fail, or that the ledger does not hold, when its worker dies."""

import os
import signal

from tests.harness.clients import frames, send
from tests.harness.numbered import by_key, expected, messages
from tests.harness.orchestrator import Orchestrator, message_of, read_dead_letters
from tests.harness.places import APPS

SENT = messages(2_000)


def run_app(consumer, app, *options):
    place = ["--in", "127.0.0.1:0", "--out", consumer.place]
    return Orchestrator(app, *place, workers=1, options=["-v", *options])


def kill_seated(run):
    """Kills the worker in the only slot."""
    pid = run.wait_for("worker took a slot")["pid"]
    os.kill(pid, signal.SIGKILL)
    run.wait_for(lambda event: event.get("pid") == pid and "died" in event["message"])


def test_state_that_cannot_be_pickled_is_rebuilt_from_the_journal(consumer):
    with run_app(consumer, APPS / "unpicklable_state.py") as run:
        send(run.address(), frames(SENT[:1_000]))
        consumer.wait_count(1_000)
        assert "cannot be pickled" in run.wait_for("cannot be pickled")["message"]
        kill_seated(run)
        send(run.address(), frames(SENT[1_000:]))
        consumer.wait_count(2_000)
        run.stop()
    assert by_key(consumer.lines()) == expected(SENT)


def test_a_journal_that_no_longer_fits_is_given_up_and_the_next_death_ends_the_run(consumer):
    with run_app(consumer, APPS / "unpicklable_state.py", "--queue-bytes", "1KiB") as run:
        send(run.address(), frames(SENT))
        consumer.wait_count(len(SENT))
        run.wait_for("its journal no longer fits")
        kill_seated(run)
        assert run.wait() == 1
    assert "the state of slot 0 died with its worker (killed by SIGKILL" in run.text()
    assert "cannot be pickled: TypeError" in run.text()
    assert by_key(consumer.lines()) == expected(SENT)


def test_state_that_cannot_be_loaded_fails_the_messages_of_its_keys_alone(consumer, tmp_path):
    path = tmp_path / "dead.jsonl"
    # A snapshot after every batch. A worker answers in order, so the second output comes after the first message's
    # snapshot.
    options = ["--replay-budget", "1us", "--dead-letters", path]
    with run_app(consumer, APPS / "unloadable_state.py", *options) as run:
        send(run.address(), frames(["k 1"]))
        consumer.wait_count(1)
        send(run.address(), frames(["other 1"]))
        consumer.wait_count(2)
        kill_seated(run)
        send(run.address(), frames(["k 2", "new 1", "k 3", "new 2"]))
        consumer.wait_count(4)
        run.stop()
    assert consumer.lines() == ["k 1 => 1", "other 1 => 1", "new 1 => 1", "new 2 => 2"]
    letters = read_dead_letters(path)
    assert [message_of(letter) for letter in letters] == ["k 2", "k 3"]
    assert all("this state cannot be loaded" in letter["message"] for letter in letters)


def test_without_a_ledger_a_death_ends_the_run(consumer):
    with run_app(consumer, APPS / "numbered.py", "--no-ledger") as run:
        send(run.address(), frames(["k 1"]))
        consumer.wait_count(1)
        kill_seated(run)
        assert run.wait() == 1
    assert "cannot be rebuilt: no ledger is kept" in run.text()


def test_a_later_worker_that_cannot_load_at_first_is_tried_again(tmp_path):
    (tmp_path / "starts").mkdir()
    (tmp_path / "in.txt").write_text("a\nb\n")
    args = [tmp_path / "starts", tmp_path / "in.txt", tmp_path / "out.txt"]
    with Orchestrator(APPS / "loads_at_second_try.py", *args, options=["--standbys", "0"]) as run:
        assert run.wait() == 0, run.log()
        assert any("trying again" in message for message in run.messages("WARN")), run.log()
    assert (tmp_path / "out.txt").read_text() == "A\nB\n"


def test_a_later_worker_that_hangs_while_it_loads_is_replaced(tmp_path):
    (tmp_path / "starts").mkdir()
    (tmp_path / "in.txt").write_text("a\nb\n")
    args = [tmp_path / "starts", tmp_path / "in.txt", tmp_path / "out.txt", "hang"]
    options = ["--standbys", "0", "--start-timeout", "3s"]
    with Orchestrator(APPS / "loads_at_second_try.py", *args, options=options) as run:
        assert run.wait() == 0, run.log()
        assert any("not ready after 3s" in message for message in run.messages("ERROR")), run.log()
    assert (tmp_path / "out.txt").read_text() == "A\nB\n"


def test_an_application_that_can_no_longer_be_loaded_ends_the_run(consumer, tmp_path):
    app = tmp_path / "numbered_for_now.py"
    gone = tmp_path / "gone"
    # Code is frozen, what it reads is not.
    app.write_text(
        f"import os, sys\nsys.path.insert(0, {str(APPS)!r})\nfrom numbered import application_setup\n"
        f"if os.path.exists({str(gone)!r}):\n    raise RuntimeError('the configuration is gone')\n"
    )
    with run_app(consumer, app) as run:
        send(run.address(), frames(["k 1"]))
        consumer.wait_count(1)
        run.wait_for("standby is ready", count=2)
        gone.touch()
        kill_seated(run)
        run.wait_for("a worker could not start, trying again")
        assert run.wait() == 3
    failures = [message for message in run.messages("WARN") if message.startswith("a worker could not start")]
    assert len(failures) > 5
    assert "RuntimeError: the configuration is gone" in run.text()

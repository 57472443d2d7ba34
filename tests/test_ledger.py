"""State whose snapshots fail, or that the ledger does not hold, when its worker dies."""

import os
import signal
import urllib.request

import pytest

from tests.harness.clients import frames, send
from tests.harness.control import output, status
from tests.harness.numbered import by_key, expected, messages
from tests.harness.orchestrator import Orchestrator, message_of, read_dead_letters
from tests.harness.places import APPS

SENT = messages(2_000)


def run_app(consumer, app, *options, args=()):
    place = ["--in", "127.0.0.1:0", "--out", consumer.place, *args]
    return Orchestrator(app, *place, workers=1, options=["-v", *options])


def kill_seated(run):
    """Kills the worker in the only slot."""
    pid = run.wait_for("worker took a slot")["pid"]
    os.kill(pid, signal.SIGKILL)
    run.wait_for(lambda event: event.get("pid") == pid and "died" in event["message"])


def scrape(place):
    with urllib.request.urlopen(place) as response:
        return response.read().decode()


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


def test_a_journal_that_is_about_to_be_given_up_is_a_problem(consumer):
    """``status`` says so, with the key, long before a death ends the run."""
    options = ["--queue-bytes", "2KiB", "--metrics", "127.0.0.1:0"]
    with run_app(consumer, APPS / "unpicklable_state.py", *options) as run:
        place = run.wait_for("metrics at ")["message"].rpartition(" ")[2]
        problems = []
        for number in range(1000):
            send(run.address(), frames([f"k {number}"]))
            consumer.wait_count(number + 1)
            problems = status(run)["problems"]
            if problems:
                break
        (problem,) = problems
        assert "the journal of slot 0 has" in problem
        assert "of 8.0 KiB, at which it is given up" in problem
        assert "the state of key 'k' in table \"numbers\" cannot be pickled: TypeError" in problem
        (seat,) = [worker["seat"] for worker in status(run)["workers"] if worker["seat"]]
        assert seat["journal_limit_bytes"] == 8192
        assert 6144 < seat["journal_bytes"] <= 8192
        assert "cannot be pickled" in seat["unsaved_state"]
        assert seat["rebuildable"] is True
        assert "of 8.0 KiB" in output("status", "--control", run.control)
        assert 'wallaroo_slot_unsaved_state{slot="0"} 1' in scrape(place)
        send(run.address(), frames([f"k {number}" for number in range(1000)]))
        run.wait_for("its journal no longer fits")
        (problem,) = status(run)["problems"]
        assert "the state of slot 0 can no longer be rebuilt: if its worker dies, the run ends" in problem
        assert 'wallaroo_slot_rebuildable{slot="0"} 0' in scrape(place)


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


@pytest.mark.parametrize(("loading", "deaths"), [("hang", 1), ("crash", 2)])
def test_a_state_that_harms_who_loads_it(consumer, tmp_path, loading, deaths):
    """The key is named, not the message that needed the state first; other keys go on."""
    path = tmp_path / "dead.jsonl"
    options = ["--replay-budget", "1us", "--step-timeout", "700ms", "--dead-letters", path]
    with run_app(consumer, APPS / "fatal_loading.py", *options, args=["--loading", loading]) as run:
        send(run.address(), frames(["k 1"]))
        consumer.wait_count(1)
        send(run.address(), frames(["other 1"]))
        consumer.wait_count(2)
        kill_seated(run)
        send(run.address(), frames(["k 2", "new 1", "k 3", "new 2"]))
        consumer.wait_count(4)
        run.stop()
        assert run.summary()["worker_deaths"] == 1 + deaths
        assert run.wait_for("loading the state of key 'k' in table \"numbers\" has ended its worker")
    assert consumer.lines() == ["k 1 => 1", "other 1 => 1", "new 1 => 1", "new 2 => 2"]
    letters = read_dead_letters(path)
    assert [message_of(letter) for letter in letters] == ["k 2", "k 3"]
    assert all("is not loaded: it has killed or hung" in letter["message"] for letter in letters)


def test_a_state_that_is_larger_than_a_message_is_saved_and_restored_in_pieces(consumer):
    sent = [f"k {number}" for number in range(200)]
    with run_app(consumer, APPS / "large_state.py", "--max-frame", "1MiB", "--queue-bytes", "1MiB") as run:
        send(run.address(), frames(sent[:100]))
        consumer.wait_count(100)
        kill_seated(run)
        send(run.address(), frames(sent[100:]))
        consumer.wait_count(200)
        run.stop()
    assert consumer.lines() == expected(sent)["k"]
    assert "cannot be" not in run.text()


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


def test_keys_of_a_slot_whose_new_workers_hang_go_on_in_another(consumer, tmp_path):
    app, hangs = tmp_path / "hangs_later.py", tmp_path / "hangs"
    app.write_text(
        f"import os, sys, time\nsys.path.insert(0, {str(APPS)!r})\nfrom numbered import application_setup\n"
        f"while os.path.exists({str(hangs)!r}):\n    time.sleep(0.1)\n"
    )
    place = ["--in", "127.0.0.1:0", "--out", consumer.place]
    with Orchestrator(app, *place, workers=2, options=["-v", "--standbys", "0"]) as run:
        run.wait_for("worker took a slot", count=2)
        send(run.address(), frames(SENT[:1_000]))
        consumer.wait_count(1_000)
        hangs.touch()
        kill_seated(run)
        send(run.address(), frames(SENT[1_000:1_500]))
        consumer.wait_count(1_500)
        assert run.wait_for("its keys go on in other slots until it has one")
        hangs.unlink()
        run.wait_for("worker took a slot", count=3)
        send(run.address(), frames(SENT[1_500:]))
        consumer.wait_count(2_000)
        run.stop()
        assert run.summary()["dead_letters"] == 0
    assert by_key(consumer.lines()) == expected(SENT)


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

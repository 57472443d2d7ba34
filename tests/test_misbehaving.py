"""Applications that misbehave: only the guilty messages become dead letters, and all other output is exact."""

import pytest

from tests.harness.clients import frames, send
from tests.harness.numbered import by_key, expected, messages
from tests.harness.orchestrator import Orchestrator, message_of, read_dead_letters
from tests.harness.places import APPS

BAD = (123, 456)
SENT = messages(1_000, bad=BAD)
GUILTY = [message for message in SENT if message.endswith(" bad")]


def misbehave(consumer, tmp_path, name, *args, options=(), guilty=(), sent=SENT):
    """Runs an application, checks the output without the ``guilty`` messages, and returns the dead letters."""
    path = tmp_path / "dead.jsonl"
    options = ["--dead-letters", path, *options]
    with Orchestrator(
        APPS / f"{name}.py", "--in", "127.0.0.1:0", "--out", consumer.place, *args, options=options
    ) as run:
        send(run.address(), frames(sent))
        consumer.wait_count(len(sent) - len(guilty))
        run.stop()
        summary = run.summary()
    assert by_key(consumer.lines()) == expected(sent, without=guilty)
    letters = read_dead_letters(path)
    assert sorted(message_of(letter) for letter in letters) == sorted(guilty)
    assert summary["dead_letters"] == len(guilty)
    return letters, run


@pytest.mark.parametrize("where", ["stateless", "state"])
@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("segfault", "SIGSEGV"),
        ("abort", "SIGABRT"),
        ("hard_exit", "exit code 7"),
        ("connection_closer", "closed the worker's own descriptors"),
    ],
)
def test_a_message_that_kills_its_worker(consumer, tmp_path, name, cause, where):
    letters, run = misbehave(consumer, tmp_path, name, "--where", where, guilty=GUILTY)
    for letter in letters:
        assert cause in letter["message"]
        assert letter["step"] == {"stateless": "watch", "state": "number"}[where]
        # A message after a key may come from several sources.
        assert letter["source"] == {"stateless": "numbered", "state": None}[where]
    assert run.summary()["worker_deaths"] >= len(GUILTY)


@pytest.mark.parametrize("where", ["stateless", "state"])
@pytest.mark.parametrize("name", ["endless_loop", "slow_step", "interpreter_lock", "leaves_its_group"])
def test_a_message_that_never_ends(consumer, tmp_path, name, where):
    sent = messages(1_000, bad=BAD[:1])
    guilty = GUILTY[:1]
    options = ["--step-timeout", "1s"]
    letters, _ = misbehave(consumer, tmp_path, name, "--where", where, options=options, guilty=guilty, sent=sent)
    assert "timeout" in letters[0]["message"]
    assert letters[0]["step"] == {"stateless": "watch", "state": "number"}[where]
    assert "misbehave" in letters[0]["traceback"], "the stack of the hang"


@pytest.mark.parametrize("where", ["stateless", "state"])
@pytest.mark.parametrize(
    ("name", "args", "exception"),
    [
        ("raises", (), "ValueError"),
        ("soft_exit", (), "SystemExit"),
        ("recursion", ("--limit", "python"), "RecursionError"),
        ("memory_hog", (), "MemoryError"),
    ],
)
def test_a_message_that_raises_costs_no_worker(consumer, tmp_path, name, args, exception, where):
    letters, run = misbehave(consumer, tmp_path, name, "--where", where, *args, guilty=GUILTY)
    for letter in letters:
        assert letter["exception"] == exception
        assert letter["step"] == {"stateless": "watch", "state": "number"}[where]
        assert "misbehave" in letter["traceback"]
    assert run.summary()["worker_deaths"] == 0


def test_recursion_without_a_limit(consumer, tmp_path):
    letters, _ = misbehave(consumer, tmp_path, "recursion", "--limit", "none", guilty=GUILTY)
    # Python 3.12 and later detect the end of the C stack themselves.
    assert {letter["exception"] for letter in letters} <= {"WorkerDeath", "RecursionError"}


@pytest.mark.parametrize("where", ["stateless", "state"])
@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("output_flood", ()),
        ("descriptor_closer", ()),
        ("descriptor_closer", ("--dup",)),
        ("forker", ()),
        ("unpicklable_state", ()),
        ("unloadable_state", ()),
    ],
)
def test_what_harms_nobody(consumer, tmp_path, name, args, where):
    _, run = misbehave(consumer, tmp_path, name, "--where", where, *args)
    assert run.summary()["worker_deaths"] == 0


@pytest.mark.parametrize("where", ["stateless", "state"])
def test_a_slow_batch_that_moves_on_is_not_hung(consumer, tmp_path, where):
    """Batches sized for microseconds a message outlast the step timeout by far when a database has a bad minute."""
    sent = messages(1_000, bad=[500])
    args = ["--in", "127.0.0.1:0", "--out", consumer.place, "--where", where]
    with Orchestrator(APPS / "turns_slow.py", *args, options=["--step-timeout", "1s"], workers=1) as run:
        send(run.address(), frames(sent[:500]))
        consumer.wait_count(500)
        send(run.address(), frames(sent[500:]))
        consumer.wait_count(1_000)
        run.stop()
    assert by_key(consumer.lines()) == expected(sent)
    assert (run.summary()["worker_deaths"], run.summary()["dead_letters"]) == (0, 0)


@pytest.mark.parametrize(("saving", "deaths"), [("hang", 1), ("crash", 2), ("slow", 0)])
def test_a_state_that_harms_who_saves_it(consumer, tmp_path, saving, deaths):
    """No message is blamed, the key is named, and the states of others are still saved."""
    options = ["--step-timeout", "700ms", "--replay-budget", "10ms"]
    _, run = misbehave(consumer, tmp_path, "fatal_saving", "--saving", saving, options=options)
    assert run.summary()["worker_deaths"] <= deaths
    named = any("saving the state of key 'k7'" in message for message in run.messages())
    assert named == (run.summary()["worker_deaths"] == deaths > 0)


def test_a_generator_that_kills_who_asks_it_for_a_value(tmp_path):
    """The values before it come out, the generator ends, and the run ends by itself."""
    path, written = tmp_path / "dead.jsonl", tmp_path / "numbers.txt"
    options = ["--dead-letters", path]
    with Orchestrator(APPS / "fatal_generator.py", "30", written, workers=1, options=options) as run:
        assert run.wait() == 1, run.log()
        assert "the rest of the generator numbers was not read: WorkerDeath: killed its worker" in run.text()
        assert run.summary()["worker_deaths"] <= 5
        assert run.summary()["messages_in"] == 30
    assert written.read_text().split() == [str(number) for number in range(30)]
    assert [letter["step"] for letter in read_dead_letters(path)] == ["numbers", "numbers"]


def test_a_flood_of_output_is_cut_short_with_a_count(consumer, tmp_path):
    _, run = misbehave(consumer, tmp_path, "output_flood")
    assert any("suppressed" in message for message in run.messages())
    assert len(run.events) < 10_000


def test_a_child_that_goes_on_as_the_worker(consumer, tmp_path):
    """The child of a fork in user code finds the worker's socket closed."""
    misbehave(consumer, tmp_path, "forker", "--return")

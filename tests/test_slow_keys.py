"""A call that takes long for one key holds up the keys of its own slot at most, and those for one call."""

import os
from collections import Counter

import pytest

from tests.harness.clients import frames, send
from tests.harness.orchestrator import Orchestrator
from tests.harness.places import APPS

KEYS, ROUNDS = 40, 60
OTHERS = KEYS // 5
"""Keys that are in the other slot for certain; about half of them are."""


@pytest.fixture
def answer(tmp_path):
    path = tmp_path / "answer"
    os.mkfifo(path)
    return path


def run_app(app, consumer, answer):
    environment = {**os.environ, "WAITS_FOR": str(answer)}
    arguments = ["--in", "127.0.0.1:0", "--out", consumer.place, "--where", "state"]
    return Orchestrator(APPS / app, *arguments, environment=environment)


def test_keys_of_other_slots_do_not_wait(consumer, answer):
    with run_app("waits.py", consumer, answer) as run:
        send(run.address(), frames([f"k{key} 0" for key in range(KEYS)]))
        consumer.wait_count(KEYS)
        send(run.address(), frames(["slow 0 bad"]))
        run.wait_for("misbehaves")
        for number in range(1, ROUNDS):
            send(run.address(), frames([f"k{key} {number}" for key in range(KEYS)]))
        consumer.wait_count(KEYS + OTHERS * (ROUNDS - 1))
        with open(answer, "w"):
            pass
        consumer.wait_count(KEYS * ROUNDS + 1)
        run.stop()
        assert run.summary()["worker_deaths"] == 0
    seen = Counter(line.split(" => ")[0] for line in consumer.lines())
    assert set(seen.values()) == {1}, "every message is processed once"


def test_keys_of_its_own_slot_wait_for_one_call_and_move(consumer, answer):
    with run_app("slow_key.py", consumer, answer) as run:
        send(run.address(), frames([f"k{key} 0" for key in range(KEYS)]))
        consumer.wait_count(KEYS)
        send(run.address(), frames(["slow 0 bad"]))
        assert run.wait_for("key 'slow' is slow")
        send(run.address(), frames(["slow 1 bad"]))
        run.wait_for("misbehaves", count=2)
        for number in range(1, ROUNDS):
            send(run.address(), frames([f"k{key} {number}" for key in range(KEYS)]))
        # A key or two may share the partition of the slow one.
        consumer.wait_count(KEYS + 1 + (KEYS - 4) * (ROUNDS - 1))
        with open(answer, "w"):
            pass
        consumer.wait_count(KEYS * ROUNDS + 2)
        run.stop()
        assert (run.summary()["worker_deaths"], run.summary()["dead_letters"]) == (0, 0)
    last = {line.split(" ")[0]: line.split(" => ")[1] for line in consumer.lines()}
    assert set(last.values()) == {str(ROUNDS), "2"}, "states have moved with their keys"

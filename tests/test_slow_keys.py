"""A call that takes long for one key holds up the keys of its own slot at most."""

import os
import time
from collections import Counter

from tests.harness.clients import frames, send
from tests.harness.orchestrator import PATIENCE, Orchestrator
from tests.harness.places import APPS

KEYS, ROUNDS = 40, 60
OTHERS = KEYS // 5
"""Keys that are in the other slot for certain; about half of them are."""


def test_keys_of_other_slots_do_not_wait(consumer, tmp_path):
    answer = tmp_path / "answer"
    environment = {**os.environ, "WAITS_FOR": str(answer)}
    arguments = ["--in", "127.0.0.1:0", "--out", consumer.place, "--where", "state"]
    with Orchestrator(APPS / "waits.py", *arguments, environment=environment) as run:
        send(run.address(), frames([f"k{key} 0" for key in range(KEYS)]))
        consumer.wait_count(KEYS)
        send(run.address(), frames(["slow 0 bad"]))
        run.wait_for("misbehaves")
        for number in range(1, ROUNDS):
            send(run.address(), frames([f"k{key} {number}" for key in range(KEYS)]))
        deadline = time.monotonic() + PATIENCE
        while len(complete(consumer)) < OTHERS:
            assert time.monotonic() < deadline, f"only {complete(consumer)} go on while one key is slow"
            time.sleep(0.02)
        assert not answer.exists()
        answer.touch()
        consumer.wait_count(KEYS * ROUNDS + 1)
        run.stop()
        assert run.summary()["worker_deaths"] == 0
    seen = Counter(line.split(" => ")[0] for line in consumer.lines())
    assert set(seen.values()) == {1}, "every message is processed once"


def complete(consumer):
    """The keys of which every message has come out."""
    seen = Counter(line.split(" ")[0] for line in consumer.lines())
    return [key for key, count in seen.items() if count == ROUNDS]

"""A call that takes long for one key holds up the keys of its own slot at most."""

import os
from collections import Counter

from tests.harness.clients import frames, send
from tests.harness.orchestrator import Orchestrator
from tests.harness.places import APPS

KEYS, ROUNDS = 40, 60
OTHERS = KEYS // 5
"""Keys that are in the other slot for certain; about half of them are."""


def test_keys_of_other_slots_do_not_wait(consumer, tmp_path):
    answer = tmp_path / "answer"
    os.mkfifo(answer)
    environment = {**os.environ, "WAITS_FOR": str(answer)}
    arguments = ["--in", "127.0.0.1:0", "--out", consumer.place, "--where", "state"]
    with Orchestrator(APPS / "waits.py", *arguments, environment=environment) as run:
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

"""Verbs under the orchestrator give what they give in one process, though workers are killed."""

import json
import os
import random
import signal

import pytest
import wallaroo.testing

from tests.harness.orchestrator import Orchestrator
from tests.harness.places import APPS
from tests.test_same_results import application, by_key

MESSAGES = 40_000

SHAPES = {
    "aggregates": {"stateless": ["flat_map", "branch", "filter"], "keyed": ["inspect", "stateful", "count"]},
    "values": {"stateless": ["split"], "keyed": ["max", "branch", "dedup"]},
    "windows": {"stateless": [], "keyed": [["range", 500, 200, 100, "drop", 33, "sum"], "reduce"]},
    "sessions": {"stateless": ["map"], "keyed": ["stateful", ["session", 3, 0, 100, "drop", 0, "count"]]},
    "counts": {"stateless": ["filter"], "keyed": [["count", 7, 0, 0, "drop", 0, "collect_list"]]},
}


def stream():
    """Lines whose times lag behind the latest by less than the delays of the windows."""
    numbers = random.Random(5)
    texts = ["a-b", "bee", "xa", "axe", "q", "aqua-x", "cat"]
    return [
        f"{max(0, time - numbers.randrange(50))} {numbers.choice('cdefgh')} {numbers.choice(texts)}"
        for time in range(MESSAGES)
    ]


@pytest.mark.parametrize("name", SHAPES)
def test_verbs_outlive_their_workers(name, tmp_path):
    """Workers are killed between the halves of the stream, when keys have states, and during the second half."""
    source, sink, other = tmp_path / "in", tmp_path / "out.txt", tmp_path / "other.txt"
    os.mkfifo(source)
    lines = stream()
    args = [json.dumps({**SHAPES[name], "key": "text", "sources": [str(source)]}), str(sink), str(other)]
    with Orchestrator(APPS / "verbs.py", *args, workers=2, options=["--idle-after", "1h"]) as run:
        with open(source, "w") as pipe:
            run.ready()
            for half in (lines[: MESSAGES // 2], lines[MESSAGES // 2 :]):
                pipe.write("".join(f"{line}\n" for line in half))
                pipe.flush()
                os.kill(run.seated()[0], signal.SIGKILL)
        assert run.wait() == 0, run.log()
        summary = run.summary()
    assert summary["worker_deaths"] >= 1
    outcome = wallaroo.testing.run(application("verbs"), lines, args=args, batch=1_000)
    assert by_key(sink.read_text().splitlines()) == by_key(
        b"".join(outcome.outputs[f"file {sink}"]).decode().splitlines()
    )
    assert (summary["dead_letters"], summary["late"]) == (len(outcome.dead_letters), outcome.late)

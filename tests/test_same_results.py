"""``wallaroo.testing`` in one process gives the same results as the orchestrator and its workers.

Applications and their inputs are random; ``--examples N`` tries more of them.
"""

import importlib
import json
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

import pytest
import wallaroo.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.harness.orchestrator import Orchestrator, read_dead_letters
from tests.harness.places import APPS

STATELESS = st.sampled_from(["upper", "some", "raises", "parts", "together"])
STATES = st.sampled_from(["number", "with last"])
KEYS = st.sampled_from(["text", "number", "pair", "all"])

# How far a message may be behind the time that its source has reached. With a delay of this length, no message is late.
FARTHEST_BEHIND = 200
TEXTS = st.text("abqxy-", min_size=1, max_size=5)
STEPS_OF_TIME = st.integers(0, 10) | st.integers(0, 100)
BEHIND = st.just(0) | st.integers(0, 30) | st.integers(0, FARTHEST_BEHIND)
TIMED_MESSAGE = st.tuples(STEPS_OF_TIME, BEHIND, st.sampled_from("cdef"), TEXTS)
# By default, hypothesis makes few streams that are long enough for a late message.
TIMED_MESSAGES = st.lists(TIMED_MESSAGE, max_size=10) | st.lists(TIMED_MESSAGE, min_size=30, max_size=60)


@st.composite
def windows(draw, delays, kinds=("count", "range", "session")):
    kind = draw(st.sampled_from(kinds))
    size = draw(st.integers(1, 8) if kind == "count" else st.integers(1, 80))
    on_late = draw(st.sampled_from(["drop", "dead-letter"]))
    return [kind, size, draw(st.integers(1, 80)), draw(st.sampled_from(delays)), on_late]


@st.composite
def of_one_source(draw):
    """State and windows in any order, sometimes with a second key."""
    keyed = []
    steps = st.lists(st.sampled_from(["stateless", "state", "windows", "windows", "key again"]), max_size=6)
    for kind in draw(steps | st.just(["windows", "key again", "windows"])):
        if kind == "windows":
            keyed.append(draw(windows([0, 0, 20, FARTHEST_BEHIND])))
        elif kind == "key again":
            keyed.append(kind)
        else:
            keyed.append(draw(STATELESS if kind == "stateless" else STATES))
    return shape(3, 1, draw(st.lists(STATELESS, max_size=2)), draw(KEYS), keyed)


@st.composite
def of_two_sources(draw):
    """One merged stream: the result must not depend on how its sources interleave."""
    keyed = [draw(windows([FARTHEST_BEHIND], ["range", "session"])), *draw(st.lists(STATELESS | STATES, max_size=3))]
    return shape(3, 2, draw(st.lists(STATELESS, max_size=2)), draw(KEYS), keyed)


@st.composite
def of_the_builder(draw):
    """Generation 2, where each source has its own pipeline."""
    keyed = draw(st.lists(STATELESS | STATES, max_size=4))
    return shape(2, draw(st.integers(1, 2)), draw(st.lists(STATELESS, max_size=3)), draw(KEYS), keyed)


@st.composite
def without_keys(draw):
    return shape(draw(st.sampled_from([2, 3])), 1, draw(st.lists(STATELESS, max_size=5)), None, [])


def shape(generation, sources, stateless, key, keyed):
    return {"generation": generation, "sources": sources, "stateless": stateless, "key": key, "keyed": keyed}


VERBS = st.sampled_from(["map", "map_async", "filter", "flat_map", "inspect", "branch", "split"])
STATEFUL = st.sampled_from(["stateful", "ttl", "timers", "timers"])
AGGREGATES = STATEFUL | st.sampled_from(["count", "sum", "mean", "min", "max", "reduce", "collect_list", "dedup"])
AGGREGATIONS = st.sampled_from(["count", "sum", "mean", "min", "reduce", "collect_list"])


@st.composite
def of_verbs(draw):
    """The verbs of one source: aggregates and windows in any order, with a key or without."""
    keyed = []
    for kind in draw(st.lists(st.sampled_from(["verb", "aggregate", "windows"]), max_size=4)):
        if kind == "windows":
            keyed.append([*draw(windows([0, 20, FARTHEST_BEHIND])), draw(st.integers(-90, 90)), draw(AGGREGATIONS)])
        else:
            keyed.append(draw(VERBS if kind == "verb" else AGGREGATES))
    return {
        "stateless": draw(st.lists(VERBS, max_size=3)),
        "key": draw(st.sampled_from(["text", None])),
        "keyed": keyed,
    }


STRANGE_STEPS = st.sampled_from(
    ["upper", "no vowels", "raises", "words", "batch", "number", "twice", "whole", "strange", "collect", "branches"]
)
STRANGE_TEXTS = st.lists(st.text("aqxz b", max_size=8), max_size=12)
STRANGE_PIPELINES = st.lists(st.tuples(STRANGE_TEXTS, st.lists(STRANGE_STEPS, max_size=5)), min_size=1, max_size=3)
WORKERS = st.integers(1, 3)
BATCH = st.integers(1, 7)


def for_examples(request, *strategies):
    """Runs a function on examples from the strategies, ``--examples`` times."""
    tried = settings(
        max_examples=request.config.getoption("--examples"), deadline=None, suppress_health_check=list(HealthCheck)
    )
    return lambda function: tried(given(*strategies)(function))()


@pytest.mark.parametrize("shapes", [of_one_source, of_two_sources, of_the_builder, without_keys])
def test_streams_with_event_times(shapes, request):
    @for_examples(request, shapes(), st.lists(TIMED_MESSAGES, min_size=2, max_size=2), WORKERS, BATCH)
    def agree(shape, streams, workers, batch):
        # Without keys, and with one key for all, the sink keeps the order of the source.
        compared = {None: list, "all": list}.get(shape["key"], by_key)
        inputs = list(map(lines, streams[: shape["sources"]]))
        compare("timed", inputs, lambda sources: {**shape, "sources": sources}, compared, workers, batch)


@pytest.mark.parametrize("between", [[], ["key again"]])
@pytest.mark.parametrize("batch", [1, 100])
def test_counts_given_behind_the_watermark(between, batch):
    """Counts given by a value behind the watermark and at the end: each is in the time window of that moment."""
    pairs, ranges = ["count", 2, 0, 0, "dead-letter"], ["range", 100, 100, 0, "dead-letter"]
    shaped = shape(3, 1, [], "text", [pairs, *between, ranges])
    texts = ["10 c a", "20 c b", "150 d a", "30 c d", "40 c e", "50 c f", "151 d b"]
    compare("timed", [texts], lambda sources: {**shaped, "sources": sources}, by_key, 2, batch)


def test_several_keys_and_branches(request):
    @for_examples(request, STRANGE_PIPELINES, WORKERS, BATCH)
    def agree(pipelines, workers, batch):
        inputs = [texts for texts, _ in pipelines]
        steps = [steps for _, steps in pipelines]
        compare("shaped", inputs, lambda sources: list(zip(sources, steps)), Counter, workers, batch)


def test_verbs(request):
    @for_examples(request, of_verbs(), TIMED_MESSAGES, WORKERS, BATCH)
    def agree(shape, stream, workers, batch):
        # Without a key, a state belongs to all messages, and the sink keeps the order of the source.
        compared = list if shape["key"] is None else by_key
        compare("verbs", [lines(stream)], lambda sources: {**shape, "sources": sources}, compared, workers, batch)


def compare(app, inputs, shape, compared, workers, batch):
    """Runs the application both ways. ``shape`` makes its arguments from the paths of its sources."""
    with tempfile.TemporaryDirectory() as folder:
        sources = [Path(folder) / f"in {number}.txt" for number in range(len(inputs))]
        for path, texts in zip(sources, inputs):
            path.write_text("".join(f"{text}\n" for text in texts))
        sinks = [str(Path(folder) / f"out {number}.txt") for number in range(2)]
        args = [json.dumps(shape(list(map(str, sources)))), *sinks]
        letters = Path(folder) / "dead.jsonl"
        # No source counts as silent, even on a slow machine.
        options = ["--dead-letters", letters, "--standbys", "0", "--idle-after", "1h"]
        with Orchestrator(APPS / f"{app}.py", *args, workers=workers, options=options) as real:
            code, summary = real.wait(), real.summary()
        late, failed = summary["late"], summary["dead_letters"]
        # A run whose every message failed is no success.
        assert code == int(0 < summary["messages_in"] <= failed and not summary["messages_out"]), real.log()
        named = {f"source {number}": texts for number, texts in enumerate(inputs)}
        outcome = wallaroo.testing.run(application(app), named, args=args, batch=batch)
        for sink in sinks:
            written = b"".join(outcome.outputs.get(f"file {sink}", [])).decode().splitlines()
            assert compared(read(sink)) == compared(written)
        assert late == outcome.late
        fields = ["step", "exception", "message", "key", "value"]
        if app == "timed" and len(inputs) > 1:
            # The values in a window of several sources have no order.
            fields.remove("value")
        found = read_dead_letters(letters) if letters.exists() else []
        counted = [
            Counter(tuple(letter[field] for field in fields) for letter in some) for some in (found, made(outcome))
        ]
        assert counted[0] == counted[1]


def made(outcome):
    """The dead letters of a run in one process, in the form of the file."""
    return [
        {
            "step": letter.step,
            "exception": letter.exception,
            "message": letter.message,
            "key": None if letter.key is None else repr(letter.key),
            "value": letter.shown_value,
        }
        for letter in outcome.dead_letters
    ]


def application(name):
    sys.path.insert(0, str(APPS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(APPS))


def read(sink):
    """The lines of a sink's file; a sink without a pipeline writes no file."""
    return Path(sink).read_text().splitlines() if Path(sink).exists() else []


def lines(stream):
    """The lines of a source: time advances, and messages lag behind it."""
    clock, found = 0, []
    for step, behind, key, text in stream:
        clock += step
        found.append(f"{clock - behind} {key} {text}")
    return found


def by_key(written):
    """The lines of each key, in order."""
    of_key = defaultdict(list)
    for line in written:
        of_key[line.split(" ", 1)[0]].append(line)
    return of_key

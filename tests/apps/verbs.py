"""An application of verbs described by its first argument; it writes to two files. Its messages are ``TIME KEY TEXT``.

The description is JSON: ``sources`` (one path), ``stateless`` and ``keyed`` (verbs by name; a list makes windows), and
``key`` (a field, or null: without a key). The output for a key, and its order, depends only on the key's messages.
"""

import asyncio
import json
import operator

import wallaroo


def application_setup(args):
    shape, *sinks = args
    shape = json.loads(shape)
    (path,) = shape["sources"]
    pipeline = wallaroo.source("source 0", wallaroo.FileSourceConfig(path, Message, event_time=operator.itemgetter(0)))
    for name in shape["stateless"]:
        pipeline = STATELESS[name](pipeline)
    if shape["key"] is not None:
        pipeline = pipeline.key_by(operator.itemgetter(1), name="key")
    for name in shape["keyed"]:
        if isinstance(name, list):
            pipeline = windowed(pipeline, *name)
        else:
            pipeline = (STATELESS[name] if name in STATELESS else STATES[name])(pipeline)
    return wallaroo.application("Verbs", pipeline.to_sinks([wallaroo.FileSinkConfig(sink, line) for sink in sinks]))


class Message:
    """Decodes messages."""

    delimiter = b"\n"

    def decode(self, bs):
        time, key, text = bs.decode().split(" ")
        return int(time), key, text


@wallaroo.encoder
def line(message):
    return f"{message[1]} {message[2]}\n"


def upper(message):
    return (*message[:2], message[2].upper())


async def upper_later(message):
    if "b" in message[2]:
        # Those that come later are done first.
        await asyncio.sleep(0.002)
    no_q(message)
    return upper(message) if not_x(message) else None


def not_x(message):
    return not message[2].startswith("x")


def parts(message):
    return [(*message[:2], part) for part in message[2].split("-")]


def no_q(message):
    if "q" in message[2]:
        raise ValueError(f"no q is wanted in {message}")


def has_a(message):
    return "a" in message[2].lower()


def first(message):
    return message[2][:1]


def length(message):
    return len(message[2]) or None


def branch(pipeline):
    with_a, without = pipeline.branch(has_a)
    return with_a.map(upper).merge(without)


def split(pipeline):
    a, b, others = pipeline.split(first, ["a", "b", "q"])
    return a.merge(b.map(upper)).merge(others)


STATELESS = {
    "map": lambda pipeline: pipeline.map(upper),
    "map_async": lambda pipeline: pipeline.map_async(upper_later, concurrency=3),
    "filter": lambda pipeline: pipeline.filter(not_x),
    "flat_map": lambda pipeline: pipeline.flat_map(parts),
    "inspect": lambda pipeline: pipeline.inspect(no_q),
    "branch": branch,
    "split": split,
}


class Seen:
    def __init__(self):
        self.count = 0

    def __repr__(self):
        # As a dead letter shows it.
        return f"Seen({self.count})"


def number(message, seen):
    seen.count += 1
    return (*message[:2], f"{message[2]}#{seen.count}")


def longer(held, message):
    if "q" in message[2]:
        raise ValueError(f"no q is wanted in {message}")
    return (*held[:2], f"{held[2][:9]}+{message[2]}")


def from_pair(pair):
    """Makes a message of what an aggregate gives."""
    key, value = pair
    return 0, key, repr(value).replace(" ", "")


def from_window(window):
    """Makes a message of what an aggregation of windows gives."""
    bounds = f"{window.start:%S.%f}/{window.end:%S.%f}/{window.closed_by}"
    return 0, window.key, f"{window.value!r}/{bounds}".replace(" ", "")


def watch(message, seen, ctx):
    """Sets timers, moves and cancels them, and drops the state; what fails leaves all of that."""
    seen.count += 1
    if "a" in message[2]:
        ctx.set_timer(len(message[2]) * 7, message[2][0])
    if "b" in message[2]:
        ctx.set_timer(20)
    if "y" in message[2]:
        ctx.cancel_timer()
    if "x" in message[2]:
        ctx.delete_state()
    no_q(message)
    return (*message[:2], f"{message[2]}#{seen.count}")


def ring(seen, ctx):
    seen.count += 1
    if ctx.tag == "y":
        raise LookupError(f"{ctx.key} {seen.count}")
    if ctx.tag is None and seen.count % 3:
        ctx.set_timer(9)
    return 0, ctx.key, f"{ctx.tag}:{seen.count}"


STATES = {
    "stateful": lambda pipeline: pipeline.stateful(number, Seen),
    "ttl": lambda pipeline: pipeline.stateful(number, Seen, ttl=25),
    "timers": lambda pipeline: pipeline.stateful(watch, Seen, on_timer=ring, ttl=60),
    "count": lambda pipeline: pipeline.count().map(from_pair),
    "sum": lambda pipeline: pipeline.sum(length).map(from_pair),
    "mean": lambda pipeline: pipeline.mean(length).map(from_pair),
    "min": lambda pipeline: pipeline.min(operator.itemgetter(2)).map(from_pair),
    "max": lambda pipeline: pipeline.max(length).map(from_pair),
    "reduce": lambda pipeline: pipeline.reduce(longer).map(from_pair),
    "collect_list": lambda pipeline: pipeline.map(length).collect_list().map(from_pair),
    "dedup": lambda pipeline: pipeline.dedup(first).map(from_pair),
}

AGGREGATIONS = {
    "count": wallaroo.count,
    "sum": lambda: wallaroo.sum(length),
    "mean": lambda: wallaroo.mean(length),
    "min": lambda: wallaroo.min(operator.itemgetter(2)),
    "reduce": lambda: wallaroo.reduce(longer),
    "collect_list": wallaroo.collect_list,
}


def windowed(pipeline, kind, size, every, delay, on_late, offset, aggregation):
    late = {"delay": delay, "on_late": on_late}
    if kind == "count":
        windows = wallaroo.count_windows(size)
    elif kind == "session":
        windows = wallaroo.sessions(size, **late)
    else:
        windows = wallaroo.sliding(size, min(every, size), offset=offset, **late)
    return pipeline.window(windows).aggregate(AGGREGATIONS[aggregation]()).map(from_window)

"""A step with timers that does what its messages say, for tests. Messages are ``(seconds, key, what)``."""

from __future__ import annotations

import operator
from datetime import datetime, timedelta, timezone

import wallaroo
from verbs import literal

SECOND = 1_000_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def seconds(count):
    return timedelta(seconds=count)


def at(second):
    return EPOCH + seconds(second)


def passed(time):
    """Seconds since 1970."""
    return (time - EPOCH).total_seconds()


def timed():
    """Messages are ``(seconds, key, what)``."""
    source = wallaroo.StdinSourceConfig(literal, event_time=lambda message: message[0] * SECOND)
    return wallaroo.source("messages", source).key_by(operator.itemgetter(1))


class Seen:
    def __init__(self):
        self.whats = []


def act(message, seen, ctx):
    """Does what a message says, and gives what it finds."""
    what = message[2]
    seen.whats.append(what)
    found = (ctx.key, passed(ctx.now), list(seen.whats))
    assert (ctx.tag, ctx.window) == (None, None)
    if what[0] == "after":
        ctx.set_timer(seconds(what[1]), *what[2:])
    elif what[0] == "at":
        ctx.set_timer(at(what[1]), *what[2:])
    elif what[0] == "cancel":
        ctx.cancel_timer(*what[1:])
    elif what[0] == "delete":
        ctx.delete_state()
    elif what[0] == "fail":
        raise KeyError(what)
    return found


def ring(seen, ctx):
    """Gives what a timer finds. One whose name has digits is set again, as long as it is not 0."""
    seen.whats.append(ctx.tag)
    assert ctx.window is None
    if ctx.tag is not None and ctx.tag.isdigit() and int(ctx.tag):
        ctx.set_timer(seconds(3), str(int(ctx.tag) - 1))
    if ctx.tag == "delete":
        ctx.delete_state()
    return (ctx.key, passed(ctx.now), list(seen.whats), ctx.tag)

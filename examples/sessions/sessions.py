"""Visits to a web site: the pages that a user views without a pause of half an hour.

``sessions.py LOG`` reads a log and writes a line for each visit to standard output.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

import wallaroo as w


def application_setup(args: list[str]) -> w.Application:
    (path,) = args
    pages = w.source("Log", w.file(path, decode, event_time=when))
    # A web server writes a line when a request ends, so lines are slightly out of order.
    half_an_hour = w.sessions(timedelta(minutes=30), delay=timedelta(minutes=2), on_late="dead-letter")
    visits = pages.key_by(lambda page: page.user).window(half_an_hour).aggregate(w.collect_list())
    return w.application("Sessions", visits.map(show).sink(w.stdout(w.lines())))


class Page(NamedTuple):
    """A page that a user viewed."""

    at: datetime
    user: str
    path: str


@w.decoder(delimiter=b"\n")
def decode(bs: bytes) -> Page:
    at, user, path = bs.decode("utf-8").split(" ")
    return Page(datetime.fromisoformat(at), user, path)


def when(data: Page) -> datetime:
    return data.at


def show(visit: w.Windowed[str, list[Page]]) -> str:
    pages = sorted(visit.value)
    seconds = (pages[-1].at - pages[0].at).total_seconds()
    return f"{visit.key} {pages[0].at:%H:%M:%S} {seconds:.0f} s: {' '.join(page.path for page in pages)}"

"""Visits to a web site: the pages that a user views without a pause of half an hour.

``sessions.py LOG`` reads a log and writes a line for each visit to standard output.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import wallaroo


def application_setup(args: list[str]) -> wallaroo.Application:
    (path,) = args
    pages = wallaroo.source("Log", wallaroo.FileSourceConfig(path, decode, event_time=when))
    # A web server writes a line when a request ends, so lines are slightly out of order.
    visits = wallaroo.session_windows(wallaroo.minutes(30), on_late="dead-letter").with_delay(wallaroo.minutes(2))
    pipeline = pages.key_by(user).to(visits.over(Visit)).to_sink(wallaroo.StdoutSinkConfig(encode))
    return wallaroo.build_application("Sessions", pipeline)


class Page(NamedTuple):
    """A page that a user viewed."""

    at: datetime
    user: str
    path: str


@wallaroo.decoder(delimiter=b"\n")
def decode(bs: bytes) -> Page:
    at, user, path = bs.decode("utf-8").split(" ")
    return Page(datetime.fromisoformat(at), user, path)


def when(data: Page) -> int:
    return wallaroo.seconds(int(data.at.timestamp()))


@wallaroo.key_extractor
def user(data: Page) -> str:
    return data.user


class Visit(wallaroo.Aggregation[Page, list[Page], str]):
    """All pages of a visit, in the order in which they were viewed."""

    def initial_accumulator(self) -> list[Page]:
        return []

    def update(self, data: Page, accumulator: list[Page]) -> None:
        accumulator.append(data)

    def combine(self, left: list[Page], right: list[Page]) -> list[Page]:
        return left + right

    def output(self, key: str, accumulator: list[Page]) -> str:
        pages = sorted(accumulator)
        seconds = (pages[-1].at - pages[0].at).total_seconds()
        return f"{key} {pages[0].at:%H:%M:%S} {seconds:.0f} s: {' '.join(page.path for page in pages)}"


@wallaroo.encoder
def encode(data: str) -> str:
    return data + "\n"

"""Clicks of each user, in sessions that end after a pause of half an hour."""

from __future__ import annotations

from datetime import datetime, timedelta

import wallaroo as w

Click = dict[str, str]


def when(click: Click) -> datetime:
    return datetime.fromisoformat(click["at"])


def show(session: w.Windowed[str, list[Click]]) -> str:
    return f"{session.key} {session.start:%H:%M} {len(session.value)} {session.closed_by}"


def application_setup(args: list[str]) -> w.Application:
    clicks = w.source("clicks", w.stdin(w.csv_lines("user", "at"), event_time=when))
    sessions = clicks.key_by("user").window(w.sessions(timedelta(minutes=30))).aggregate(w.collect_list())
    return w.application("sessionisation", sessions.map(show).sink(w.stdout(w.lines())))

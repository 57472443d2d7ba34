"""Events by their kind into two files, others to standard output. ``routing.py ORDERS PAYMENTS``"""

from __future__ import annotations

from typing import Any

import wallaroo as w


def kind(event: dict[str, Any]) -> str:
    return event["kind"] if event.get("kind") in ("order", "payment") else "other"


def application_setup(args: list[str]) -> w.Application:
    events = w.source("events", w.stdin(w.json_lines(dict[str, Any])))
    orders, payments, others = events.split(kind, ["order", "payment", "other"])
    files = [branch.sink(w.file(path, w.json_lines())) for branch, path in zip((orders, payments), args)]
    return w.application("routing", *files, others.sink(w.stdout(w.json_lines())))

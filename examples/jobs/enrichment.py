"""Adds what an HTTP service knows of a user; it is asked again if it does not answer. ``enrichment.py URL``"""

from __future__ import annotations

import json
import urllib.request

import wallaroo as w

Row = dict[str, str]


def application_setup(args: list[str]) -> w.Application:
    (url,) = args

    def enrich(row: Row) -> Row:
        with urllib.request.urlopen(f"{url}/{row['user']}", timeout=5) as answer:
            return {**row, **json.load(answer)}

    def unknown(row: Row, error: Exception) -> Row:
        return {**row, "country": "unknown"}

    clicks = w.source("clicks", w.stdin(w.csv_lines("user", "page")))
    enriched = clicks.map(enrich, retries=2, on_error=unknown)
    return w.application("enrichment", enriched.sink(w.stdout(w.json_lines())))

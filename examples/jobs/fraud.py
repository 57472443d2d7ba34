"""Scores payments in batches with a model that each worker loads once; those above the threshold are written."""

from __future__ import annotations

import json
import math
from pathlib import Path

import wallaroo as w

weights: dict[str, float] = {}


@w.on_start
def load() -> None:
    weights.update(json.loads(Path(__file__).with_name("fraud.json").read_text()))


def score(payments: list[dict[str, str]]) -> list[dict[str, str]]:
    logits = [
        weights["bias"] + sum(weights[name] * float(paid[name]) for name in ("amount", "night")) for paid in payments
    ]
    return [{**paid, "risk": f"{1 / (1 + math.exp(-logit)):.2f}"} for paid, logit in zip(payments, logits)]


def application_setup(args: list[str]) -> w.Application:
    payments = w.source("payments", w.stdin(w.csv_lines("id", "amount", "night"))).map_batch(score)
    risky = payments.filter(lambda paid: float(paid["risk"]) > 0.5)
    return w.application("fraud", risky.sink(w.stdout(w.json_lines())))

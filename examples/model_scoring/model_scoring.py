"""Scores messages in batches with a scikit-learn model: ``computation_batch`` in a pool.

The pool ``models`` needs scikit-learn; the main pool and this module do not. ``train.py`` writes the model.
"""

from __future__ import annotations

import functools
import pathlib
import pickle
from typing import Any, NamedTuple

import wallaroo

MODEL = pathlib.Path(__file__).resolve().parent / "model.pickle"


class Petal(NamedTuple):
    name: str
    length: float
    width: float


class Score(NamedTuple):
    name: str
    kind: str
    probability: float


def application_setup(args: list[str]) -> wallaroo.Application:
    in_host, in_port = wallaroo.tcp_parse_input_addrs(args)[0]
    out_host, out_port = wallaroo.tcp_parse_output_addrs(args)[0]
    petals = wallaroo.source("Petals", wallaroo.TCPSourceConfig(in_host, in_port, decode))
    scores = petals.to(score, pool="models")
    return wallaroo.application("Model Scoring", scores.sink(wallaroo.TCPSinkConfig(out_host, out_port, encode)))


@wallaroo.decoder(header_length=4, length_fmt=">I")
def decode(bs: bytes) -> Petal:
    name, length, width = bs.decode("utf-8").split(",")
    return Petal(name, float(length), float(width))


@functools.cache
def trained_model() -> Any:
    # Loaded with the first batch, so only in workers of the pool.
    return pickle.loads(MODEL.read_bytes())


@wallaroo.computation_batch(name="score")
def score(batch: list[Petal]) -> list[Score]:
    model = trained_model()
    probabilities = model.predict_proba([(petal.length, petal.width) for petal in batch])
    best = probabilities.argmax(axis=1)
    return [
        Score(petal.name, str(model.classes_[kind]), float(row[kind]))
        for petal, kind, row in zip(batch, best, probabilities)
    ]


@wallaroo.encoder
def encode(data: Score) -> str:
    return f"{data.name},{data.kind},{data.probability:.2f}\n"

"""The jobs give the expected output, and have as many lines as the README says."""

from __future__ import annotations

import importlib
import pathlib
import re
import sqlite3
import threading
from collections.abc import Iterator

import pytest
import users

import wallaroo.testing

FOLDER = pathlib.Path(__file__).resolve().parent
FROM_STDIN = ["anomaly", "csv_to_sql", "fraud", "iot_dedup", "log_analytics", "sessionisation", "top_k"]


def lines_of(path: str) -> list[str]:
    return (FOLDER / path).read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("batch", [1, 100])
@pytest.mark.parametrize("name", FROM_STDIN)
def test_expected_output(name: str, batch: int) -> None:
    outcome = wallaroo.testing.run(importlib.import_module(name), lines_of(f"input/{name}.txt"), batch=batch)
    assert outcome.dead_letters == []
    assert sorted(outcome.lines) == sorted(lines_of(f"expected/{name}.txt"))


def test_the_database_takes_the_statements() -> None:
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE orders (id INTEGER, item TEXT, amount REAL)")
    database.executescript("\n".join(lines_of("expected/csv_to_sql.txt")))
    rows = database.execute("SELECT * FROM orders ORDER BY id").fetchall()
    assert rows == [(1, "tea", 2.5), (2, "barista's cup", 10.0), (4, "pot", 7.0)]


def test_orders_and_payments_in_any_order() -> None:
    import orders_payments

    for first, second in (("orders", "payments"), ("payments", "orders")):
        app = wallaroo.testing.InProcess(orders_payments, args=["orders.txt", "payments.txt"])
        app.send(lines_of(f"input/{first}.txt"), source=first)
        app.send(lines_of(f"input/{second}.txt"), source=second)
        app.end()
        joined = sorted(sorted(re.findall(r'"(\w+)":"(\w+)"', line)) for line in app.outcome.lines)
        expected = [re.findall(r'"(\w+)":"(\w+)"', line) for line in lines_of("expected/orders_payments.txt")]
        assert joined == sorted(map(sorted, expected))


def test_routing() -> None:
    import routing

    outcome = wallaroo.testing.run(routing, lines_of("input/routing.txt"), args=["orders", "payments"])
    assert {name: len(written) for name, written in outcome.outputs.items()} == {
        "file orders": 2,
        "file payments": 1,
        "stdout": 2,
    }


@pytest.fixture
def service() -> Iterator[str]:
    server = users.serve(0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_enrichment(service: str) -> None:
    import enrichment

    outcome = wallaroo.testing.run(enrichment, lines_of("input/enrichment.txt"), args=[service])
    assert outcome.dead_letters == []
    assert outcome.lines == lines_of("expected/enrichment.txt")


def test_the_lines_are_counted() -> None:
    listed = re.findall(r"\| \[(\w+)\]\(\w+\.py\) .* \| (\d+) \|", (FOLDER / "README.md").read_text(encoding="utf-8"))
    assert len(listed) == 10
    for name, lines in listed:
        assert len([line for line in lines_of(f"{name}.py") if line.strip()]) == int(lines), name

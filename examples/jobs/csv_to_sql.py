"""CSV to SQLite: ``wallaroo-orch run csv_to_sql.py < orders.csv | sqlite3 orders.db``. Wrong rows are left out."""

from __future__ import annotations

import wallaroo as w


def insert(row: dict[str, str]) -> str:
    item = row["item"].replace("'", "''")
    return f"INSERT INTO orders (id, item, amount) VALUES ({int(row['id'])}, '{item}', {float(row['amount'])});"


def application_setup(args: list[str]) -> w.Application:
    rows = w.source("orders", w.stdin(w.csv_lines("id", "item", "amount")))
    return w.application("csv to sql", rows.map(insert, on_error="skip").sink(w.stdout(w.lines())))

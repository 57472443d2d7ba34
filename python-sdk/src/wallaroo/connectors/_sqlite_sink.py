"""A sink that writes rows of an SQLite table, exactly once."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from wallaroo._errors import WallarooParameterError
from wallaroo._io.addresses import check_path
from wallaroo._io.connectors import RejectedMessageError, Sink
from wallaroo._steps.objects import shown_type

_POSITIONS = "wallaroo_positions"
_REJECTED = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    # A value of a type that SQLite does not know: the one before Python 3.11, the other since.
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    TypeError,
    OverflowError,
)
"""What a row is to blame for. Other errors are those of the database: it is tried again."""


class SqliteSink(Sink[Mapping[str, Any]]):
    """Write each message as a row of a table: its values by the names of columns.

    The position is in the table ``wallaroo_positions`` of the same file, written in the same transaction as the rows:
    with ``--state``, each row is written exactly once, whatever dies. A message that the table does not take is a dead
    letter: it lacks a column, breaks a constraint, or has a value that SQLite does not know. A file that is locked is
    waited for.

    Args:
        path: The database's file; a relative path is relative to where ``wallaroo-orch`` was started. It is made if it
            does not exist.
        table: The table.
        columns: Its columns that are written. ``None``: those that the table has.
        key: The columns that tell rows apart: a row that is there is changed then. The table must have a unique index
            or primary key on them.
        create: A statement that makes the table, run at the beginning: ``create table if not exists ...``.

    Raises:
        WallarooParameterError: The path is empty, or a name is not one.

    Example:
        >>> import wallaroo
        >>> from wallaroo.connectors import SqliteSink
        >>> orders = wallaroo.source("orders", wallaroo.file("orders.jsonl", wallaroo.json_lines()))
        >>> orders.sink(SqliteSink("shop.db", "orders", key=["id"]))
        <Pipeline 'orders'>
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        table: str,
        *,
        columns: Sequence[str] | None = None,
        key: Sequence[str] = (),
        create: str | None = None,
    ) -> None:
        self.path = check_path("SqliteSink", path)
        self.table = _name("table", table)
        self.columns = None if columns is None else [_name("columns", column) for column in columns]
        self.key = [_name("key", column) for column in key]
        self.create = create

    def open(self) -> str | None:
        """Open the database.

        Returns:
            The position that it has, ``None`` if it has none.

        Raises:
            sqlite3.OperationalError: It cannot be opened, or has no such table.
        """
        self._database = sqlite3.connect(self.path, timeout=60)
        with self._database:
            if self.create is not None:
                self._database.execute(self.create)
            self._database.execute(
                f"create table if not exists {_POSITIONS} (sink text primary key, position text not null)"
            )
        known = [row[1] for row in self._database.execute(f"pragma table_info({_quoted(self.table)})")]
        if not known:
            raise sqlite3.OperationalError(
                f"{self.path} has no table {self.table}: make it, or give create='create table if not exists ...'"
            )
        self._columns = known if self.columns is None else self.columns
        self._insert = self._statement()
        found = self._database.execute(f"select position from {_POSITIONS} where sink = ?", (self.table,)).fetchone()
        return None if found is None else str(found[0])

    def write(self, position: str, messages: list[Mapping[str, Any]]) -> None:
        """Write rows and the position in one transaction.

        Args:
            position: Where the sink is behind these messages.
            messages: The rows, each a dict by column.

        Raises:
            RejectedMessageError: The table does not take one of them; none is written.
        """
        # The transaction is undone by an exception.
        with self._database:
            for index, message in enumerate(messages):
                try:
                    self._database.execute(self._insert, self._values(message))
                except _REJECTED as error:
                    raise RejectedMessageError(index, str(error)) from error
            self._database.execute(f"insert or replace into {_POSITIONS} values (?, ?)", (self.table, position))

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _values(self, message: Any) -> list[Any]:
        if not isinstance(message, Mapping):
            raise TypeError(f"a row is a dict by column, and this is {shown_type(message)}")
        missing = [column for column in self._columns if column not in message]
        if missing and self.columns is not None:
            raise TypeError(f"it has no {', '.join(missing)}")
        return [message.get(column) for column in self._columns]

    def _statement(self) -> str:
        columns = ", ".join(map(_quoted, self._columns))
        places = ", ".join("?" for _ in self._columns)
        statement = f"insert into {_quoted(self.table)} ({columns}) values ({places})"
        if not self.key:
            return statement
        others = [column for column in self._columns if column not in self.key]
        changes = ", ".join(f"{_quoted(column)} = excluded.{_quoted(column)}" for column in others)
        action = f"do update set {changes}" if others else "do nothing"
        return f"{statement} on conflict ({', '.join(map(_quoted, self.key))}) {action}"


def _name(what: str, name: Any) -> str:
    if not isinstance(name, str) or not name or "\0" in name:
        raise WallarooParameterError(f"SqliteSink: {what} must be a name, got {name!r}", hint='for example "orders"')
    return name


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'

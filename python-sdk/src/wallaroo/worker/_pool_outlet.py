"""Where values cross into another pool: an outlet behind a step, whose values go on under the keys they came with.

Values of a stage whose messages have no key yet go under the key ``None``. They leave in small pieces, in order: the
orchestrator cannot take a group apart, and the step on the other side may be a thousand times slower than this one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from wallaroo._codec.protocol import GROUPS
from wallaroo._codec.values import ValueCodec
from wallaroo.worker._batch import BatchRun
from wallaroo.worker._columns import Column
from wallaroo.worker._contracts import too_large
from wallaroo.worker._outlets import PIECE, Entry, Outlet, halves


class _Piece(NamedTuple):
    """Values of one key that are neighbours, and where in their column they are."""

    key: Any
    values: list[Any]
    column: Column
    positions: Sequence[int]


class PoolOutlet(Outlet):
    """A node whose values cross, in a stage that runs step by step.

    Args:
        node: Id of the node whose values they are.
        codec: Encodes them.
    """

    kind = GROUPS

    def __init__(self, node: int, codec: ValueCodec) -> None:
        super().__init__(node)
        self._codec = codec
        self._pieces: list[_Piece] = []

    def begin(self) -> None:
        """Forget the batch before."""
        self._pieces = []

    def run(self, column: Column, run: BatchRun) -> None:
        """Take in the values of a column."""
        start = 0
        for key, count in _stretches(column, run):
            for first in range(start, start + count, PIECE):
                positions = range(first, min(first + PIECE, start + count))
                values = column.values[positions.start : positions.stop]
                self._pieces.append(_Piece(key, values, column, positions))
            start += count

    def data(self, run: BatchRun) -> list[Any]:
        """Return flat ``key, count, codec, values``."""
        run.enter(self.node)
        pieces = self._pieces
        flat: list[Any] = []
        types = frozenset().union(*(piece.column.types for piece in pieces))
        encoded = self._codec.encode_groups([piece.values for piece in pieces], types)
        if encoded is not None:
            for piece, data in zip(pieces, encoded[1]):
                flat += (piece.key, len(piece.values), encoded[0], data)
            return flat
        self._pieces = []
        for piece in pieces:
            kept, entry = self._encoded(piece, run)
            if entry is not None:
                self._pieces.append(kept)
                flat += entry
        return flat

    def _encoded(self, piece: _Piece, run: BatchRun) -> tuple[_Piece, Entry | None]:
        """Return what of a piece can be encoded, and its entry; what cannot fails."""
        while piece.values:
            try:
                return piece, [piece.key, len(piece.values), *self._codec.encode(piece.values)]
            except BaseException as error:  # noqa: BLE001 - the user's __reduce__ or serialize
                kept = self._encodable(piece, run)
                if len(kept.values) == len(piece.values):
                    # Each can be, but not all together.
                    for position, value in zip(piece.positions, piece.values):
                        run.fail(self.node, piece.column.lineage.origin(position), error, value, piece.key)
                    break
                piece = kept
        return piece, None

    def _encodable(self, piece: _Piece, run: BatchRun) -> _Piece:
        values, positions = [], []
        for position, value in zip(piece.positions, piece.values):
            try:
                self._codec.encode([value])
            except BaseException as error:  # noqa: BLE001
                run.fail(self.node, piece.column.lineage.origin(position), error, value, piece.key)
            else:
                values.append(value)
                positions.append(position)
        return piece._replace(values=values, positions=positions)

    def entries(self, run: BatchRun, largest: int) -> Iterator[tuple[int, Entry]]:
        """Return groups; one too large is cut into several of the same key."""
        for key, values, column, positions in self._pieces:
            done = 0
            for size, piece, entry in halves(self._codec, key, values, largest):
                if size <= largest:
                    yield size, entry
                else:
                    origin = column.lineage.origin(positions[done])
                    run.fail(self.node, origin, too_large("a value", size, largest), piece[0], key)
                done += len(piece)


def _stretches(column: Column, run: BatchRun) -> Iterator[tuple[Any, int]]:
    """Return the key of each stretch of values that came of one group, and how many they are."""
    if not run.keys:
        yield None, len(column.values)
        return
    for origin, same in groupby(column.lineage.origins(len(column.values))):
        yield run.keys[origin], sum(1 for _ in same)

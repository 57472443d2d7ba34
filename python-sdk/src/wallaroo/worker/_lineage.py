"""From a value back to the frame or group it came of, worked out only when a step fails.

A column of values remembers how it was made of the column before: which positions were dropped, or how many values each
position became. That costs a step next to nothing while all goes well; a tag on every value would cost as much as the
step.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import chain, compress, repeat
from operator import sub


class Lineage:
    """The positions of a column that is its own origin: position n came of frame, or group, n."""

    def origin(self, position: int) -> int:
        """Return the frame or group that the value at ``position`` came of."""
        return position

    def origins(self, count: int) -> Sequence[int]:
        """Return the same for all positions, of which there are ``count``."""
        return range(count)


class Recorded(Lineage):
    """The origin of each position is written down."""

    def __init__(self, origins: Sequence[int]) -> None:
        self._origins = origins

    def origin(self, position: int) -> int:
        """Return the frame or group that the value at ``position`` came of."""
        return self._origins[position]

    def origins(self, count: int) -> Sequence[int]:
        """Return the same for all positions."""
        return self._origins


class Dropped(Lineage):
    """Some positions of the column before gave no value."""

    def __init__(self, parent: Lineage, dropped: Sequence[int]) -> None:
        self._parent = parent
        # The n-th dropped position less n: how many values had been kept when it was reached.
        self._kept_before = [position - index for index, position in enumerate(dropped)]
        self._dropped = dropped

    def origin(self, position: int) -> int:
        """Return the frame or group that the value at ``position`` came of."""
        return self._parent.origin(position + bisect_right(self._kept_before, position))

    def origins(self, count: int) -> Sequence[int]:
        """Return the same for all positions, of which there are ``count``."""
        origins = self._parent.origins(count + len(self._dropped))
        dropped = frozenset(self._dropped)
        return [origin for position, origin in enumerate(origins) if position not in dropped]


class Expanded(Lineage):
    """Each position of the column before became any number of values; ``ends[n]`` is where those of position n end."""

    def __init__(self, parent: Lineage, ends: Sequence[int]) -> None:
        self._parent = parent
        self._ends = ends

    def origin(self, position: int) -> int:
        """Return the frame or group that the value at ``position`` came of."""
        return self._parent.origin(bisect_right(self._ends, position))

    def origins(self, count: int) -> Sequence[int]:
        """Return the same for all positions."""
        origins = self._parent.origins(len(self._ends))
        counts = map(sub, self._ends, chain((0,), self._ends))
        return list(chain.from_iterable(map(repeat, origins, counts)))


class Chosen(Lineage):
    """The chosen positions of the column before are kept. ``chosen`` says of each whether it is."""

    def __init__(self, parent: Lineage, chosen: Sequence[bool]) -> None:
        self._parent = parent
        self._chosen = chosen

    def origin(self, position: int) -> int:
        """Return the frame or group that the value at ``position`` came of."""
        return self.origins(position + 1)[position]

    def origins(self, count: int) -> Sequence[int]:
        """Return the same for all positions, of which there are ``count``."""
        return list(compress(self._parent.origins(len(self._chosen)), self._chosen))

"""Keys: what may be one, and how it looks on the wire.

A key is ``str``, ``bytes``, a signed 64-bit ``int`` or a tuple of these, exactly: a subclass would arrive at the next
worker as its base, and ``True`` and ``1.0`` would fall together with ``1``. ``None`` is the key of ``collect`` only.
Keys that applications give are of further types; ``key_tags.py`` makes them of these.
"""

from __future__ import annotations

from typing import Any

PLAIN_KEY_TYPES = "str, bytes, int, or a tuple of these"
"""What the key functions and key lists of the older generations may give."""

KEY_TYPES = "str, bytes, int, bool, UUID, date, datetime, Enum, or a tuple of these"

_LOWEST_INT = -(2**63)
_HIGHEST_INT = 2**63 - 1
DEEPEST_TUPLE = 16


def key_problem(key: Any, depth: int = 0) -> str | None:
    """Say why ``key`` cannot be a key, or return ``None`` when it can."""
    kind = type(key)
    if kind is str:
        return None if _encodes(key) else f"{_shown(key)} cannot be encoded as UTF-8"
    if kind is bytes:
        return None
    if kind is int:
        return None if _LOWEST_INT <= key <= _HIGHEST_INT else f"{_shown(key)} does not fit a signed 64-bit integer"
    if kind is tuple:
        if depth >= DEEPEST_TUPLE:
            return f"tuples are nested more than {DEEPEST_TUPLE} deep"
        return next((problem for item in key if (problem := key_problem(item, depth + 1))), None)
    return f"{_shown(key)} is of type {kind.__module__}.{kind.__qualname__}".replace("builtins.", "")


def _encodes(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _shown(key: Any) -> str:
    try:
        text = repr(key[:100] if isinstance(key, (str, bytes)) else key)
    except Exception:  # noqa: BLE001 - the user's __repr__, or an int of thousands of digits
        return "the key"
    return text if len(text) <= 100 else text[:100] + "…"


def key_from_wire(key: Any) -> Any:
    """Return a received key as the application gave it: arrays are tuples."""
    if type(key) is list:
        return tuple([key_from_wire(item) for item in key])
    return key


def key_size(key: Any) -> int:
    """Return no less than the bytes of ``key`` on the wire."""
    if isinstance(key, str):
        return 5 + 4 * len(key)
    if isinstance(key, bytes):
        return 5 + len(key)
    if isinstance(key, tuple):
        return 5 + sum(map(key_size, key))
    return 9

"""Prints states of a state folder: started by ``wallaroo-orch state get`` and ``state export``.

The states come on standard input, each a MessagePack array of table, encoded key and snapshot. The application is
imported first, if it is named: its classes are then found.
"""

from __future__ import annotations

import json
import os
import sys
from io import TextIOWrapper
from typing import Any, Callable, NoReturn, TextIO

import msgpack

from wallaroo._codec.attributes import is_plain
from wallaroo.worker._failures import exception_message, exception_type
from wallaroo.worker._load import LoadError, import_application
from wallaroo.worker._state import state_of
from wallaroo.worker._timed_state import KeptState

_NOT_LOADED = 10
_NOT_IMPORTED = 11

Show = Callable[[str, Any, Any], str]


def main() -> NoReturn:
    """Print the states given on standard input: ``repr [APP]`` or ``json [APP]``."""
    form, *application = sys.argv[1:]
    # What user code prints is no data.
    output, sys.stdout = sys.stdout, sys.stderr
    if isinstance(output, TextIOWrapper):
        output.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        for app in application:
            import_application(app)
    except LoadError as error:
        print(error.refused.traceback or error.refused.message, file=sys.stderr)
        sys.exit(_NOT_IMPORTED)
    try:
        code = _print_all(_as_repr if form == "repr" else _as_json, output)
        output.flush()
    except BrokenPipeError:
        # The reader has seen enough. Nothing must be flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())
        code = 0
    sys.exit(code)


def _print_all(show: Show, output: TextIO) -> int:
    states = msgpack.Unpacker(sys.stdin.buffer, max_buffer_size=0)
    code = 0
    for table, key, snapshot in states:
        key = msgpack.unpackb(key, strict_map_key=False)
        try:
            line = show(table, key, _users(state_of(snapshot)))
        except Exception as error:  # noqa: BLE001 - the user's unpickling or repr
            reason = f"{exception_type(error)}: {exception_message(error)}"
            print(f"{table}: state of key {key!r} cannot be loaded: {reason}", file=sys.stderr)
            code = _NOT_LOADED
        else:
            output.write(line + "\n")
    return code


def _users(state: Any) -> Any:
    """Return the user's part of what a snapshot holds, where that is one object."""
    return state.state if isinstance(state, KeptState) else state


def _as_repr(table: str, key: Any, state: Any) -> str:
    shown = repr(state)
    if shown != object.__repr__(state) or not is_plain(type(state)):
        return shown
    # What object.__repr__ says: an address.
    fields = ", ".join(f"{name}={value!r}" for name, value in vars(state).items())
    return f"{type(state).__qualname__}({fields})"


def _as_json(table: str, key: Any, state: Any) -> str:
    line = {"table": table, "key": _json_of(key), "state": _json_of(state)}
    return json.dumps(line, ensure_ascii=False, allow_nan=False)


def _json_of(value: Any) -> Any:
    try:
        form = _plain(value)
        json.dumps(form, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError):
        return {"repr": _as_repr("", None, value)}
    return form


def _plain(value: Any) -> Any:
    """Return ``value`` in types of JSON; of an object its attributes.

    Raises:
        TypeError: JSON has nothing like it.
    """
    kind = type(value)
    if value is None or kind in (str, int, float, bool):
        return value
    if kind in (list, tuple):
        return [_plain(item) for item in value]
    if kind is dict and all(type(name) is str for name in value):
        return {name: _plain(item) for name, item in value.items()}
    if is_plain(kind):
        return _plain(dict(vars(value)))
    raise TypeError(f"{kind.__qualname__} has no form in JSON")

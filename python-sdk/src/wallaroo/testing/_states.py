"""States between two batches: pickled and loaded, as when another worker has their keys from now on."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

from wallaroo.worker._failures import RestoreError, exception_message, exception_type, shown
from wallaroo.worker._state import StateTables


class UnsavedStateError(Exception):
    r"""A state cannot be pickled, and so cannot go on in another worker.

    Example:
        >>> import wallaroo, wallaroo.testing
        >>> class Lines:
        ...     delimiter = b"\n"
        ...     def decode(self, bs):
        ...         return bs.decode()
        ...     def encode(self, data):
        ...         return f"{data}\n"
        >>> @wallaroo.state_computation(name="keep", state=dict)
        ... def keep(data, state):
        ...     return state.setdefault(data, lambda: data)()
        >>> p = wallaroo.source("lines", wallaroo.StdinSourceConfig(Lines)).to(keep)
        >>> app = wallaroo.build_application("app", p.to_sink(wallaroo.StdoutSinkConfig(Lines)))
        >>> wallaroo.testing.run(app, ["to"], restarts=True)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        wallaroo.testing.UnsavedStateError: state of key None in table keep cannot be pickled: ...
    """


class UnsavedStateWarning(UserWarning):
    """A state cannot be pickled, or not be loaded again.

    ``wallaroo-orch`` makes no snapshots of a state that cannot be pickled, and rebuilds it from a bounded journal. One
    that cannot be loaded is lost when its worker dies.

    Example:
        Where that is meant, a test may say so::

            @pytest.mark.filterwarnings("ignore::wallaroo.testing.UnsavedStateWarning")

        >>> issubclass(UnsavedStateWarning, UserWarning)
        True
    """


# As a traceback names them.
UnsavedStateError.__module__ = UnsavedStateWarning.__module__ = "wallaroo.testing"


def reload(tables: StateTables) -> None:
    """Pickle the states and load them when their keys are next needed.

    Raises:
        UnsavedStateError: A state cannot be pickled; all stay as they are.
    """
    saved = []
    for table, key in tables.live():
        try:
            saved.append((table, key, table.pickled(key)))
        except BaseException as error:
            raise UnsavedStateError(_problem(table.name, key, error)) from error
    for table, key, snapshot in saved:
        table.forget(key)
        if snapshot:
            table.restore(key, snapshot)


def warn_of_unsaved(tables: StateTables) -> None:
    """Warn of one state of each table that cannot be pickled, or cannot be loaded again."""
    for problem in dict(_unsaved(tables)).values():
        warnings.warn(problem, UnsavedStateWarning, stacklevel=4)


def _unsaved(tables: StateTables) -> Iterator[tuple[str, str]]:
    for table, key in tables.live():
        try:
            table.reloaded(key)
        except RestoreError as error:
            yield table.name, str(error)
        except BaseException as error:  # noqa: BLE001 - the user's __reduce__ or __getstate__
            yield table.name, _problem(table.name, key, error)


def _problem(table: str, key: object, error: BaseException) -> str:
    reason = f"{exception_type(error)}: {exception_message(error)}"
    return f"state of key {shown(key)} in table {table} cannot be pickled: {reason}"

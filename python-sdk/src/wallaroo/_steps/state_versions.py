"""States with a version: ``state(Class, version=2, migrate=f)`` says how those of older versions become new ones."""

from __future__ import annotations

from typing import Any, Callable, Generic, TypeVar

from wallaroo._errors import WallarooParameterError
from wallaroo._steps.computations import check_state_class
from wallaroo._steps.decorated import shown_name
from wallaroo._steps.objects import check_arity, check_not_async, shown_type, takes

S = TypeVar("S")

LATEST_VERSION = 2**32 - 1
"""A version takes four bytes in a snapshot."""


class VersionedState(Generic[S]):
    """A class of states with a version. Called as the class is, and named as it is. Made by :func:`state`.

    Args:
        build: The class.
        version: Of the states that it makes.
        migrate: Given a state and its version, which is older, it returns the state of this version.
    """

    def __init__(self, build: Callable[[], S], version: int, migrate: Callable[[Any, int], S]) -> None:
        self._build = build
        self.version = version
        self.migrate = migrate
        # Steps name the type of their states after it, and it must be the same with a version.
        named = build if hasattr(build, "__qualname__") else type(build)
        self.__module__, self.__qualname__, self.__name__ = named.__module__, named.__qualname__, named.__name__

    def __call__(self) -> S:
        """Make a state."""
        return self._build()


def state(
    cls: Callable[[], S], *, version: int, migrate: Callable[[Any], S] | Callable[[Any, int], S]
) -> Callable[[], S]:
    """Say that the states of a step have a version, and how older ones become such.

    States that were saved without ``state(...)`` have version 1. A state is migrated when its key is next needed.

    Args:
        cls: The class, called without arguments for the state of each key.
        version: At least 2; a larger one than before, whenever states change.
        migrate: Called with a state of an older version, and with its version if it takes two arguments. It returns the
            state of this version. It is called again for a state that was not changed and saved since, so it must
            depend on its arguments alone. If it raises, messages of the key become dead letters, and the old state is
            kept.

    Returns:
        What ``state=`` of a step takes.

    Raises:
        WallarooParameterError: An argument is unusable.

    Example:
        >>> import wallaroo
        >>> class Total:
        ...     def __init__(self):
        ...         self.cents = 0
        >>> def in_cents(old: Total, version: int) -> Total:
        ...     new = Total()
        ...     new.cents = round(old.euros * 100)
        ...     return new
        >>> totals = wallaroo.state(Total, version=2, migrate=in_cents)
        >>> totals().cents
        0
    """
    where = f"state({shown_name(cls) if callable(cls) else shown_type(cls)})"
    if isinstance(cls, VersionedState):
        raise WallarooParameterError(
            f"{where}: the argument has a version already", hint="give the class itself, and one version"
        )
    check_state_class(f"{where}: the argument", cls)
    if not isinstance(version, int) or isinstance(version, bool) or not 2 <= version <= LATEST_VERSION:
        shown = repr(version) if isinstance(version, int) else shown_type(version)
        raise WallarooParameterError(
            f"{where}: version is {shown}, not a whole number from 2 to 2**32 - 1",
            hint="the first states have version 1 and need no state(...); give 2 when they change, then 3 and so on",
        )
    return VersionedState(cls, version, _migration(where, migrate))


def _migration(where: str, migrate: Any) -> Callable[[Any, int], Any]:
    """Return ``migrate`` as a function of a state and its version."""
    if not callable(migrate):
        raise WallarooParameterError(
            f"{where}: migrate is {shown_type(migrate)}, not a function",
            hint="give a function that takes a state of an older version and returns a new one",
        )
    described = f"{where}: migrate {shown_name(migrate)}"
    check_not_async(described, migrate, "migrate(old, version)")
    if takes(migrate, "old", "version"):
        return migrate  # type: ignore[no-any-return]
    check_arity(described, migrate, "migrate(old)", ("old",))
    return lambda old, version: migrate(old)

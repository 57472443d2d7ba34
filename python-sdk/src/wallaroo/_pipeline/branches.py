"""The branches that ``split`` makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

from wallaroo._errors import WallarooParameterError
from wallaroo._steps.objects import as_list, check_name, shown_type

P_co = TypeVar("P_co", covariant=True)


class Branches(Generic[P_co]):
    r"""What :meth:`Pipeline.split` returns: pipelines, in order and by name.

    Example:
        >>> import wallaroo
        >>> @wallaroo.decoder(delimiter=b"\n")
        ... def text(bs: bytes) -> str:
        ...     return bs.decode()
        >>> def kind(line: str) -> str:
        ...     return line.partition(",")[0]
        >>> branches = wallaroo.source("lines", wallaroo.StdinSourceConfig(text)).split(kind, ["order", "quote"])
        >>> orders, quotes = branches
        >>> branches["order"] is orders
        True
    """

    def __init__(self, where: str, by_name: Mapping[str, P_co]) -> None:
        self._where = where
        self._by_name = dict(by_name)

    def __getitem__(self, name: str) -> P_co:
        try:
            return self._by_name[name]
        except (KeyError, TypeError):
            known = ", ".join(map(repr, self._by_name))
            raise WallarooParameterError(
                f"{self._where}: there is no branch {name!r}", hint=f"the branches are {known}"
            ) from None

    def __iter__(self) -> Iterator[P_co]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    def __repr__(self) -> str:
        return f"<Branches {', '.join(map(repr, self._by_name))}>"


class _BranchNames(dict[str, str]):
    """Each name of a branch, as the object that all use for it."""

    def __missing__(self, name: Any) -> str:
        shown = repr(name)
        shown = shown if len(shown) <= _LONGEST_SHOWN else shown[:_LONGEST_SHOWN] + "…"
        raise LookupError(f"split: the function returned {shown}, which is no branch: {', '.join(map(repr, self))}")


_LONGEST_SHOWN = 100


def branch_names(where: str, names: Any) -> dict[str, str]:
    """Return the names of branches, to look up what a function returned.

    Raises:
        WallarooParameterError: They are no list of names, fewer than one, or some name is there twice.
    """
    found = as_list(f"{where}: names", names)
    if not found:
        raise WallarooParameterError(f"{where}: names is empty", hint="give the name of each branch")
    known = _BranchNames()
    for name in found:
        if not isinstance(name, str):
            raise WallarooParameterError(
                f"{where}: names has a value {shown_type(name)}, not only str", hint="the function returns names: str"
            )
        check_name(f"{where}: a name", name)
        if name in known:
            raise WallarooParameterError(
                f"{where}: {name!r} is in names twice", hint="give the name of each branch once"
            )
        known[name] = name
    return known

"""Inherited descriptors, kept out of the way of user code, and looked after."""

from __future__ import annotations

import fcntl
import os

_LOWEST = 200

_kept: dict[int, tuple[int, int]] = {}
"""Descriptors without which the worker is of no use, and what they refer to: device and inode."""


def move_out_of_reach(fd: int) -> int:
    """Move an inherited descriptor out of the range that user code may close or redirect by number.

    Args:
        fd: The descriptor; closed, unless it has to be used where it is.

    Returns:
        The descriptor's new number. It is not inherited by programs that user code starts.
    """
    try:
        high = fcntl.fcntl(fd, fcntl.F_DUPFD, _LOWEST)
    except OSError:  # The limit of open files is lower than that.
        high = fd
    else:
        os.close(fd)
    os.set_inheritable(high, False)
    return high


def keep(fd: int) -> None:
    """Remember what a descriptor refers to, for :func:`are_intact`."""
    status = os.fstat(fd)
    _kept[fd] = status.st_dev, status.st_ino


def let_go(fd: int) -> None:
    """Forget a descriptor, before the worker itself closes it."""
    _kept.pop(fd, None)


def are_intact() -> bool:
    """Whether no user code has closed or redirected a descriptor that is kept."""
    try:
        return all((status.st_dev, status.st_ino) == kept for status, kept in zip(map(os.fstat, _kept), _kept.values()))
    except OSError:
        return False

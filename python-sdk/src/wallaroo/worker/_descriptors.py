"""Inherited descriptors, kept out of the way of user code."""

from __future__ import annotations

import fcntl
import os

_LOWEST = 200


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

"""The error of connector scripts."""

from __future__ import annotations

import os

from wallaroo._errors import WallarooParameterError


class ConnectorError(WallarooParameterError, RuntimeError):
    """A connector script cannot go on: the connector, what is wrong, and what to do about it.

    Example:
        >>> error = ConnectorError("connector 'celsius_feed' is not connected", hint="call connect() before write()")
        >>> print(error)
        connector 'celsius_feed' is not connected
        hint: call connect() before write()
    """


def reason(error: Exception) -> str:
    """Return what the system says of an address that cannot be used, without further words of Python's."""
    number = getattr(error, "errno", None)
    # Those of names of hosts are below 0.
    return os.strerror(number) if number is not None and number > 0 else str(getattr(error, "strerror", None) or error)

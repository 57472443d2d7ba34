"""Where sources read and sinks write: hosts, ports and paths, of configs and of ``--in`` and ``--out`` options."""

from __future__ import annotations

import os
from typing import Any, Union

from wallaroo._errors import WallarooParameterError

Port = Union[str, int]
Description = dict[str, Any]
"""A source or a sink as the topology describes it."""
Addresses = list[tuple[str, str]]

_HIGHEST_PORT = 65_535


def check_host(owner: str, host: object) -> str:
    """Return ``host``. Raise an error unless it can name a host."""
    if not isinstance(host, str) or not host:
        raise WallarooParameterError(
            f"{owner}: host must be a non-empty str, got {host!r}", hint='for example "127.0.0.1" or "localhost"'
        )
    return host


def check_port(owner: str, port: object) -> int:
    """Return ``port`` as an int. Applications give it as an int or as text from the command line."""
    number: int | None = None
    if isinstance(port, int) and not isinstance(port, bool):
        number = port
    elif isinstance(port, str) and port.isascii() and port.isdigit():
        number = int(port)
    if number is None or number > _HIGHEST_PORT or number < 0:
        raise WallarooParameterError(
            f"{owner}: port must be a number from 0 to {_HIGHEST_PORT}, got {port!r}",
            hint="give the port as an int or as its digits",
        )
    return number


def tcp_parse_input_addrs(args: list[str]) -> Addresses:
    """Read the addresses to listen on from ``--in`` (or ``-i``).

    Args:
        args: The words after the application on the command line, as ``application_setup`` receives them.

    Returns:
        One ``(host, port)`` for each address, both ``str``, in the order given. As in the last versions of Wallaroo, an
        address may be given as ``NAME@HOST:PORT``, and is returned as ``(name, host, port)``.

    Raises:
        WallarooParameterError: ``--in`` is missing, has no value, or has an address that is not ``HOST:PORT``.

    Example:
        >>> tcp_parse_input_addrs(["--in", "127.0.0.1:7010,127.0.0.1:7011"])
        [('127.0.0.1', '7010'), ('127.0.0.1', '7011')]
        >>> tcp_parse_input_addrs(["--in", "Orders@127.0.0.1:7010"])
        [('Orders', '127.0.0.1', '7010')]
    """
    return _addresses(args, long="--in", short="-i", example="--in 127.0.0.1:7010")


def tcp_parse_output_addrs(args: list[str]) -> Addresses:
    """Read the addresses to connect to from ``--out`` (or ``-o``).

    Args:
        args: The words after the application on the command line, as ``application_setup`` receives them.

    Returns:
        One ``(host, port)`` for each address, both ``str``, in the order given.

    Raises:
        WallarooParameterError: ``--out`` is missing, has no value, or has an address that is not ``HOST:PORT``.

    Example:
        >>> tcp_parse_output_addrs(["--verbose", "--out=localhost:7002"])
        [('localhost', '7002')]
    """
    return _addresses(args, long="--out", short="-o", example="--out 127.0.0.1:7002")


def _addresses(args: list[str], *, long: str, short: str, example: str) -> Addresses:
    value = _value_of(args, long, short, example)
    addresses: list[Any] = []
    for word in value.split(","):
        # From the right, so that an IPv6 host may contain colons: [::1]:7010.
        name, at, place = word.strip().rpartition("@")
        host, colon, port = place.rpartition(":")
        if not (colon and host and port):
            raise WallarooParameterError(
                f"{long} {value}: {word.strip()!r} is not an address",
                hint=f"an address is HOST:PORT, several are separated by commas, for example {example}",
            )
        check_port(f"{long} {value}", port)
        address = host.strip("[]"), port
        addresses.append((name, *address) if at else address)
    return addresses


def _value_of(args: list[str], long: str, short: str, example: str) -> str:
    for index, word in enumerate(args):
        if word in (long, short):
            if index + 1 < len(args):
                return args[index + 1]
            raise WallarooParameterError(f"{word} is the last word and has no value", hint=f"for example {example}")
        if word.startswith(long + "="):
            return word[len(long) + 1 :]
    raise WallarooParameterError(
        f"{long} is missing from the application's arguments",
        hint=f"add it after the application, for example {example}",
    )


def check_path(owner: str, path: Any) -> str:
    """Return ``path`` as ``str``. Raise an error unless it can be the path of a file."""
    try:
        text = os.fspath(path)
    except TypeError:
        text = None
    if not isinstance(text, str) or not text:
        raise WallarooParameterError(
            f"{owner}: path must be a non-empty str or a pathlib.Path, got {path!r}", hint='for example "words.txt"'
        )
    return text


def check_flag(owner: str, name: str, value: Any) -> bool:
    """Return ``value``. Raise an error unless it is a ``bool``."""
    if not isinstance(value, bool):
        raise WallarooParameterError(
            f"{owner}: {name} must be a bool, got {value!r}", hint=f"{name}=True, or leave it out"
        )
    return value


def shown_place(config: Any) -> str:
    """Return the kind of a source or sink and its place, as ``tcp 127.0.0.1:7010``."""
    described = config.describe()
    if "class" in described:
        return f"{described['kind']} {described['class'].rpartition('.')[2]}"
    place = [str(described[part]) for part in ("host", "port", "path") if part in described]
    return f"{described['kind']} {':'.join(place)}".rstrip()

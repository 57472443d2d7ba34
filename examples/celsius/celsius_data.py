"""Input of the application: ``python celsius_data.py HOST:PORT`` sends temperatures."""

from __future__ import annotations

import socket
import struct
import sys


def messages() -> list[bytes]:
    """Return -50 to 150 degrees in steps of half a degree, as big-endian 32-bit floats."""
    return [struct.pack(">f", half / 2) for half in range(-100, 301)]


def main() -> None:
    host, _, port = sys.argv[1].rpartition(":")
    with socket.create_connection((host, int(port))) as connection:
        for message in messages():
            connection.sendall(struct.pack(">I", len(message)) + message)


if __name__ == "__main__":
    main()

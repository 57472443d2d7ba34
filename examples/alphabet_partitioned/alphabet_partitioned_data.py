"""Input of the application: ``python alphabet_partitioned_data.py HOST:PORT`` sends votes."""

from __future__ import annotations

import random
import socket
import string
import struct
import sys


def messages(count: int = 1_000) -> list[bytes]:
    """Return messages from a fixed seed: a letter and a big-endian 32-bit number of votes."""
    chance = random.Random(26)
    return [
        struct.pack(">1sI", chance.choice(string.ascii_lowercase).encode(), chance.randint(1, 10_000))
        for _ in range(count)
    ]


def main() -> None:
    host, _, port = sys.argv[1].rpartition(":")
    with socket.create_connection((host, int(port))) as connection:
        for message in messages():
            connection.sendall(struct.pack(">I", len(message)) + message)


if __name__ == "__main__":
    main()

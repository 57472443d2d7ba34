"""Allocates until a limit that it sets itself; with ``--stay`` allocates a large amount and keeps it."""

import resource
import signal

import numbered

LIMIT = 1 << 30
PIECE = b"x" * (16 << 20)


def take_all():
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))
    hoard = []
    while True:
        hoard.append(bytearray(PIECE))


def take_much_and_stay():
    hoard = [bytearray(PIECE) for _ in range(20)]
    while hoard:
        signal.pause()


def application_setup(args):
    return numbered.build(args, take_much_and_stay if "--stay" in args else take_all)

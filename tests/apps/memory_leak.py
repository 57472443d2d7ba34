"""Keeps a megabyte for every ``bad`` message for ever."""

import numbered

KEPT = []


def leak():
    KEPT.append(bytearray(b"x" * (1 << 20)))


def application_setup(args):
    return numbered.build(args, leak)

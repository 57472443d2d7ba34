"""Allocates until there is no more, which it sees to itself is soon."""

import resource

import numbered

LIMIT = 1 << 30


def misbehave():
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))
    hoard = []
    while True:
        hoard.append(bytearray(16 << 20))


def application_setup(args):
    return numbered.build(args, misbehave)

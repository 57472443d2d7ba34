"""Describes an application that cannot run: its pipeline has no sink."""

import wallaroo


class Lines:
    delimiter = b"\n"

    def decode(self, bs):
        return bs


def application_setup(args):
    ab = wallaroo.ApplicationBuilder("Bad topology")
    ab.new_pipeline("lines", wallaroo.StdinSourceConfig(Lines))
    return ab.build()

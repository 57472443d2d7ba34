"""The base of the misbehaving applications: numbers the messages of each key.

``KEY NUMBER [WORD]`` comes out as ``KEY NUMBER => n``. A message whose word is ``bad`` calls ``misbehave`` first, in
the step that ``--where`` names: ``stateless`` or ``state``.
"""

import argparse
import os
import struct

import wallaroo


class Numbers:
    """The state of a key: its number of messages so far."""

    def __init__(self):
        self.count = 0

    def build(self):
        return type(self)()


class Decoder:
    def header_length(self):
        return 4

    def payload_length(self, bs):
        return struct.unpack(">I", bs)[0]

    def decode(self, bs):
        return bs.decode("utf-8")


class Key:
    def partition(self, data):
        return data.split(" ", 1)[0]


class Watch:
    """Passes messages on."""

    def __init__(self, misbehave):
        self._misbehave = misbehave

    def name(self):
        return "watch"

    def compute(self, data):
        if data.endswith(" bad"):
            print("misbehaves")
            self._misbehave()
        return data


class Number:
    """Numbers messages."""

    def __init__(self, misbehave):
        self._misbehave = misbehave

    def name(self):
        return "number"

    def compute(self, data, state):
        if data.endswith(" bad"):
            print("misbehaves")
            self._misbehave()
        state.count += 1
        key, number = data.split(" ")[:2]
        return f"{key} {number} => {state.count}", True


class Encoder:
    def encode(self, data):
        return data + "\n"


def nothing():
    """Does not misbehave."""


def build(args, misbehave=nothing, state=Numbers):
    """Returns the application of a misbehaving module."""
    print("loaded", os.getpid())
    parser = argparse.ArgumentParser()
    parser.add_argument("--where", choices=["stateless", "state"], default="state")
    where = parser.parse_known_args(args)[0].where
    in_host, in_port = wallaroo.tcp_parse_input_addrs(args)[0]
    out_host, out_port = wallaroo.tcp_parse_output_addrs(args)[0]
    ab = wallaroo.ApplicationBuilder("Numbered")
    ab.new_pipeline("numbered", wallaroo.TCPSourceConfig(in_host, in_port, Decoder))
    ab.to_parallel(Watch(misbehave if where == "stateless" else nothing))
    ab.to_state_partition(Number(misbehave if where == "state" else nothing), state, "numbers", Key)
    ab.to_sink(wallaroo.TCPSinkConfig(out_host, out_port, Encoder))
    return ab.build()


def application_setup(args):
    return build(args)

"""Parses version numbers with two releases of one library, which cannot be in one environment.

``KEY NUMBER VERSION`` comes out as ``KEY NUMBER => n, OLD, NEW``: the message is the n-th of its key; OLD and NEW are
the results of ``packaging`` in the pool ``legacy`` and in the main pool. ``--where`` gives the position of the pool's
step: ``before`` the key, ``after`` it, or ``both``. ``--slow`` makes it take a millisecond.
"""

import argparse
import time
from typing import NamedTuple, Optional

import wallaroo


class Line(NamedTuple):
    key: str
    number: int
    version: str
    old: Optional[str] = None
    new: Optional[str] = None
    count: int = 0


class Numbers:
    def __init__(self):
        self.count = 0


def read(version):
    # Imported here and not at the top, because the workers of every pool import this module.
    import packaging
    import packaging.version

    try:
        parsed = packaging.version.parse(version)
    except packaging.version.InvalidVersion:
        return f"{packaging.__version__} refuses it"
    return f"{packaging.__version__} {type(parsed).__name__} {parsed}"


@wallaroo.decoder(header_length=4, length_fmt=">I")
def decode(bs):
    key, number, version = bs.decode().split(" ", 2)
    return Line(key, int(number), version)


@wallaroo.key_extractor
def key(data):
    return data.key


@wallaroo.state_computation(name="number", state=Numbers)
def number(data, numbers):
    numbers.count += 1
    return data._replace(count=numbers.count)


@wallaroo.computation(name="read anew")
def read_anew(data):
    return data._replace(new=read(data.version))


@wallaroo.encoder
def encode(data):
    return f"{data.key} {data.number} => {data.count}, {data.old}, {data.new}\n"


def old_step(name, slow):
    @wallaroo.computation(name=name)
    def read_as_before(data):
        if slow:
            time.sleep(0.001)
        return data._replace(old=read(data.version))

    return read_as_before


def application_setup(args):
    parser = argparse.ArgumentParser()
    parser.add_argument("--where", choices=["before", "after", "both"], default="before")
    parser.add_argument("--slow", action="store_true")
    options = parser.parse_known_args(args)[0]
    in_host, in_port = wallaroo.tcp_parse_input_addrs(args)[0]
    out_host, out_port = wallaroo.tcp_parse_output_addrs(args)[0]
    lines = wallaroo.source("lines", wallaroo.TCPSourceConfig(in_host, in_port, decode))
    if options.where != "after":
        lines = lines.to(old_step("read before", options.slow), pool="legacy")
    lines = lines.key_by(key)
    if options.where != "before":
        lines = lines.to(old_step("read after", options.slow), pool="legacy")
    sink = wallaroo.TCPSinkConfig(out_host, out_port, encode)
    return wallaroo.build_application("Pooled", lines.to(number).to(read_anew).to_sink(sink))

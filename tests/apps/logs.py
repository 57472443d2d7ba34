"""Logs at every level with Python's logging, and prints to both streams."""

import logging
import sys

import wallaroo

log = logging.getLogger("app")


def application_setup(args):
    if args and args != ["traceback"]:
        logging.basicConfig(level=logging.DEBUG, stream={"stdout": sys.stdout, "stderr": sys.stderr}[args[0]])
    lines = wallaroo.source("lines", wallaroo.StdinSourceConfig(text))
    return wallaroo.build_application("logs", lines.to(say).to_sink(wallaroo.StdoutSinkConfig(out)))


@wallaroo.computation(name="say")
def say(line):
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        log.log(level, "%s at %s", line, logging.getLevelName(level))
    if sys.argv[1:] == ["traceback"]:
        try:
            int(line)
        except ValueError:
            log.exception("cannot read %s", line)
    print("printed to stderr", file=sys.stderr)
    return line


@wallaroo.decoder(delimiter=b"\n")
def text(bs):
    return bs.decode()


@wallaroo.encoder
def out(line):
    return f"{line}\n"

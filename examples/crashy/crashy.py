"""A step that crashes, hangs and raises, and what happens to the other messages.

Messages are words. Two words kill the process that runs the step, one makes it hang, and one makes it raise. All other
words are counted.
"""

from __future__ import annotations

import os
import signal

import wallaroo as w


def application_setup(args: list[str]) -> w.Application:
    listen, connect = w.tcp_parse_input_addrs(args)[0], w.tcp_parse_output_addrs(args)[0]
    words = w.source("Words", w.tcp(listen, w.length_prefixed(">I", w.lines())))
    counts = words.key_by(str).count().inspect(misbehave)
    return w.application("Crashy", counts.map("{0[0]} => {0[1]}".format).sink(w.tcp(connect, w.lines())))


def misbehave(counted: w.Keyed[str, int]) -> None:
    word, _ = counted
    if word == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if word == "exit":
        os._exit(7)
    if word == "hang":
        while True:
            pass
    if word == "raise":
        raise ValueError("this word is not wanted")

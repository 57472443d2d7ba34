"""Numbers the messages of each key behind an async step, which waits a little for each.

``--where before`` puts the step before the key, ``--where between`` between two steps with state. ``--bad`` says what
its call does for a message whose word is ``bad``. ``--ran FILE`` has each call append its message to a file.
"""

import argparse
import asyncio
import ctypes
import os
import time

import numbered
import wallaroo


async def never():
    await asyncio.Event().wait()


async def poll():
    while True:
        await asyncio.sleep(0.05)


async def in_a_task(misbehave):
    await asyncio.gather(misbehave())


async def segfault():
    ctypes.string_at(0)


async def leave():
    os._exit(7)


async def block():
    time.sleep(3600)


async def refuse():
    raise ValueError("a bad message")


async def cancel():
    for task in asyncio.all_tasks():
        if task is asyncio.current_task():
            task.cancel()
    await asyncio.sleep(3600)


BAD = {
    "segfault": segfault,
    "segfault in a task": lambda: in_a_task(segfault),
    "leave": leave,
    "block": block,
    "never": never,
    "poll": poll,
    "refuse": refuse,
    "cancel": cancel,
}


def calling(bad, ran):
    file = None if ran is None else os.open(ran, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    async def call(message):
        if file is not None:
            os.write(file, f"{message}\n".encode())
        # The later of two messages is often done first.
        await asyncio.sleep(int(message.split(" ")[1]) % 7 / 1000)
        if message.endswith(" bad"):
            await BAD[bad]()
        return message

    return call


def see(message, seen):
    seen.count += 1
    return message


def number(message, numbers):
    numbers.count += 1
    return f"{' '.join(message.split(' ')[:2])} => {numbers.count}"


def key(message):
    return message.split(" ", 1)[0]


def application_setup(args):
    parser = argparse.ArgumentParser()
    parser.add_argument("--in", dest="source")
    parser.add_argument("--out", dest="sink")
    parser.add_argument("--where", choices=["before", "between"], default="before")
    parser.add_argument("--bad", choices=BAD)
    parser.add_argument("--timeout-ms", type=int)
    parser.add_argument("--concurrency", type=int, default=50)
    parser.add_argument("--ran")
    options = parser.parse_args(args)
    timeout = None if options.timeout_ms is None else wallaroo.milliseconds(options.timeout_ms)
    call = calling(options.bad, options.ran)
    messages = wallaroo.source("messages", source_of(options.source))
    if options.where == "between":
        messages = messages.key_by(key).stateful(see, numbered.Numbers)
    called = messages.map_async(call, concurrency=options.concurrency, timeout=timeout)
    if options.where == "before":
        called = called.key_by(key)
    return wallaroo.application("async calls", called.stateful(number, numbered.Numbers).sink(sink_of(options.sink)))


def source_of(place):
    host, _, port = place.rpartition(":")
    if host:
        return wallaroo.TCPSourceConfig(host, port, numbered.Decoder)
    return wallaroo.file(place, wallaroo.lines())


def sink_of(place):
    return (wallaroo.tcp if ":" in place else wallaroo.file)(place, wallaroo.lines())

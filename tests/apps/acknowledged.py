"""``acknowledged.py PORT TO``: numbers the messages of each key, their first word. TO is a file or HOST:PORT."""

import wallaroo


class Count:
    def __init__(self):
        self.count = 0


def check(message):
    if message.endswith("fails"):
        raise ValueError("as asked")
    return message


def number(message, state):
    state.count += 1
    return f"{message.split()[0]} {state.count} {message.split()[1]}"


def application_setup(args):
    port, to = args
    messages = wallaroo.source("messages", wallaroo.tcp(("127.0.0.1", port), wallaroo.lines(), acknowledged=True))
    sink = wallaroo.tcp(to, wallaroo.lines()) if ":" in to else wallaroo.file(to, wallaroo.lines())
    numbered = messages.map(check).key_by(lambda message: message.split()[0]).stateful(number, state=Count)
    return wallaroo.application("acknowledged", numbered.sink(sink))

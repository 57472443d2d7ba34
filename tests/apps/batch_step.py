"""``computation_batch`` before and after a state step; a ``bad`` message makes the one named by ``--where`` misbehave.

``--bad`` selects how: ``raise``, ``segfault``, or ``forget``, which returns one output too few.
"""

import ctypes

import wallaroo


def application_setup(args):
    in_host, in_port = wallaroo.tcp_parse_input_addrs(args)[0]
    out_host, out_port = wallaroo.tcp_parse_output_addrs(args)[0]
    bad, where = args[args.index("--bad") + 1], args[args.index("--where") + 1]
    before = wallaroo.computation_batch(name="before")(step(bad if where == "before" else None))
    after = wallaroo.computation_batch(name="after")(step(bad if where == "after" else None))
    messages = wallaroo.source("numbered", wallaroo.TCPSourceConfig(in_host, in_port, decode))
    numbered = messages.to(before).key_by(key).to(number).to(after)
    return wallaroo.build_application("Batch", numbered.to_sink(wallaroo.TCPSinkConfig(out_host, out_port, line)))


def step(bad):
    def together(batch):
        guilty = [message for message in batch if message[0].endswith(" bad")]
        if guilty and bad == "raise":
            raise ValueError("a bad message")
        if guilty and bad == "segfault":
            ctypes.string_at(0)
        return [message for message in batch if message not in guilty] if bad == "forget" else batch

    return together


@wallaroo.decoder(header_length=4, length_fmt=">I")
def decode(bs):
    return [bs.decode()]


@wallaroo.key_extractor
def key(message):
    return message[0].split(" ", 1)[0]


class Numbers:
    def __init__(self):
        self.count = 0


@wallaroo.state_computation(name="number", state=Numbers)
def number(message, numbers):
    numbers.count += 1
    return [message[0], numbers.count]


@wallaroo.encoder
def line(message):
    text, count = message
    return f"{' '.join(text.split()[:2])} => {count}\n"

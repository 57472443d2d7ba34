"""Answers each message with the size of its batch, which is gathered as ``--max-batch`` and ``--max-wait-ms`` say."""

import argparse

import numbered
import wallaroo


def application_setup(args):
    parser = argparse.ArgumentParser()
    parser.add_argument("--max-batch", type=int)
    parser.add_argument("--max-wait-ms", type=int)
    limits = parser.parse_known_args(args)[0]
    wait = None if limits.max_wait_ms is None else wallaroo.milliseconds(limits.max_wait_ms)
    (inn,), (out,) = wallaroo.tcp_parse_input_addrs(args), wallaroo.tcp_parse_output_addrs(args)
    messages = wallaroo.source("messages", wallaroo.TCPSourceConfig(*inn, numbered.Decoder))
    sizes = messages.map_batch(
        lambda batch: [f"{message} {len(batch)}\n" for message in batch], max_batch=limits.max_batch, max_wait=wait
    )
    return wallaroo.application("fills batches", sizes.sink(wallaroo.TCPSinkConfig(*out, encode)))


@wallaroo.encoder
def encode(line):
    return line

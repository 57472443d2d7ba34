"""Bytewax as a contender: the same user classes between a TCP source and a TCP sink.

    python -m tests.bench.bytewax_flow --threads N --processes N APP --in HOST:PORT --out HOST:PORT

The flow is written to be fast for Bytewax: whole lists pass between its steps, all steps up to the key are one step, a
key's values are processed together, and sockets are read and written in large pieces. Nothing is snapshotted.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import bytewax.operators as op
from bytewax._bytewax import cluster_main
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from wallaroo._io.addresses import tcp_parse_input_addrs, tcp_parse_output_addrs
from wallaroo.worker._load import load

from tests.bench.chain import Chain

READ = 256 << 10
# Without a cap, a read of short messages makes a batch of tens of thousands: higher latency, no more throughput.
BATCH = 4096
CLUSTER_PORT = 29_871


class Connection(StatefulSourcePartition):
    """The frames of the single client."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._listener = socket.create_server(address)
        self._listener.setblocking(False)
        self._connection: socket.socket | None = None
        self._rest = bytearray()
        self._frames: list[bytes] = []

    def next_batch(self) -> list[bytes]:
        if self._connection is None:
            try:
                self._connection, _ = self._listener.accept()
            except BlockingIOError:
                return []
            self._connection.setblocking(False)
        if not self._frames:
            self._read()
        batch, self._frames = self._frames[:BATCH], self._frames[BATCH:]
        return batch

    def _read(self) -> None:
        assert self._connection is not None
        try:
            chunk = self._connection.recv(READ)
        except BlockingIOError:
            return
        if not chunk:
            raise EOFError("the client has gone")
        rest = self._rest
        rest += chunk
        position, end = 0, len(rest)
        append = self._frames.append
        view = bytes(rest)
        while end - position >= 4:
            start = position + 4
            after = start + int.from_bytes(view[position:start], "big")
            if after > end:
                break
            append(view[start:after])
            position = after
        del rest[:position]

    def snapshot(self) -> None:
        return None


class Source(FixedPartitionedSource):
    """One partition: the listening socket."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address

    def list_parts(self) -> list[str]:
        return ["0"]

    def build_part(self, step_id: str, for_part: str, resume_state: object) -> Connection:
        return Connection(self._address)


class Writer(StatelessSinkPartition):
    """One worker's connection to the consumer."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._connection = socket.create_connection(address)
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def write_batch(self, items: list[Any]) -> None:
        self._connection.sendall(b"".join(items))


class Sink(DynamicSink):
    """One connection per worker."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address

    def build(self, step_id: str, worker_index: int, worker_count: int) -> Writer:
        return Writer(self._address)


def as_bytes(message: Any) -> bytes:
    return message.encode() if isinstance(message, str) else message


def flow(chain: Chain, source: tuple[str, int], sink: tuple[str, int], workers: int) -> Dataflow:
    """Return the dataflow of a chain."""
    dataflow = Dataflow("bench")
    stream = op.input("source", dataflow, Source(source))
    if workers > 1:
        stream = op.redistribute("to all workers", stream)
    first = chain.until_key()

    def before(frames: list[bytes]) -> Iterable[Any]:
        out: list[Any] = []
        first(frames, out.append)
        return out if chain.keyed else [b"".join(map(as_bytes, out))]

    stream = op.flat_map_batch("before the key", stream, before)
    if chain.keyed:
        stream = op.stateful_batch("behind the key", stream, lambda state: KeyLogic(chain, state))
        stream = op.map("messages", stream, lambda pair: pair[1])
    op.output("sink", stream, Sink(sink))
    return dataflow


class KeyLogic(op.StatefulBatchLogic):
    """The steps after the key, for one key."""

    def __init__(self, chain: Chain, state: Any) -> None:
        self._run = chain.from_key()
        self._state = chain.new_state() if state is None else state

    def on_batch(self, values: list[Any]) -> tuple[Iterable[bytes], bool]:
        out: list[Any] = []
        self._run(values, out.append, self._state)
        return [b"".join(map(as_bytes, out))] if out else [], False

    def snapshot(self) -> Any:
        return self._state


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--process", type=int, default=0)
    parser.add_argument("app")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    chain = Chain(load(options.app, options.arguments).application)
    (source_host, source_port), *_ = tcp_parse_input_addrs(options.arguments)
    (sink_host, sink_port), *_ = tcp_parse_output_addrs(options.arguments)
    workers = options.threads * options.processes
    dataflow = flow(chain, (source_host, int(source_port)), (sink_host, int(sink_port)), workers)
    addresses = [f"127.0.0.1:{CLUSTER_PORT + index}" for index in range(options.processes)]
    others = []
    if options.process == 0:
        own = [sys.executable, "-m", "tests.bench.bytewax_flow"]
        shared = ["--threads", str(options.threads), "--processes", str(options.processes)]
        for index in range(1, options.processes):
            words = [*own, *shared, "--process", str(index), options.app, *options.arguments]
            others.append(subprocess.Popen(words, env=dict(os.environ)))
    try:
        cluster_main(
            dataflow,
            addresses if options.processes > 1 else [],
            options.process,
            epoch_interval=timedelta(seconds=10),
            worker_count_per_proc=options.threads,
        )
    finally:
        for other in others:
            other.kill()


if __name__ == "__main__":
    main()

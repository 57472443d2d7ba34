"""The orchestrator's side of the wire, as small as tests need it, and by no codec of the SDK's."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

import msgpack

SRC = Path(__file__).parents[1] / "src"
MAX_BODY = 17 * 1024 * 1024
MARKER = struct.Struct("<QIIII")
WHOLE = 0xFFFF_FFFF

ECHO = """
import os, sys
import wallaroo

class Lines:
    delimiter = b"\\n"
    def decode(self, bs):
        return bs.decode()
    def encode(self, data):
        return data

class Step:
    def compute(self, data):
        {body}

def application_setup(args):
    ab = wallaroo.ApplicationBuilder("echo").new_pipeline("p", wallaroo.StdinSourceConfig(Lines))
    return ab.to(Step).to_sink(wallaroo.StdoutSinkConfig(Lines)).build()
"""


def echo(body):
    return ECHO.replace("{body}", body)


class WorkerProcess:
    """A real worker over a real socket pair; a context manager that leaves none behind."""

    def __init__(self, *, marker=None, cwd=None, code=None):
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(60)
        command = [sys.executable, "-m", "wallaroo.worker", "--fd", str(theirs.fileno())]
        passed = [theirs.fileno()]
        if marker is not None:
            command += ["--marker-fd", str(marker)]
            passed.append(marker)
        if code is not None:
            command += ["--code", str(code)]
        self.process = subprocess.Popen(
            command,
            pass_fds=passed,
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(SRC)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        theirs.close()
        self._received = bytearray()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def send(self, *fields):
        body = msgpack.packb(list(fields))
        self.send_raw(struct.pack(">I", len(body)) + body)

    def send_raw(self, data):
        self.socket.sendall(data)

    def receive(self):
        """Return the next message's fields, or None at the end of the stream."""
        header = self._read(4)
        if header is None:
            return None
        body = self._read(struct.unpack(">I", header)[0])
        assert body is not None, "the stream ended inside a frame"
        return msgpack.unpackb(body, strict_map_key=False)

    def _read(self, count):
        while len(self._received) < count:
            data = self.socket.recv(1 << 20)
            if not data:
                assert not self._received, "the stream ended inside a frame"
                return None
            self._received += data
        taken = bytes(self._received[:count])
        del self._received[:count]
        return taken

    def hello(self, max_body=MAX_BODY):
        self.send(1, 1, "0.1.0", [], max_body)
        greeting = self.receive()
        assert greeting[:2] == [33, 1]
        return greeting

    def load(self, application, *args):
        self.send(2, str(application), list(args), 0, 0)
        return self.receive()

    def start(self, application, *args, stages, max_body=MAX_BODY):
        """Go through the handshake and return the topology."""
        self.hello(max_body)
        answer = self.load(application, *args)
        assert answer[0] == 35, answer
        self.send(3, [[*stage, None] for stage in stages])
        assert self.receive() == [36]
        return answer[1]

    def batch(self, batch, stage, given, *, flags=0, skip=()):
        """Send a batch and return its whole result: outputs by outlet, failures, ended."""
        self.send(4, batch, stage, flags, list(skip), [], given)
        return self.result(batch)

    def result(self, batch):
        outputs, failures = {}, []
        while True:
            kind, answered, more, _, flat, failed, ended, _, _ = self.receive()
            assert (kind, answered) == (37, batch)
            fields = iter(flat)
            for outlet, _, data in zip(fields, fields, fields):
                outputs.setdefault(outlet, []).extend(data)
            failures += failed
            if not more:
                return outputs, failures, ended

    def snapshot(self, request, max_keys):
        """Return entries, failures and the oldest dirty batch."""
        self.send(6, request, max_keys)
        entries, failures = [], []
        while True:
            kind, answered, more, part, failed, oldest = self.receive()
            assert (kind, answered) == (39, request)
            entries += part
            failures += failed
            if not more:
                return entries, failures, oldest

    def finish(self):
        """Say stop and return exit code, standard output and standard error."""
        self.send(8)
        assert self.receive() is None
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err

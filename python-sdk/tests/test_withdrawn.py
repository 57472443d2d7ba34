"""A batch that the orchestrator has given to another worker is answered and not run."""

from __future__ import annotations

import os
import struct

from orchestrator import WorkerProcess, echo

WITHDRAWN = 40
"""Where the word is in the marker, see spec/protocol.md."""


def test_a_withdrawn_batch_is_not_run(app, tmp_path):
    source = echo("os._exit(9) if data == 'bad' else None; return data")
    with open(tmp_path / "marker", "w+b") as marker, WorkerProcess(marker=marker.fileno()) as worker:
        worker.start(app(source), stages=[[0, "frames", 0, [2]]])
        os.pwrite(marker.fileno(), struct.pack("=Q", 7), WITHDRAWN)
        worker.send(4, 7, 0, 0, [], [], [b"bad"])
        assert worker.receive()[:2] == [37, 7]
        worker.send(4, 8, 0, 0, [], [], [b"good"])
        answer = worker.receive()
        assert answer[:2] == [37, 8]
        assert b"good" in repr(answer).encode()

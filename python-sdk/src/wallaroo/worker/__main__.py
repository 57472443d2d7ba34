"""``python -m wallaroo.worker --fd N [--marker-fd M]``: started by ``wallaroo-orch``, with one end of a socket pair."""

from __future__ import annotations

import argparse
import atexit
import contextlib
import faulthandler
import os
import signal
import sys
from typing import NoReturn

from wallaroo._protocol import ProtocolError
from wallaroo.worker._connection import Connection
from wallaroo.worker._marker import Marker
from wallaroo.worker._session import RefusedError, Session

_REFUSED = 3
_PROTOCOL_ERROR = 70


def main() -> NoReturn:
    """Serve, then leave without waiting for threads that user code started."""
    parser = argparse.ArgumentParser(prog="python -m wallaroo.worker", description="Started by wallaroo-orch.")
    parser.add_argument("--fd", type=int, required=True, help="the inherited socket")
    parser.add_argument("--marker-fd", type=int, help="the inherited file that says which step runs")
    options = parser.parse_args()
    _prepare_process()
    code = _serve(Session(Connection.from_fd(options.fd), Marker.from_fd(options.marker_fd)))
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # User code may have closed it.
            stream.flush()
    os._exit(code)


def _prepare_process() -> None:
    # Ctrl-C reaches the whole terminal's group; the orchestrator drains and tells the workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    if hasattr(faulthandler, "register"):
        faulthandler.register(signal.SIGUSR1, all_threads=True, chain=False)
    # Standard output is a pipe, which Python would fill before anything is seen.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(line_buffering=True)


def _serve(session: Session) -> int:
    try:
        session.run()
    except RefusedError:
        return _REFUSED
    except ProtocolError as error:
        print(f"wallaroo worker: protocol error: {error}", file=sys.stderr)
        return _PROTOCOL_ERROR
    except (BrokenPipeError, ConnectionResetError):
        return 0  # The orchestrator is gone, which it may be at any time.
    return 0


if __name__ == "__main__":
    main()

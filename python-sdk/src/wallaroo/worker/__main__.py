"""``python -m wallaroo.worker --fd N [--marker-fd M] [--progress-ms T] [--code DIR]``: started by ``wallaroo-orch``.

``N`` is one end of a socket pair. ``M`` is the file of the marker; progress is reported there every ``T`` milliseconds.
``DIR`` is where the workers of an edition keep its code; without it the code is not frozen.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import os
import signal
import sys
from typing import NoReturn

from wallaroo._codec.protocol import ProtocolError
from wallaroo.worker._connection import Connection
from wallaroo.worker._log_levels import mark_levels
from wallaroo.worker._marker import Marker
from wallaroo.worker._progress import report_progress
from wallaroo.worker._session import RefusedError, Session

_REFUSED = 3
_PROTOCOL_ERROR = 70


def main() -> NoReturn:
    """Serve, then leave without waiting for threads that user code started."""
    options = _options(sys.argv[1:])
    _prepare_process()
    marker_fd, progress_ms = options.get("--marker-fd"), options.get("--progress-ms")
    marker = Marker.from_fd(None if marker_fd is None else int(marker_fd))
    if progress_ms is not None:
        report_progress(marker, int(progress_ms) / 1000)
    code = _serve(Session(Connection.from_fd(int(options["--fd"])), marker, options.get("--code")))
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # User code may have closed it.
            stream.flush()
    os._exit(code)


def _options(words: list[str]) -> dict[str, str]:
    """Return what is given to the worker, by option.

    By hand: importing argparse takes 4 ms, a fifteenth of the time until a worker is ready.
    """
    options = dict(zip(words[0::2], words[1::2]))
    known = {"--fd", "--marker-fd", "--progress-ms", "--code"}
    if len(words) % 2 or not options.keys() <= known or "--fd" not in options:
        usage = "python -m wallaroo.worker --fd N [--marker-fd M] [--progress-ms T] [--code DIR]"
        sys.exit(f"usage: {usage}, started by wallaroo-orch")
    return options


def _prepare_process() -> None:
    # Ctrl-C reaches the whole terminal's group; the orchestrator drains and tells the workers itself.
    # A handler, because programs that user code starts would inherit that the signal is ignored.
    signal.signal(signal.SIGINT, _go_on)
    faulthandler.enable()
    if hasattr(faulthandler, "register"):
        faulthandler.register(signal.SIGUSR1, all_threads=True, chain=False)
    # Standard output is a pipe, which Python would fill before anything is seen.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(line_buffering=True)
    mark_levels()


def _go_on(*_: object) -> None:
    """Do nothing about a signal."""


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

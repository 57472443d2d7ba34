"""Runs the SDK's own tests under every interpreter found: ``python -m tests.sdk_everywhere [PYTEST_FLAGS]``."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from tests.harness.interpreters import Interpreter, discover, environment, missing
from tests.harness.places import ROOT

LIMIT = 20 * 60
"""Seconds for one interpreter. Each takes four to five minutes on a quiet machine."""

AT_ONCE = 2
"""Interpreters. Each runs its tests one after the other."""

# Where it stood is printed long before.
_FLAGS = ["-q", "-p", "no:cacheprovider", "-o", "faulthandler_timeout=300"]


def main() -> int:
    found = discover()
    failed = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for interpreter, (passed, output) in zip(found, pool.map(_tested, found)):
            print(f"== SDK tests, {interpreter.name} ({interpreter.path})\n{output}", flush=True)
            if not passed:
                failed.append(interpreter.name)
    for name in missing(found):
        print(f"== skipped, not on this machine: {name}")
    if failed:
        print(f"error: the SDK's tests failed under {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _tested(interpreter: Interpreter) -> "tuple[bool, str]":
    """Whether the tests passed, and what they printed."""
    command = [environment(interpreter), "-m", "pytest", *_FLAGS, *sys.argv[1:]]
    # In a group of its own, so that what the tests started ends with them.
    process = subprocess.Popen(
        command,
        cwd=ROOT / "python-sdk",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        return False, f"{output}\nerror: not ended within {LIMIT} s"
    return process.returncode == 0, output.rstrip()


if __name__ == "__main__":
    sys.exit(main())

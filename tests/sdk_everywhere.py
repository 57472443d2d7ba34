"""Runs the SDK's own tests under every interpreter found: ``python -m tests.sdk_everywhere [PYTEST_FLAGS]``."""

import subprocess
import sys

from tests.harness.interpreters import discover, environment, missing
from tests.harness.places import ROOT


def main() -> int:
    found = discover()
    failed = []
    for interpreter in found:
        print(f"== SDK tests, {interpreter.name} ({interpreter.path})", flush=True)
        command = [environment(interpreter), "-m", "pytest", "-q", "-p", "no:cacheprovider", *sys.argv[1:]]
        if subprocess.run(command, cwd=ROOT / "python-sdk", check=False).returncode != 0:
            failed.append(interpreter.name)
    for name in missing(found):
        print(f"== skipped, not on this machine: {name}")
    if failed:
        print(f"error: the SDK's tests failed under {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

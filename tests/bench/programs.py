"""The comparison's own programs and environments, made if they are missing or out of date."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

from tests.harness.places import TARGET

FOLDER = Path(__file__).parent
_BUILT = TARGET / "bench-build"
# The last release of Bytewax on PyPI.
BYTEWAX = "bytewax==0.21.1"


def build(python: Path) -> tuple[Path, Path]:
    """Build the load generator and the embedded contender, linked with ``python``'s library; return their paths."""
    # Not --locked, because the lock file follows the orchestrator's dependencies, which change elsewhere.
    command = ["cargo", "build", "--release", "--quiet", "--target-dir", str(_BUILT)]
    environment = {**os.environ, "PYO3_PYTHON": str(python)}
    if subprocess.run(command, cwd=FOLDER, env=environment, check=False).returncode != 0:
        sys.exit("error: the comparison's programs were not built; the embedded one needs the library of this Python")
    return _BUILT / "release" / "bench-load", _BUILT / "release" / "bench-embedded"


def bytewax_environment(sdk: Path) -> Path | None:
    """Return the Python of an environment with Bytewax, or ``None`` if it cannot be installed.

    Args:
        sdk: A Python with the SDK; its packages are found too.
    """
    folder = TARGET / "bench-envs" / "bytewax"
    python = folder / "bin" / "python"
    stamp = folder / ".installed"
    if not stamp.exists() or stamp.read_text() != BYTEWAX:
        venv.create(folder, clear=True)
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
        if subprocess.run([*pip, "--disable-pip-version-check", BYTEWAX], check=False).returncode != 0:
            return None
        stamp.write_text(BYTEWAX)
    packages = [str(path) for path in sdk.parent.parent.glob("lib/python*/site-packages")]
    for site in folder.glob("lib/python*/site-packages"):
        (site / "sdk.pth").write_text("\n".join(packages) + "\n")
    return python

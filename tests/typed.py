"""README's first application, the documentation and the examples satisfy mypy strict and pyright strict.

``python -m tests.typed`` checks them.
"""

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.harness.docs import write_files
from tests.harness.places import EXAMPLES, ROOT

SDK = ROOT / "python-sdk"
PYRIGHT = [sys.executable, "-m", "basedpyright", "--level", "error", "-p"]
SKIPPED = "== skipped, not on this machine: basedpyright (python-sdk/requirements-pyright.txt)"


def first_application() -> str:
    """The first application in README.md."""
    (application,) = re.findall(
        r"```python\n(import wallaroo as w\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL
    )
    return application


def has_pyright() -> bool:
    """Whether pyright is installed beside this interpreter."""
    return importlib.util.find_spec("basedpyright") is not None


def mypy(files: list[Path]) -> list[str]:
    """The command that checks applications with mypy; its own tests of the examples are in the SDK's configuration."""
    cache = ROOT / "target" / "mypy-readme"
    # The SDK itself is checked with its own settings.
    options = ["--strict", "--follow-imports", "silent", "--cache-dir", str(cache)]
    return [sys.executable, "-m", "mypy", *options, *map(str, files)]


def main() -> int:
    environment = {**os.environ, "MYPYPATH": str(SDK / "src")}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as docs:
        readme = Path(folder) / "app.py"
        readme.write_text(first_application())
        strict = f'{{"typeCheckingMode": "strict", "pythonVersion": "3.9", "extraPaths": ["{SDK / "src"}"]}}'
        for each in (folder, docs):
            (Path(each) / "pyrightconfig.json").write_text(strict)
        commands = [mypy([readme]), mypy(write_files(Path(docs)))]
        if has_pyright():
            commands += [[*PYRIGHT, str(EXAMPLES)], [*PYRIGHT, folder], [*PYRIGHT, docs]]
        else:
            print(SKIPPED)
        failed = [command for command in commands if subprocess.run(command, env=environment, check=False).returncode]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

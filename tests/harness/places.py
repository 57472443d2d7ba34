"""Paths of the project."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "target"
APPS = ROOT / "tests" / "apps"
EXAMPLES = ROOT / "examples"
WORD_COUNT = ROOT / "examples" / "word_count" / "word_count.py"
TEXT = ROOT / "examples" / "word_count" / "text.txt"
WHEEL_REQUIREMENTS = ROOT / "tests" / "apps" / "requirements.txt"
REQUIREMENTS = ROOT / "tests" / "requirements.txt"


def wheel() -> Path:
    """The wheel under test."""
    wheels = sorted((TARGET / "dist").glob("*.whl"))
    if len(wheels) != 1:
        raise FileNotFoundError(f"expected one wheel in {TARGET / 'dist'}, found {len(wheels)}: run `make test-e2e`")
    return wheels[0]

"""The script that looks for long files and functions finds all of them and nothing else."""

import pytest

from tests.house import LONGEST_FILE, LONGEST_FUNCTION, faults, options_named

RUST = 'fn long<const N: usize>(of: [u8; N]) -> [u8; 2] {{\n{body}}}\nfn after() {{ "}}" }}\n'
PYTHON = "def long(of):\n{body}\n\ndef after():\n    pass\n"


@pytest.mark.parametrize(("name", "text", "line"), [("a.rs", RUST, "    x();\n"), ("a.py", PYTHON, "    x()\n")])
def test_a_long_function_is_found(tmp_path, name, text, line):
    closing = 2 if name == "a.rs" else 1
    (tmp_path / name).write_text(text.format(body=line * (LONGEST_FUNCTION - closing)))
    assert not list(faults(tmp_path))
    (tmp_path / name).write_text(text.format(body=line * (LONGEST_FUNCTION - closing + 1)))
    (fault,) = faults(tmp_path)
    assert (fault.what, fault.line, fault.lines) == ("long", 1, LONGEST_FUNCTION + 1)


@pytest.mark.parametrize("name", ["a.rs", "folder/a.py"])
def test_a_long_file_is_found(tmp_path, name):
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n" * LONGEST_FILE)
    assert not list(faults(tmp_path))
    file.write_text("\n" * (LONGEST_FILE + 1))
    (fault,) = faults(tmp_path)
    assert (fault.what, fault.lines) == ("file", LONGEST_FILE + 1)


def test_what_was_built_is_not_looked_at(tmp_path):
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "a.rs").write_text("\n" * (LONGEST_FILE + 1))
    assert not list(faults(tmp_path))


@pytest.mark.parametrize(
    "line", ["#[derive(clap::ValueEnum)]", 'const TEXT: &str = "raise --max-frame";', "/// See `--control`."]
)
def test_an_option_below_the_command_line_is_found(tmp_path, line):
    (tmp_path / "cli").mkdir()
    for file in (tmp_path / "a.rs", tmp_path / "cli" / "b.rs"):
        file.write_text(f'// a -- b, x--y, "--fd"\n{line}\n')
    ((file, number, _),) = options_named(tmp_path)
    assert (file.name, number) == ("a.rs", 2)

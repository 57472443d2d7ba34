"""CSV whose columns the first line of a file names."""

from __future__ import annotations

import os

import pytest

import wallaroo
import wallaroo.testing


def rows_of(path, *rows, **options):
    """What an application reads of ``rows``, with the codec of the file at ``path``."""
    codec = wallaroo.csv_lines(header=True, **options)
    rows_in = wallaroo.source("rows", wallaroo.file(path, codec))
    app = wallaroo.application("app", rows_in.sink(wallaroo.stdout(wallaroo.json_lines())))
    return wallaroo.testing.run(app, rows).lines


@pytest.mark.parametrize(
    ("first", "options"),
    [
        (b"item,price\ntea,3\n", {}),
        (b"item,price", {}),
        (b'\xef\xbb\xbf"item",price\r\n', {}),
        (b"item;price\r\n", {"delimiter": ";"}),
        (b"item,price\n\xff\xfe\n", {"encoding": "latin-1"}),
    ],
)
def test_the_first_line_of_the_file_names_the_columns(tmp_path, first, options):
    path = tmp_path / "rows.csv"
    path.write_bytes(first)
    separator = options.get("delimiter", ",")
    # The header is a message like any other to the worker that is given it.
    given = [separator.join(fields) for fields in (("item", "price"), ("tea", "3"), ("cup", "4"))]
    assert rows_of(path, *given, **options) == ['{"item":"tea","price":"3"}', '{"item":"cup","price":"4"}']


def test_names_are_in_the_encoding_of_the_file(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes("größe\n".encode("latin-1"))
    assert rows_of(path, {"größe": "1"}, encoding="latin-1") == ['{"größe":"1"}']


def test_a_dict_is_taken_in_tests_and_other_names_are_refused(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("item,price\n")
    assert rows_of(path, {"item": "a,b", "price": 1}) == ['{"item":"a,b","price":"1"}']
    with pytest.raises(ValueError, match="the message has no 'price'"):
        rows_of(path, {"item": "a"})


def test_a_file_without_names_is_refused(tmp_path):
    path = tmp_path / "rows.csv"

    def message(content):
        path.write_bytes(content)
        with pytest.raises(wallaroo.WallarooParameterError) as refused:
            wallaroo.file(path, wallaroo.csv_lines(header=True))
        return str(refused.value).replace(str(path), "rows.csv").partition("\n")[0]

    where = "file: csv_lines(header=True): "
    assert message(b"") == where + "the first line of rows.csv is blank"
    assert message(b"\na,b\n") == where + "the first line of rows.csv is blank"
    assert message(b"a,b,a\n") == where + "the first line of rows.csv names column 'a' twice"
    assert message(b'a,"b\n').startswith(where + "the names of the columns cannot be read from rows.csv: ")
    assert message(b"\xff\n").startswith(where + "the names of the columns cannot be read from rows.csv: 'utf-8'")
    assert message(b"a" * (2 << 20)).endswith("its first line has more than 1048576 bytes")


def test_a_file_that_is_not_there_or_is_a_pipe_is_refused(tmp_path):
    with pytest.raises(wallaroo.WallarooParameterError) as refused:
        wallaroo.file(tmp_path / "none.csv", wallaroo.csv_lines(header=True))
    assert str(refused.value) == (
        f"file: csv_lines(header=True): the names of the columns cannot be read from {tmp_path / 'none.csv'}: No such"
        " file or directory\n"
        'hint: name the columns if the file is written later: csv_lines("time", "price")'
    )
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(wallaroo.WallarooParameterError, match="it is no regular file"):
        wallaroo.file(tmp_path / "pipe", wallaroo.csv_lines(header=True))


@pytest.mark.parametrize(
    "use",
    [
        lambda codec: wallaroo.stdin(codec),
        lambda codec: wallaroo.stdout(codec),
        lambda codec: wallaroo.tcp("127.0.0.1:7010", codec),
        lambda codec: wallaroo.length_prefixed(">I", codec),
        lambda codec: wallaroo.FileSourceConfig("rows.csv", codec),
        lambda codec: wallaroo.FileSinkConfig("rows.csv", codec),
    ],
)
def test_where_there_is_no_file_to_read_it_is_refused(use):
    with pytest.raises(wallaroo.WallarooParameterError) as refused:
        use(wallaroo.csv_lines(header=True))
    assert "csv_lines(header=True) reads the names of the columns from a file" in str(refused.value)
    assert 'hint: name the columns: csv_lines("time", "price")' in str(refused.value)


def test_a_sink_writes_no_header(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n")
    lines = wallaroo.source("lines", wallaroo.stdin(wallaroo.lines()))
    with pytest.raises(wallaroo.WallarooParameterError, match="the argument reads messages, and a sink writes them"):
        lines.sink(wallaroo.file(path, wallaroo.csv_lines(header=True)))


def test_either_the_columns_are_named_or_the_file_does():
    with pytest.raises(wallaroo.WallarooParameterError) as refused:
        wallaroo.csv_lines("a", header=True)
    assert str(refused.value).startswith("csv_lines: columns are named, and header=True takes their names from the")
    with pytest.raises(wallaroo.WallarooParameterError, match="header is 'a', neither True nor False"):
        wallaroo.csv_lines(header="a")
    with pytest.raises(wallaroo.WallarooParameterError, match="no column is named"):
        wallaroo.csv_lines(header=False)

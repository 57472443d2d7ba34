"""The codec of CSV whose columns the application names, or the first line of a file."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Callable, overload

from wallaroo._errors import WallarooParameterError
from wallaroo._io.codecs import CodecOfFile, LineCodec, Payload, check_encoding, line_decoder, refused, text_decoder
from wallaroo._io.encoders import Message
from wallaroo._steps.objects import shown_type

if TYPE_CHECKING:
    from typing import Literal

Row = dict[str, str]
"""A line as it is read: the field of each column."""


class CsvCodec(LineCodec[Row]):
    """A codec of lines with separated fields. It reads dicts of ``str``, and writes any mapping of the columns."""

    def __init__(
        self,
        name: str,
        decode: Callable[[bytes], Row | None],
        encode: Callable[[Mapping[str, Any]], Message],
        from_payload: Callable[[bytes], Row | None],
        to_payload: Callable[[Mapping[str, Any]], Payload],
    ) -> None:
        super().__init__(name, decode, encode, from_payload, to_payload)
        self.encode: Callable[[Mapping[str, Any]], Message] = encode


@overload
def csv_lines(*columns: str, delimiter: str = ",", encoding: str = "utf-8") -> CsvCodec: ...
@overload
def csv_lines(*, header: Literal[True], delimiter: str = ",", encoding: str = "utf-8") -> CodecOfFile[Row]: ...
def csv_lines(*columns: str, header: bool = False, delimiter: str = ",", encoding: str = "utf-8") -> Any:
    r"""Return the codec of CSV: a message is a ``dict`` from the name of each column to its field.

    Fields are ``str`` when read; when written, ``str()`` of each value, and ``None`` is an empty field. A field may be
    in double quotes, with ``""`` for a quote in it. A line that holds the names of the columns is a header and is left
    out, as are blank lines. No header is written.

    A message is one line: a quoted field with a line break in it cannot be read, and is not written.

    Args:
        columns: The names of the columns, in order.
        header: ``True`` in place of ``columns``: the first line of the file names them. Only :func:`file` takes such a
            codec, as a source. Each worker reads the line when the application is set up, so the file must be there.
        delimiter: What is between fields: one character.
        encoding: As for :func:`lines`.

    Raises:
        WallarooParameterError: No column is named, one is named twice, ``header`` and columns are given, or an argument
            is unusable.

    Example:
        >>> import wallaroo
        >>> codec = wallaroo.csv_lines("item", "price")
        >>> codec.decode(b'"tea, green",3.20\r')
        {'item': 'tea, green', 'price': '3.20'}
        >>> codec.decode(b"item,price") is None
        True
        >>> codec.encode({"item": "tea", "price": 3.2})
        'tea,3.2\n'

        The first line of a file names the columns:

        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as prices:
        ...     print("item,price", file=prices, flush=True)
        ...     config = wallaroo.file(prices.name, wallaroo.csv_lines(header=True))
        >>> config.decode(b"tea,3.20")
        {'item': 'tea', 'price': '3.20'}
    """
    if not isinstance(header, bool):
        raise WallarooParameterError(
            f"csv_lines: header is {header!r}, neither True nor False",
            hint='header=True takes the names from the first line of a file; csv_lines("time", "price") gives them',
        )
    if header and columns:
        raise WallarooParameterError(
            "csv_lines: columns are named, and header=True takes their names from the file",
            hint="leave header=True out: a line that holds the names of the columns is left out anyway",
        )
    if not header:
        _check_columns(columns)
    given = ["header=True"] if header else [*map(repr, columns)]
    given += [] if delimiter == "," else [f"delimiter={delimiter!r}"]
    given += [] if encoding == "utf-8" else [f"encoding={encoding!r}"]
    name = f"csv_lines({', '.join(given)})"
    if not isinstance(delimiter, str) or len(delimiter) != 1 or delimiter in '"\r\n':
        raise WallarooParameterError(
            f"{name}: delimiter must be one character, no quote and no line end, got {delimiter!r}",
            hint=r'for example ";" or "\t"',
        )
    encoding = check_encoding(name, encoding)
    if header:

        def of_file(path: str) -> CsvCodec:
            return _codec(name, _header_of(name, path, delimiter, encoding), delimiter, encoding)

        return CodecOfFile(name, of_file)
    return _codec(name, columns, delimiter, encoding)


def _codec(name: str, columns: tuple[str, ...], delimiter: str, encoding: str) -> CsvCodec:
    line_of = _writing(name, columns, delimiter)

    def encode(data: Mapping[str, Any]) -> Message:
        line = line_of(data) + "\n"
        return line if encoding == "utf-8" else line.encode(encoding)

    def to_payload(data: Mapping[str, Any]) -> Payload:
        line = line_of(data)
        return line if encoding == "utf-8" else line.encode(encoding)

    decode = _reading(name, columns, delimiter, line_decoder(encoding))
    from_payload = _reading(name, columns, delimiter, text_decoder(encoding))
    return CsvCodec(name, decode, encode, from_payload, to_payload)


_LONGEST_HEADER = 1 << 20
"""Bytes."""


def _header_of(name: str, path: str, delimiter: str, encoding: str) -> tuple[str, ...]:
    """Return the names of the columns, which the first line of a file holds.

    Raises:
        WallarooParameterError: The file cannot be read, is no regular file, or its first line does not name columns.
    """
    try:
        line = _first_line(path)
        text = line_decoder(encoding)(line)
        columns = tuple(_unquoting(name, delimiter)(text)) if text else ()
    except (OSError, ValueError) as error:
        raise WallarooParameterError(
            f"file: {name}: the names of the columns cannot be read from {path}: {getattr(error, 'strerror', error)}",
            hint='name the columns if the file is written later: csv_lines("time", "price")',
        ) from None
    twice = next((column for column in columns if columns.count(column) > 1), None)
    if not columns or twice is not None:
        problem = "is blank" if twice is None else f"names column {twice!r} twice"
        raise WallarooParameterError(
            f"file: {name}: the first line of {path} {problem}",
            hint='the first line names each column once; or name them here: csv_lines("time", "price")',
        )
    return columns


def _first_line(path: str) -> bytes:
    if not stat.S_ISREG(os.stat(path).st_mode):
        # What is read here of a pipe would be missing from the source.
        raise ValueError("it is no regular file")
    with open(path, "rb") as file:
        line = file.readline(_LONGEST_HEADER + 1)
    if len(line) > _LONGEST_HEADER:
        raise ValueError(f"its first line has more than {_LONGEST_HEADER} bytes")
    return line[:-1] if line.endswith(b"\n") else line


def _check_columns(columns: tuple[Any, ...]) -> None:
    if not columns:
        raise WallarooParameterError(
            "csv_lines: no column is named", hint='give the names of the columns in order: csv_lines("time", "price")'
        )
    for column in columns:
        if not isinstance(column, str):
            raise WallarooParameterError(
                f"csv_lines: a column's name is {shown_type(column)}, not str",
                hint='give each name on its own: csv_lines("time", "price"), or csv_lines(*names) for a list',
            )
        if columns.count(column) > 1:
            raise WallarooParameterError(
                f"csv_lines: column {column!r} is named twice", hint="give each column its own name"
            )


def _reading(
    name: str, columns: tuple[str, ...], delimiter: str, text_of: Callable[[bytes], str]
) -> Callable[[bytes], Row | None]:
    unquoted = _unquoting(name, delimiter)
    header = list(columns)

    def row_of(bs: bytes) -> Row | None:
        text = text_of(bs)
        if not text:
            return None
        fields = unquoted(text) if '"' in text else text.split(delimiter)
        if len(fields) != len(header):
            raise ValueError(f"{name}: a line has {len(fields)} fields, and there are {len(header)} columns")
        return None if fields == header else dict(zip(header, fields))

    return row_of


def _unquoting(name: str, delimiter: str) -> Callable[[str], list[str]]:
    """Return a function that splits a line some of whose fields may be in quotes.

    By hand: what the module ``csv`` reads depends on the interpreter, which may refuse a NUL or a long field.
    """
    separator = re.escape(delimiter)
    field = re.compile(f'"((?:[^"]|"")*)"|((?!")[^{separator}]*)')

    def split(text: str) -> list[str]:
        fields: list[str] = []
        position = 0
        while True:
            found = field.match(text, position)
            if found is None or text[found.end() : found.end() + 1] not in ("", delimiter):
                raise ValueError(
                    f"{name}: field {len(fields) + 1} has a quote that is not closed, or text after one; a field cannot"
                    " hold a line break"
                )
            fields.append(found[2] if found[1] is None else found[1].replace('""', '"'))
            if found.end() == len(text):
                return fields
            position = found.end() + 1

    return split


def _writing(name: str, columns: tuple[str, ...], delimiter: str) -> Callable[[Mapping[str, Any]], str]:
    known = set(columns)

    def line_of(data: Mapping[str, Any]) -> str:
        if not isinstance(data, Mapping):
            raise refused(name, "a dict", data)
        if data.keys() != known:
            missing = [column for column in columns if column not in data]
            more = [str(column) for column in data if column not in known]
            raise ValueError(
                f"{name}: the message has {'no ' if missing else 'more: '}{', '.join(map(repr, missing or more))}"
            )
        fields = ["" if data[column] is None else str(data[column]) for column in columns]
        # A line with nothing in it would be a blank one.
        return delimiter.join([_quoted(name, field, delimiter) for field in fields]) or '""'

    return line_of


def _quoted(name: str, field: str, delimiter: str) -> str:
    if "\n" in field or "\r" in field:
        raise ValueError(f"{name}: a field holds a line break, and a message is one line: {field!r:.80}")
    # A byte order mark at the start of a line would be left out when it is read.
    is_quoted = '"' in field or delimiter in field or field[:1] == "\ufeff"
    return '"' + field.replace('"', '""') + '"' if is_quoted else field

"""Text files as they come: compressed or not, with and without a byte order mark, misnamed."""

from __future__ import annotations

import codecs
import gzip
import os
import zlib
from pathlib import Path

from convgym.datafiles import read_whole
from convgym.errors import ConvgymError

_MARKS = (  # UTF-32 first: its mark begins as that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
_PROGRAMS = (
    (b"PK\x03\x04", "a zip file or an Excel workbook: save the sheet as CSV, or unpack it"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook: save the sheet as CSV"),
    (b"SQLite format 3", "an SQLite database: write the query's result as CSV"),
    (b"%PDF", "a PDF"),
    (b"PAR1", "a Parquet file: give --format parquet"),
)
_HEAD = 4096


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes, unpacked if they are compressed by gzip; ConvgymError if not there."""
    if path.is_dir():
        raise ConvgymError(f"{path} is a folder where a file of chats was expected")
    try:
        data = read_whole(path)
        return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ConvgymError(f"cannot unpack {path}: {error}") from None
    except OSError as error:
        raise ConvgymError(f"cannot read {path}: {error.strerror or error}") from None


def read_text(path: Path, encoding: str | None = None) -> str:
    """Return what a text file says.

    Args:
        path: the file.
        encoding: its encoding; None for what a byte order mark says, or else UTF-8.

    Raises:
        ConvgymError: for what is no text, and for text in another encoding.
    """
    data = read_bytes(path)
    for magic, name in _PROGRAMS:
        if data.startswith(magic):
            raise ConvgymError(f"{path} is {name}")
    marked = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    if marked is None and encoding is None and b"\0" in data[:_HEAD]:
        raise ConvgymError(
            f"{path} is no text file, or text in an encoding that must be named: --encoding utf-16"
        )
    try:
        return data.decode(marked or encoding or "utf-8")
    except LookupError:
        raise ConvgymError(f"there is no encoding {encoding!r}: utf-8, cp1252, cp1251...") from None
    except UnicodeDecodeError as error:
        raise _wrongly_encoded(path, data, error) from None


def _wrongly_encoded(path: Path, data: bytes, error: UnicodeDecodeError) -> ConvgymError:
    line = data[: error.start].count(b"\n") + 1
    around = data[max(0, error.start - 12) : error.start + 12].split(b"\n")
    shown = next((part for part in around if any(byte > 127 for byte in part)), b"")
    return ConvgymError(
        f"{path} is not {error.encoding} (line {line}): name its encoding by --encoding; as cp1252,"
        f" which Excel writes in Western Europe, there stands {shown.decode('cp1252', 'replace')!r}"
    )


def missing_source(path: Path) -> ConvgymError | None:
    """Return the error for a source that is not there, None if it is."""
    try:
        os.stat(path)
    except OSError as error:
        return ConvgymError(f"cannot read {path}: {error.strerror or error}")
    return None

"""The formats by name, and which of them a file is in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from convgym.errors import ConvgymError, unknown
from convgym.exchange import arrow, csv_file, minari, openai, sharegpt
from convgym.exchange.chats import Chat
from convgym.exchange.conversation_rows import chats_of_rows
from convgym.exchange.conversations import Conversation
from convgym.exchange.findings import Findings
from convgym.exchange.json_rows import json_rows
from convgym.exchange.settings import ImportSettings
from convgym.exchange.shapes import Shape
from convgym.exchange.text_file import missing_source, read_bytes, read_text
from convgym.logs import SCHEMA

Read = Callable[[Path, ImportSettings, Findings], list[Chat]]
Write = Callable[[Sequence[Conversation], Path], None]


@dataclass(frozen=True)
class Format:
    """A format: how to read it, how to write it if it can be, and whether it is a folder."""

    summary: str
    read: Read
    write: Write | None
    is_folder: bool = False


def _shape_reader(shape: Shape) -> Read:
    def read(path: Path, settings: ImportSettings, findings: Findings) -> list[Chat]:
        settings.refuse_columns(str(path), "speaker", "text", "order")
        made = [
            shape.chat(row, number, place, settings, findings)
            for number, (place, row) in enumerate(
                json_rows(path, settings.encoding, findings), start=1
            )
        ]
        return [chat for chat in made if chat is not None]

    return read


def _read_messages(path: Path, settings: ImportSettings, findings: Findings) -> list[Chat]:
    rows = list(json_rows(path, settings.encoding, findings))
    names = list(dict.fromkeys(name for _, row in rows for name in row))
    return chats_of_rows(rows, names, path, settings, findings)


FORMATS: Mapping[str, Format] = {
    "openai": Format(
        "OpenAI's chat messages, a conversation a line", _shape_reader(openai.SHAPE), openai.write
    ),
    "sharegpt": Format(
        "ShareGPT, a conversation a line or in a list",
        _shape_reader(sharegpt.SHAPE),
        sharegpt.write,
    ),
    "jsonl": Format("JSON, a message or a transcript a line", _read_messages, None),
    "csv": Format("CSV, a message or a conversation a row", csv_file.read, csv_file.write),
    "parquet": Format(
        "Parquet, a conversation or a message a row", arrow.read_parquet, arrow.write_parquet
    ),
    "datasets": Format(
        "a folder of Hugging Face's datasets",
        arrow.read_datasets,
        arrow.write_datasets,
        is_folder=True,
    ),
    "minari": Format(
        "a Minari dataset of texts, a folder", minari.read, minari.write, is_folder=True
    ),
}
"""By the names that ``--format`` takes."""


def find_format(name: str) -> Format:
    """Return a format by its name; ConvgymError for another name."""
    if name not in FORMATS:
        raise unknown("format", name, FORMATS)
    return FORMATS[name]


def guess_format(path: Path, settings: ImportSettings) -> str:
    """Return the name of the format that a file or folder is in.

    Raises:
        ConvgymError: if it is not there, or is nothing that is known.
    """
    if error := missing_source(path):
        raise error
    if path.is_dir():
        return _guess_folder(path)
    if read_bytes(path)[:4] == b"PAR1":
        return "parquet"
    text = read_text(path, settings.encoding)
    if not text.strip("\ufeff \t\r\n"):
        raise ConvgymError(f"{path} is empty")
    if text.lstrip("\ufeff \t\r\n")[0] not in "[{" or path.suffix in {".csv", ".tsv"}:
        return "csv"
    rows = [row for _, row in islice(json_rows(path, settings.encoding, Findings()), 20)]
    if any(row.get("schema") == SCHEMA for row in rows):
        raise ConvgymError(f"{path} is a log of convgym already: there is nothing to import")
    if settings.speaker or settings.text:
        return "jsonl"
    for name, shape in (("openai", openai.SHAPE), ("sharegpt", sharegpt.SHAPE)):
        if any(shape.fits(row) for row in rows):
            return name
    return "jsonl"


def _guess_folder(path: Path) -> str:
    if minari.is_minari(path):
        return "minari"
    names = {"dataset_dict.json", "dataset_info.json", "state.json"}
    if any((path / name).exists() for name in names):
        return "datasets"
    if any(path.rglob("*.parquet")):
        return "parquet"
    raise ConvgymError(
        f"{path} is a folder, but none of Hugging Face's datasets, of Parquet files or of Minari"
    )


_BY_ENDING = {
    ".jsonl": ("openai", "sharegpt"),
    ".json": ("sharegpt", "openai"),
    ".csv": ("csv",),
    ".parquet": ("parquet",),
}
"""What may stand in files of these endings; the first is meant where nothing is said."""


def guess_target(path: Path) -> str:
    """Return the name of the format that a file's name asks for; ConvgymError if none is."""
    if path.suffix.lower() not in _BY_ENDING:
        writable = [name for name, format in FORMATS.items() if format.write]
        raise ConvgymError(
            f"which format shall {path} be? Name it by --format: {', '.join(writable)}"
        )
    return _BY_ENDING[path.suffix.lower()][0]


def check_target(path: Path, name: str) -> None:
    """Raise ConvgymError for a file whose ending says that another format is in it."""
    known = _BY_ENDING.get(path.suffix.lower(), (name,))
    if name not in known:
        raise ConvgymError(
            f"{path} would be taken for {' or '.join(known)} by its ending, and not for {name}:"
            " give it another name, or drop --format"
        )

"""Rows that Arrow holds, of Parquet files and of folders of Hugging Face's ``datasets``.

A row is a conversation where it has a list of messages, as OpenAI's or ShareGPT's, else a message.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from convgym.errors import ConvgymError
from convgym.exchange import openai, sharegpt
from convgym.exchange.chats import Chat
from convgym.exchange.conversation_rows import chats_of_rows
from convgym.exchange.conversations import Conversation
from convgym.exchange.findings import Findings
from convgym.exchange.packages import load
from convgym.exchange.settings import ImportSettings

Row = Mapping[str, object]
_BATCH = 1000


def read_parquet(path: Path, settings: ImportSettings, findings: Findings) -> list[Chat]:
    """Return the conversations of a Parquet file, or of all those in a folder, by their names.

    Raises:
        ConvgymError: if there is none, or it cannot be read, or lacks a column.
    """
    parquet = load("pyarrow.parquet", "reading Parquet")
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    if not files:
        raise ConvgymError(f"there is no Parquet file in {path}")

    def rows() -> Iterator[tuple[str, Row]]:
        for file in files:
            number = 0
            for batch in parquet.ParquetFile(file).iter_batches(_BATCH):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{file.name} row {number}" if len(files) > 1 else f"row {number}", row

    try:
        names = list(dict.fromkeys(n for f in files for n in parquet.read_schema(f).names))
        return arrow_chats(rows(), names, path, settings, findings)
    except (OSError, load("pyarrow", "reading Parquet").ArrowException) as error:
        raise ConvgymError(f"cannot read {path} as Parquet: {error}") from None


def read_datasets(path: Path, settings: ImportSettings, findings: Findings) -> list[Chat]:
    """Return the conversations of a folder that ``Dataset.save_to_disk`` wrote, of all splits.

    Raises:
        ConvgymError: if it cannot be read, or lacks a column.
    """
    datasets = load("datasets", "reading a datasets folder")
    try:
        loaded = datasets.load_from_disk(str(path))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConvgymError(f"cannot read {path} as a datasets folder: {error}") from None
    splits = dict(loaded) if isinstance(loaded, datasets.DatasetDict) else {"": loaded}

    def rows() -> Iterator[tuple[str, Row]]:
        for split, dataset in splits.items():
            number = 0
            for table in dataset.with_format("arrow").iter(_BATCH):
                for row in table.to_pylist():
                    number += 1
                    yield f"{split} row {number}".lstrip(), row

    names = list(dict.fromkeys(name for part in splits.values() for name in part.column_names))
    return arrow_chats(rows(), names, path, settings, findings)


def arrow_chats(
    rows: Iterable[tuple[str, Row]],
    columns: Sequence[str],
    path: Path,
    settings: ImportSettings,
    findings: Findings,
) -> list[Chat]:
    """Return the conversations of rows, each with its place."""
    for shape in (openai.SHAPE, sharegpt.SHAPE):
        if any(name in columns for name in shape.messages) and settings.text is None:
            settings.refuse_columns(str(path), "speaker", "order")
            made = (
                shape.chat(row, number, place, settings, findings)
                for number, (place, row) in enumerate(rows, start=1)
            )
            return [chat for chat in made if chat is not None]
    return chats_of_rows(rows, columns, path, settings, findings)


def _rows(conversations: Sequence[Conversation]) -> list[dict[str, Any]]:
    roles = {"user": "user", "assistant": "assistant"}
    return [each.row("messages", "role", "content", roles) for each in conversations]


def write_parquet(conversations: Sequence[Conversation], path: Path) -> None:
    """Write a conversation a row, with its messages as OpenAI's."""
    pyarrow = load("pyarrow", "writing Parquet")
    table = pyarrow.Table.from_pylist(_rows(conversations))
    load("pyarrow.parquet", "writing Parquet").write_table(table, path)


def write_datasets(conversations: Sequence[Conversation], path: Path) -> None:
    """Write a folder that ``datasets.load_from_disk`` reads, a conversation a row."""
    datasets = load("datasets", "writing a datasets folder")
    bars = datasets.utils.logging
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        datasets.Dataset.from_list(_rows(conversations)).save_to_disk(str(path))
    finally:
        if shown:
            bars.enable_progress_bar()

"""Step 0: a chat model as a folder that is ready to be trained.

It says what stands around the words of a conversation, and what a policy is told first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from convgym.agents.model.find_format import find_format
from convgym.agents.model.policy import (
    SYSTEM_MESSAGE,
    load_network,
    place_of,
    write_system_message,
)
from convgym.agents.pipeline.outputs import REPORT, building, finished, versions
from convgym.datafiles import write_json
from convgym.errors import ConvgymError
from convgym.llm.local.chat_template import named_template, read_frames, short_template
from convgym.llm.local.conversion import read_gguf, write_folder
from convgym.llm.local.loading import files_digest


def convert_to_folder(
    source: str | Path,
    folder: Path,
    *,
    short: bool = False,
    system_message: str | None = None,
) -> dict[str, Any]:
    """Write a chat model to a folder in Hugging Face format; return the report.

    Args:
        source: ``"smollm2"``, a GGUF file, or another folder.
        folder: where it goes. One that is finished is not touched, its report is returned.
        short: take a chat template that puts one token between utterances, and names no roles, in
            place of the model's own: for a model that will be trained, every token costs.
        system_message: what a policy of this folder is told first; ``""`` for nothing, None for
            what it is told without a word of the folder.

    Raises:
        ConvgymError: for a source that cannot be read or used, or a folder that was made from
            something else.
    """
    made_from = {
        "step": "convert",
        "model_sha256": _sha256(source),
        "short": short,
        "system_message": system_message,
    }
    if report := finished(folder, made_from):
        return report
    is_gguf = Path(source).suffix == ".gguf"
    model, tokenizer = read_gguf(Path(source)) if is_gguf else load_network(source)
    if (short or system_message is not None) and not named_template(tokenizer):
        raise ConvgymError(
            f"{source} is no chat model: it has no template that could be short, or told something"
        )
    if short:
        tokenizer.chat_template = short_template(
            tokenizer, read_frames(tokenizer, SYSTEM_MESSAGE).end
        )
    format = find_format(tokenizer, SYSTEM_MESSAGE if system_message is None else system_message)
    report = {
        "made_from": made_from,
        "model": str(source),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "tokens_of_an_opening": format.overhead,
        "tokens_of_a_turn": sum(map(len, format.reply_frame)) + 1,
        "versions": versions(),
    }
    with building(folder) as part:
        write_folder(model, tokenizer, part)
        if system_message is not None:
            write_system_message(part, system_message)
        write_json(part / REPORT, report)
    return report


def _sha256(source: str | Path) -> str:
    """Return a digest of all of a model's files; ConvgymError where there are none."""
    place = place_of(source)
    files = [place] if place.is_file() else sorted(place.glob("*"))
    return files_digest(path for path in files if path.is_file())

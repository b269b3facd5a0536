"""Chat models as folders that are ready to be trained: what is said around the words, and first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from convgym.agents.model.format import find_format
from convgym.agents.model.policy import SYSTEM_MESSAGE, load_network, write_system_message
from convgym.datafiles import check_new_folder, part_of, settle
from convgym.errors import ConvgymError
from convgym.llm.local.chat_template import named_template, read_frames
from convgym.llm.local.conversion import read_gguf, write_folder

_OPENING = "{{ bos_token }}"
_SHORT = "%s{%% for message in messages %%}{{ message.content }}%s{%% endfor %%}"


def write_model_folder(
    source: str | Path,
    folder: Path,
    *,
    short: bool = False,
    system_message: str | None = None,
) -> dict[str, Any]:
    """Write a chat model to a new folder in Hugging Face format.

    Args:
        source: ``"smollm2"``, a GGUF file, or another folder.
        folder: a new one.
        short: take a chat template that puts one token between utterances, and names no roles, in
            place of the model's own: for a model that will be trained, every token costs.
        system_message: what a policy of this folder is told first; ``""`` for nothing, None for
            what it is told without a word of the folder.

    Returns:
        What was written: ``parameters``, ``vocabulary``, and the ``opening`` and ``reply`` frames.

    Raises:
        ConvgymError: for a source that cannot be read or used, or a folder that is there.
    """
    check_new_folder(folder)
    folder.rmdir()  # it was only tried
    file = Path(source)
    if file.suffix == ".gguf" and file.is_file():
        model, tokenizer = read_gguf(file)
    else:
        model, tokenizer = load_network(source)
    if (short or system_message is not None) and not named_template(tokenizer):
        raise ConvgymError(
            f"{source} is no chat model: it has no template that could be short, or told something"
        )
    if short:
        tokenizer.chat_template = _short_template(tokenizer)
    format = find_format(tokenizer, SYSTEM_MESSAGE if system_message is None else system_message)
    part = part_of(folder)
    write_folder(model, tokenizer, part)
    if system_message is not None:
        write_system_message(part, system_message)
    settle(part, folder)
    return {
        "model": str(source),
        "folder": str(folder),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "vocabulary": len(format.tokenizer.get_vocab()),
        "tokens_of_an_opening": format.overhead,
        "tokens_of_a_turn": sum(map(len, format.reply_frame)) + 1,
    }


def _short_template(tokenizer: Any) -> str:
    """Return a template of one token an utterance: that which ends an answer in the model's own."""
    opening = _OPENING if tokenizer.bos_token else ""
    return _SHORT % (opening, read_frames(tokenizer, SYSTEM_MESSAGE).end)

"""Chat models as folders: with their own template or a short one, and what they are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from convgym.agents.model.config import PolicyConfig
from convgym.agents.model.policy import SYSTEM_MESSAGE, LanguageModelPolicy
from convgym.agents.pipeline.folders import convert_to_folder
from convgym.benchmarks.cli.main import main
from convgym.conversation import Message
from convgym.errors import ConvgymError

CHATML = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nI am helpful.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SAID: list[Message] = [
    {"role": "user", "content": "Hi."},
    {"role": "assistant", "content": "Yes?"},
    {"role": "user", "content": "A laptop."},
]


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny untrained chat model that speaks in bytes."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        chat_template=CHATML,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(fast),
                hidden_size=16,
                intermediate_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                max_position_embeddings=512,
            )
        )
    folder = tmp_path_factory.mktemp("models") / "chat"
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def spoken(folder: Path, **settings: Any) -> str:
    """Return what a policy of a folder reads of a conversation."""
    policy = LanguageModelPolicy.from_pretrained(folder, config=PolicyConfig(**settings))
    read: str = policy.model.format.tokenizer.decode(policy.model.format.prompt(SAID))
    return read


def test_a_short_template_puts_one_token_between_utterances(chat: Path, tmp_path: Path) -> None:
    report = convert_to_folder(chat, tmp_path / "short", short=True, system_message="")
    assert (
        spoken(tmp_path / "short") == "<|im_start|>Hi.<|im_end|>Yes?<|im_end|>A laptop.<|im_end|>"
    )
    assert (report["tokens_of_an_opening"], report["tokens_of_a_turn"]) == (2, 2)
    told = spoken(tmp_path / "short", system_message="Sell.")
    assert told.startswith("<|im_start|>Sell.<|im_end|>Hi.<|im_end|>")


def test_a_policy_of_the_folder_is_told_what_the_folder_says(chat: Path, tmp_path: Path) -> None:
    convert_to_folder(chat, tmp_path / "as-it-is")
    assert spoken(tmp_path / "as-it-is") == spoken(chat) and SYSTEM_MESSAGE in spoken(chat)
    convert_to_folder(chat, tmp_path / "told", system_message="Sell.")
    assert spoken(tmp_path / "told") == spoken(chat, system_message="Sell.")
    convert_to_folder(chat, tmp_path / "untold", system_message="")
    assert spoken(tmp_path / "untold") == spoken(chat, system_message="")
    # It goes with the policy, as a template does.
    short = tmp_path / "short"
    convert_to_folder(chat, short, short=True, system_message="")
    LanguageModelPolicy.from_pretrained(short).save(tmp_path / "saved")
    assert spoken(tmp_path / "saved") == spoken(short)


def test_mistakes_are_told_and_leave_nothing(chat: Path, tmp_path: Path) -> None:
    convert_to_folder(chat, tmp_path / "there")
    for source, folder, message in (
        (chat, "there", "never overwritten"),
        ("nowhere", "new", "no model at 'nowhere'"),
        ("default", "new", "is no chat model"),
    ):
        with pytest.raises(ConvgymError, match=message):
            convert_to_folder(source, tmp_path / folder, short=True, system_message="")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_the_command_says_what_it_wrote(
    chat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And again, where it is there already."""
    folder = tmp_path / "short"
    shown = []
    for _ in range(2):
        with pytest.raises(SystemExit) as done:
            main(["models", "convert", str(chat), str(folder), "--short", "--system-message", ""])
        assert done.value.code == 0
        shown.append((capsys.readouterr().out, (folder / "config.json").stat().st_mtime_ns))
    assert shown[0] == shown[1]
    out = " ".join(shown[0][0].split())
    assert str(folder) in out and "2 tokens at the beginning and 2 a turn" in out

"""Tokenizers and chat templates of every make, with any number of tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizer, PreTrainedTokenizerFast

from convgym.agents.model.config import PolicyConfig
from convgym.agents.model.find_format import find_format
from convgym.agents.model.format import chat_format
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.model.sampling import SamplingConfig
from convgym.errors import ConvgymError
from convgym.rollout import rollout
from tests.unit.llm.local.templates import CHATML, GLM, GOOD, LLAMA2, make_tokenizer

TOLD = "You sell laptops."


def make_llama(vocabulary: int, context: int = 1024) -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=context,
            bos_token_id=None,
            eos_token_id=0,
        )
    )


def largest_difference(model: LanguageModel) -> float:
    """Return how far log-probabilities of training are from those of sampling."""
    policy = LanguageModelPolicy(model)
    episodes = rollout(policy, [1, 2, 3], environment={"max_turns": 3, "patience": 90.0})
    batch = model.collate(model.tokenise(episodes))
    with torch.inference_mode():
        found = model.logprobs(batch) - batch.logprobs[batch.response]
    assert len(found) > 20
    return float(found.abs().max())


@pytest.mark.parametrize("name", GOOD)
def test_a_seller_speaks_in_any_usual_template(name: str) -> None:
    template, end, _ = GOOD[name]
    tokenizer = make_tokenizer(template)
    format = find_format(tokenizer, TOLD)
    assert tokenizer.convert_ids_to_tokens(format.end_id) == end
    assert TOLD in tokenizer.decode(format.opening("Hi"))
    network = make_llama(len(tokenizer))
    assert largest_difference(LanguageModel.of(network, format, SamplingConfig(1.0, 8))) < 1e-5


def test_white_space_around_an_answer_is_its_own_and_not_heard() -> None:
    format = chat_format(make_tokenizer(LLAMA2), "")
    words = format.tokenizer.decode(format.response("Yes."), skip_special_tokens=False)
    assert words == " Yes. </s>"
    assert format.decode(format.response("Yes.")) == "Yes."
    prompt = format.tokenizer.decode(format.opening("Hi"), skip_special_tokens=False)
    assert prompt == "<s>[INST] Hi [/INST]"


def test_a_tokenizer_that_puts_spaces_itself_gets_none() -> None:
    letters = ["\N{LOWER ONE EIGHTH BLOCK}", *map(chr, range(32, 127))]
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", bos_token="<s>")
    fast.chat_template = LLAMA2
    format = chat_format(fast, "")
    spelt = fast.convert_ids_to_tokens(list(format.response("Yes")))
    assert spelt[:4] == ["\N{LOWER ONE EIGHTH BLOCK}", "Y", "e", "s"]


class Letters(PreTrainedTokenizer):
    """A slow tokenizer, of single letters, without tokens for the end or for padding."""

    vocab_files_names: dict[str, str] = {}  # noqa: RUF012  # as transformers has it

    def __init__(self, **settings: Any) -> None:
        self._letters = [chr(code) for code in range(10, 127)]
        super().__init__(**settings)  # type: ignore[no-untyped-call]

    @property
    def vocab_size(self) -> int:
        return len(self._letters)

    def get_vocab(self) -> dict[str, int]:
        return {letter: i for i, letter in enumerate(self._letters)} | self.added_tokens_encoder

    def _tokenize(self, text: str, **_: Any) -> list[str]:
        return list(text)

    def _convert_token_to_id(self, token: str) -> int:
        return self._letters.index(token) if token in self._letters else 0

    def _convert_id_to_token(self, index: int) -> str:
        return self._letters[index]


def test_a_slow_tokenizer_without_end_or_padding_works() -> None:
    tokenizer = Letters(chat_template=CHATML)
    tokenizer.add_tokens(["<|im_start|>", "<|im_end|>"])
    assert (tokenizer.eos_token, tokenizer.pad_token, tokenizer.is_fast) == (None, None, False)
    format = find_format(tokenizer, TOLD)
    assert format.pad_id == format.end_id == tokenizer.convert_tokens_to_ids("<|im_end|>")
    network = make_llama(len(tokenizer))
    assert largest_difference(LanguageModel.of(network, format, SamplingConfig(1.0, 8))) < 1e-5


@pytest.mark.parametrize("extra", [-1, 0, 1, 37])
def test_a_model_may_have_other_logits_than_there_are_tokens(extra: int) -> None:
    tokenizer = make_tokenizer(CHATML)
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    vocabulary = len(tokenizer) + extra
    model = LanguageModel.of(
        make_llama(vocabulary), find_format(tokenizer, ""), SamplingConfig(1.0, 8)
    )
    forbidden = set(model.format.forbidden_ids)
    pad = tokenizer.pad_token_id
    assert max(forbidden) < vocabulary
    assert set(range(len(tokenizer), vocabulary)) <= forbidden
    assert model.format.pad_id == (model.format.end_id if extra < 0 else pad)
    assert largest_difference(model) < 1e-5


def test_a_tokenizer_of_another_model_is_refused() -> None:
    tokenizer = make_tokenizer(CHATML)
    with pytest.raises(ConvgymError, match=r"200 logits, none for .*own tokenizer"):
        LanguageModel.of(make_llama(200), find_format(tokenizer, ""))
    # Tags that were added without new embeddings cannot be read.
    with pytest.raises(ConvgymError, match="256 logits, none for"):
        LanguageModel.of(make_llama(256), find_format(tokenizer, ""))


def test_a_tokenizer_without_template_is_refused() -> None:
    with pytest.raises(ConvgymError, match="neither a chat template"):
        find_format(make_tokenizer(None), "")


def save(folder: Path, tokenizer: Any) -> Path:
    make_llama(len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_of_several_templates_a_seller_speaks_in_the_default(tmp_path: Path) -> None:
    tokenizer = make_tokenizer({"default": CHATML, "tool_use": GLM})
    policy = LanguageModelPolicy.from_pretrained(save(tmp_path, tokenizer))
    assert tokenizer.convert_ids_to_tokens(policy.model.format.end_id) == "<|im_end|>"
    policy.save(tmp_path / "again")
    again = LanguageModelPolicy.from_pretrained(tmp_path / "again")
    assert again.model.format.opening("Hi") == policy.model.format.opening("Hi")


def test_a_system_message_without_room_is_refused(tmp_path: Path) -> None:
    folder = save(tmp_path, make_tokenizer(CHATML))
    config = PolicyConfig(system_message="laptops " * 200, max_new_tokens=8)
    with pytest.raises(ConvgymError, match=r"reads 1024 tokens .* shorter system message"):
        LanguageModelPolicy.from_pretrained(folder, config=config)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", "{"),
        ("config.json", '{"model_type": "of tomorrow"}'),
        ("config.json", '{"model_type": "t5"}'),
        ("model.safetensors", "no weights"),
        ("tokenizer.json", "{}"),
    ],
)
def test_a_broken_folder_is_one_error(tmp_path: Path, file: str, content: str) -> None:
    folder = save(tmp_path, make_tokenizer(CHATML))
    (folder / file).write_text(content, encoding="utf-8")
    with pytest.raises(ConvgymError, match="cannot be loaded") as caught:
        LanguageModelPolicy.from_pretrained(folder)
    assert "\n" not in str(caught.value)

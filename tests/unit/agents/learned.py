"""Tiny learned customers, fitted to so much that their replies come to an end."""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path
from unittest.mock import patch

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from convgym.agents import pretrain_adapter, pretrain_customer
from convgym.agents.customers.format import WordsFormat
from convgym.customers.personas import load_personas
from convgym.llm.local.conversion import write_folder
from convgym.progress import no_progress

TINY = pretrain_customer.CustomerConfig(
    vocabulary=480,
    hidden=16,
    layers=1,
    heads=2,
    key_value_heads=1,
    intermediate=16,
    chapters=2,
    conversations=40,
    minibatch=4,
    learning_rate=0.03,
)
SCRIPTED = tuple(part for part in pretrain_customer.MIXTURE if not part[0].startswith("hf:"))
"""The sellers of the mixture that cost nothing."""


@lru_cache(maxsize=1)
def tiny_learned_customer() -> str:
    """Return the folder of a model that is fitted once for all tests of a process."""
    # Kept to the end of the process: TemporaryDirectory would go with its object.
    folder = Path(tempfile.mkdtemp(prefix="convgym-learned-"))
    with patch.object(pretrain_customer, "MIXTURE", SCRIPTED):
        pretrain_customer.pretrain_customer(folder, config=TINY)
    return str(folder)


CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TINY_ADAPTER = pretrain_adapter.AdapterConfig(
    chapters=2, conversations=40, minibatch=4, learning_rate=0.01, rank=2, frozen="float32"
)
FOR_ADAPTERS = tuple(
    part for part in pretrain_adapter.MIXTURE if part[0] != "smollm2" and "hf:" not in part[0]
)


@lru_cache(maxsize=1)
def tiny_chat_model() -> str:
    """Return the folder of a chat model that stands in for SmolLM2.

    It has learned, all of it, to speak as a customer, so that adapters need change little.
    """
    book = pretrain_customer.Book(
        "shopper",
        "laptops",
        pretrain_customer.FittingConfig(
            chapters=1, conversations=60, minibatch=4, learning_rate=0.03
        ),
        seed=1,
        sellers=FOR_ADAPTERS,
    )
    beginning = book.chapter(0)
    texts = [message["content"] for episode in beginning for message in episode.messages()]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        [*texts, *["go", "buy", "leave"] * 99],
        trainers.BpeTrainer(
            vocab_size=480,
            special_tokens=["<|im_start|>", "<|im_end|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    chat = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        clean_up_tokenization_spaces=False,
        chat_template=CHATML,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(chat),
                hidden_size=16,
                intermediate_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                num_key_value_heads=1,
                max_position_embeddings=2048,
                tie_word_embeddings=True,
                eos_token_id=chat.eos_token_id,
            )
        )
    folder = Path(tempfile.mkdtemp(prefix="convgym-chat-"))
    format = WordsFormat(chat, "$", load_personas("default").personas)
    checkpoint = folder / pretrain_customer.UNFINISHED
    pretrain_customer.train(network, format, book, beginning, checkpoint, no_progress)
    checkpoint.unlink()
    write_folder(network, chat, folder)
    return str(folder)


@lru_cache(maxsize=1)
def tiny_adapter() -> str:
    """Return the folder of adapters that are fitted once for all tests of a process."""
    folder = Path(tempfile.mkdtemp(prefix="convgym-adapter-"))
    with patch.object(pretrain_adapter, "MIXTURE", FOR_ADAPTERS):
        pretrain_adapter.pretrain_adapter(folder, base=tiny_chat_model(), config=TINY_ADAPTER)
    return str(folder)

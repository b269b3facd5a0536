"""Branches of conversations: the same numbers as one forward pass over each branch alone."""

from __future__ import annotations

import gc
import random
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache, GPT2Config, GPT2LMHeadModel

from convgym.agents.model.branching import Branches
from convgym.agents.model.format import Tokens
from convgym.agents.model.forward import read
from convgym.agents.model.sampling import Sample
from convgym.errors import ConvgymError

MakeNetwork = Callable[..., Any]
END = 1
FORBIDDEN: Tokens = (0, 2, 3, *range(12, 280))
MAX_NEW_TOKENS = 9
TEMPERATURE = 3.0


def gpt2() -> Any:
    """Return a model with learned positions, fused projections and dropout."""
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=280, n_embd=16, n_layer=2, n_head=2, n_positions=128)
    model = GPT2LMHeadModel(config)
    for parameter in model.parameters():
        if parameter.ndim == 2:
            parameter.data *= 20
    return model


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_tokens(rng: random.Random, n: int) -> Tokens:
    return tuple(rng.randrange(4, 280) for _ in range(n))


def read_rows(model: Any, rows: list[Tokens]) -> tuple[Tensor, DynamicCache]:
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows])
    cache = DynamicCache(config=model.config)
    with torch.inference_mode():
        return read(model.base_model, ids, cache=cache), cache


def sample(branches: Branches, hidden: Tensor, seed: int = 0) -> list[Sample]:
    return branches.sample(
        hidden,
        seeded(seed),
        end_id=END,
        forbidden_ids=FORBIDDEN,
        temperature=TEMPERATURE,
        max_new_tokens=MAX_NEW_TOKENS,
    )


@torch.no_grad()
def check_logprobs(model: Any, prompt: Tokens, found: Sample) -> None:
    """Compare with one forward pass over the branch alone, without cache or padding."""
    logits = model(input_ids=torch.tensor([prompt + found.token_ids]), use_cache=False).logits[0]
    logits[:, FORBIDDEN] = -torch.inf
    logprobs = (logits / TEMPERATURE).log_softmax(-1)
    expected = [
        float(logprobs[len(prompt) - 1 + i, token]) for i, token in enumerate(found.token_ids)
    ]
    assert found.token_logprobs == pytest.approx(expected, abs=1e-5)


@pytest.fixture(params=["one key head", "two key heads", "learned positions"])
def model(make_network: MakeNetwork, request: pytest.FixtureRequest) -> Any:
    """Return a model in double precision, in which rounding cannot hide a mistake."""
    if request.param == "learned positions":
        return gpt2().eval().double()
    heads = {"one key head": 1, "two key heads": 2}[request.param]
    return make_network(key_value_heads=heads, heads=4).eval().double()


def test_samples_and_what_is_read_after_them(model: Any) -> None:
    """Rows that differ in length, with none, one or many branches, which end at different times."""
    rng = random.Random(0)
    rows = [random_tokens(rng, n) for n in (30, 12, 5, 21)]
    leaves = [(row, rng.randint(1, len(rows[row]))) for row in sorted([0] * 9 + [1] + [3] * 5)]
    hidden, cache = read_rows(model, rows)
    at, starts = torch.tensor(leaves).T
    branches = Branches(model, cache, at, starts, MAX_NEW_TOKENS + 4)
    found = sample(branches, hidden[at, starts - 1])
    assert len({len(one.token_ids) for one in found}) > 3
    for (row, start), one in zip(leaves, found, strict=True):
        check_logprobs(model, rows[row][:start], one)
        assert END not in one.token_ids[:-1]
        assert len(one.token_ids) == MAX_NEW_TOKENS or one.token_ids[-1] == END
    blocks = [random_tokens(rng, rng.randint(0, 4)) for _ in found]
    after = branches.read_on(blocks)
    for (row, start), one, block, state in zip(leaves, found, blocks, after, strict=True):
        ids = torch.tensor([rows[row][:start] + one.token_ids + block])
        with torch.no_grad():
            alone = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
        torch.testing.assert_close(state, alone[0, -1], atol=1e-6, rtol=0)


def test_branches_may_begin_with_what_their_rows_hold(model: Any) -> None:
    """A row goes on with tokens that only some branches see: here they stand in its middle."""
    rng = random.Random(1)
    shared, first, second = (random_tokens(rng, n) for n in (8, 3, 5))
    rows = [shared + first, shared + second]
    hidden, cache = read_rows(model, rows)
    at, starts = torch.tensor([0, 0, 1]), torch.tensor([8, 10, 8])
    own = [first, first[2:], second]
    branches = Branches(model, cache, at, starts, MAX_NEW_TOKENS + 5)
    branch = torch.tensor([k for k, ids in enumerate(own) for _ in ids])
    columns = torch.tensor(
        [int(starts[k]) + i for k, ids in enumerate(own) for i in range(len(ids))]
    )
    branches.begin(branch, columns)
    last = starts + torch.tensor(list(map(len, own))) - 1
    for k, one in enumerate(sample(branches, hidden[at, last])):
        check_logprobs(model, rows[at[k]][: starts[k]] + own[k], one)


def test_a_conversation_is_read_once_and_ended_branches_no_more(make_network: MakeNetwork) -> None:
    model = make_network().eval()
    row = random_tokens(random.Random(2), 40)
    read: list[int] = []
    model.base_model.register_forward_pre_hook(
        lambda module, args, kwargs: read.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    hidden, cache = read_rows(model, [row])
    starts = torch.tensor([10, 20, 30, 40] * 6)
    branches = Branches(model, cache, torch.zeros_like(starts), starts, MAX_NEW_TOKENS)
    found = sample(branches, hidden[0, starts - 1])
    # Of every sample all tokens but the last are read.
    assert read[0] == 40
    assert sum(read[1:]) == sum(len(one.token_ids) - 1 for one in found)


def test_the_same_seed_gives_the_same_samples_and_the_model_is_left_alone(
    make_network: MakeNetwork,
) -> None:
    model = make_network().eval()
    ids = torch.tensor([random_tokens(random.Random(3), 20)])
    with torch.no_grad():
        before = model(input_ids=ids).logits
    found = []
    for seed in (1, 1, 2):
        hidden, cache = read_rows(model, [tuple(ids[0].tolist())])
        rows, starts = torch.zeros(12, dtype=torch.long), torch.arange(9, 21)
        branches = Branches(model, cache, rows, starts, MAX_NEW_TOKENS)
        found.append(sample(branches, hidden[rows, starts - 1], seed))
    assert found[0] == found[1] != found[2]
    with torch.no_grad():
        assert torch.equal(model(input_ids=ids).logits, before)


def test_a_full_context_is_reported(make_network: MakeNetwork) -> None:
    model = make_network(context=32).eval()
    _, cache = read_rows(model, [(5,) * 24])
    rows = torch.zeros(1, dtype=torch.long)
    Branches(model, cache, rows, torch.tensor([24]), 8)
    with pytest.raises(ConvgymError, match=r"24 tokens and a continuation of up to 9 .* of 32"):
        Branches(model, cache, rows, torch.tensor([24]), 9)


@pytest.mark.parametrize("special", [{"softcap": 30.0}, {"sliding_window": 8}])
def test_attention_that_is_not_plain_is_refused(
    make_network: MakeNetwork, monkeypatch: pytest.MonkeyPatch, special: dict[str, float]
) -> None:
    model = make_network().eval()
    hidden, cache = read_rows(model, [(5,) * 9])
    rows, starts = torch.zeros(2, dtype=torch.long), torch.tensor([4, 9])
    forward = type(model.base_model).forward

    def capped(self: Any, *args: Any, **kwargs: Any) -> Any:
        return forward(self, *args, **special, **kwargs)

    words = f"uses {next(iter(special))}"
    with monkeypatch.context() as patch, pytest.raises(ConvgymError, match=words):
        patch.setattr(type(model.base_model), "forward", capped)
        sample(Branches(model, cache, rows, starts, 9), hidden[rows, starts - 1])
    assert model.config._attn_implementation == "sdpa"
    monkeypatch.setattr(type(model), "_can_set_attn_implementation", classmethod(lambda cls: False))
    with pytest.raises(ConvgymError, match="does not let its attention be replaced"):
        Branches(model, cache, rows, starts, 9)


def test_branches_are_freed_as_soon_as_nobody_holds_them(make_network: MakeNetwork) -> None:
    model = make_network()
    hidden, cache = read_rows(model, [random_tokens(random.Random(0), 9)])
    rows, starts = torch.tensor([0, 0]), torch.tensor([4, 9])
    gc.disable()
    try:
        branches = Branches(model, cache, rows, starts, MAX_NEW_TOKENS)
        sample(branches, hidden[rows, starts - 1])
        gone = weakref.ref(branches)
        del branches
        assert gone() is None
    finally:
        gc.enable()

"""Sampling with a cache: the same numbers as a forward pass over the whole conversation."""

from __future__ import annotations

import copy
import gc
import random
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch

from convgym.agents.model import generation
from convgym.agents.model.format import ConversationFormat, Tokens
from convgym.agents.model.generation import Prompt, ResponseSampler
from convgym.agents.model.kv_cache import RaggedCache
from convgym.agents.model.sampling import Sample, SamplingConfig, draw, token_logprobs, uniforms
from convgym.errors import ConvgymError

MakeNetwork = Callable[..., Any]
MAX_NEW_TOKENS = 12


def sampler(model: Any, format: ConversationFormat, temperature: float = 1.0) -> ResponseSampler:
    narrow = copy.copy(format)
    narrow.forbidden_ids = forbidden(format)
    return ResponseSampler(model, narrow, SamplingConfig(temperature, MAX_NEW_TOKENS))


def forbidden(format: ConversationFormat) -> Tokens:
    """Leave a dozen words, so that an untrained model ends about one response in two early."""
    return (*format.forbidden_ids, *range(16, len(format.tokenizer)))


def streams(n: int, seed: int = 0) -> list[random.Random]:
    return [random.Random(f"{seed}/{i}") for i in range(n)]


def naive_logprobs(
    model: Any, format: ConversationFormat, prompt: Tokens, sample: Sample, temperature: float
) -> list[float]:
    """Score a sample alone, in one forward pass without cache or padding."""
    ids = torch.tensor([[*prompt, *sample.token_ids]])
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits[0]
    logits[:, forbidden(format)] = -torch.inf
    logprobs = (logits / temperature).log_softmax(-1)
    return [float(logprobs[len(prompt) - 1 + i, token]) for i, token in enumerate(sample.token_ids)]


def random_block(rng: random.Random, longest: int) -> Tokens:
    return tuple(rng.randrange(4, 200) for _ in range(rng.randint(1, longest)))


@pytest.mark.parametrize("drop", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("key_value_heads", [1, 2])
@pytest.mark.parametrize("temperature", [1.0, 1.7])
def test_log_probabilities_are_those_of_a_full_forward_pass(
    make_network: MakeNetwork,
    format: ConversationFormat,
    monkeypatch: pytest.MonkeyPatch,
    drop: float,
    key_value_heads: int,
    temperature: float,
) -> None:
    """Over turns of conversations that differ in length, leave, join and change their order."""
    monkeypatch.setattr(generation, "DROP", drop)
    monkeypatch.setattr(generation, "SLACK", 3)
    # In double precision rounding cannot hide a mistake.
    model = make_network(key_value_heads=key_value_heads).eval().double()
    generator, rng = sampler(model, format, temperature), random.Random(0)
    live = [Prompt((), random_block(rng, 20)) for _ in range(9)]
    ended_early = 0
    for turn in range(6):
        samples = generator.sample(live, [rng] * len(live))
        for prompt, sample in zip(live, samples, strict=True):
            naive = naive_logprobs(model, format, prompt.ids, sample, temperature)
            assert sample.token_logprobs == pytest.approx(naive, abs=1e-5)
            ended_early += len(sample.token_ids) < MAX_NEW_TOKENS
        going_on = [
            Prompt(prompt.ids + sample.token_ids, random_block(rng, 6))
            for prompt, sample in zip(live, samples, strict=True)
        ]
        if turn % 2:
            # The longest leaves, so that what it wrote lies beyond all others.
            going_on.remove(max(going_on, key=lambda prompt: len(prompt.ids)))
            rng.shuffle(going_on)
        if turn == 2:
            going_on[3] = Prompt((), random_block(rng, 20))
            going_on.insert(1, Prompt((), random_block(rng, 4)))
        live = going_on
    assert ended_early > 10


def test_a_long_conversation_may_leave_a_short_one_behind(
    make_network: MakeNetwork, format: ConversationFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation, "SLACK", 0)
    model = make_network().eval()
    generator = sampler(model, format)
    short = Prompt((), (5, 6))
    _, sample = generator.sample([Prompt((), (7,) * 150), short], streams(2))
    prompt = Prompt(short.ids + sample.token_ids, (8, 9))
    [sample] = generator.sample([prompt], streams(1))
    naive = naive_logprobs(model, format, prompt.ids, sample, 1.0)
    assert sample.token_logprobs == pytest.approx(naive, abs=1e-4)


def test_prompts_that_begin_each_other_are_read_together(
    make_network: MakeNetwork, format: ConversationFormat
) -> None:
    model = make_network().eval()
    generator = sampler(model, format)
    conversation = random_block(random.Random(1), 60)
    prompts = [Prompt((), conversation[:n]) for n in (1, 2, 5, len(conversation)) for _ in range(3)]
    read: list[int] = []
    model.base_model.register_forward_pre_hook(
        lambda module, args, kwargs: read.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    samples = generator.sample(prompts, streams(len(prompts)))
    # The conversation but for its last token once, then the last token of every prompt.
    assert read[:2] == [len(conversation) - 1, len(prompts)]
    for prompt, sample in zip(prompts, samples, strict=True):
        naive = naive_logprobs(model, format, prompt.ids, sample, 1.0)
        assert sample.token_logprobs == pytest.approx(naive, abs=1e-4)
    assert len({sample.token_ids for sample in samples}) > 3


def test_histories_in_common_are_read_once(
    make_network: MakeNetwork, format: ConversationFormat
) -> None:
    """Many continuations of each of two histories, of which one begins the other."""
    model = make_network().eval()
    generator, rng = sampler(model, format), random.Random(2)
    history = random_block(rng, 60)
    histories = [history, history[: len(history) // 2], random_block(rng, 20)]
    prompts = [Prompt(one, random_block(rng, 6)) for one in histories for _ in range(5)]
    rng.shuffle(prompts)
    read: list[tuple[int, ...]] = []
    model.base_model.register_forward_pre_hook(
        lambda module, args, kwargs: read.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    samples = generator.sample(prompts, streams(len(prompts)))
    longest = max(len(prompt.reply) for prompt in prompts)
    assert read[:2] == [(2, max(map(len, histories))), (len(prompts), longest)]
    for prompt, sample in zip(prompts, samples, strict=True):
        naive = naive_logprobs(model, format, prompt.ids, sample, 1.0)
        assert sample.token_logprobs == pytest.approx(naive, abs=1e-4)


def test_a_conversation_that_goes_on_is_not_read_again(
    make_network: MakeNetwork, format: ConversationFormat
) -> None:
    model = make_network().eval()
    generator = sampler(model, format)
    first = [Prompt((), (5, 6, 7, 8)), Prompt((), (9, 10))]
    samples = generator.sample(first, streams(2))
    read: list[tuple[int, ...]] = []
    model.base_model.register_forward_pre_hook(
        lambda module, args, kwargs: read.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    generator.sample(
        [
            Prompt(prompt.ids + sample.token_ids, (11, 12, 13))
            for prompt, sample in zip(first, samples, strict=True)
        ],
        streams(2),
    )
    # The reply and the last token said, which had been sampled but not read.
    assert read[0] == (2, 4)


def test_conversations_that_wait_for_their_customers_are_not_read_again(
    make_network: MakeNetwork, format: ConversationFormat
) -> None:
    # In double precision the last digits of a batch decide nothing.
    model = make_network().eval().double()
    ours, whole = (sampler(model, format) for _ in range(2))
    prompts = [Prompt((), random_block(random.Random(i), 20)) for i in range(12)]
    samples = ours.sample(prompts, streams(12))
    read = 0

    def note(module: Any, args: Any, kwargs: dict[str, torch.Tensor]) -> None:
        nonlocal read
        read += kwargs["input_ids"].numel()

    for part in ([3, 1, 8], [0], [11, 5, 2, 10, 4], [6, 7, 9], list(range(12))):
        for row in part:
            prompts[row] = Prompt(prompts[row].ids + samples[row].token_ids, (11, 12, 13))
        handle = model.base_model.register_forward_pre_hook(note, with_kwargs=True)
        read = 0
        found = ours.sample([prompts[row] for row in part], [random.Random(row) for row in part])
        handle.remove()
        # The customer's three tokens, the last one said, and the words of the response.
        assert read <= len(part) * (4 + MAX_NEW_TOKENS)
        whole.forget()
        afresh = whole.sample([prompts[row] for row in part], [random.Random(row) for row in part])
        for row, sample, same in zip(part, found, afresh, strict=True):
            samples[row] = sample
            assert sample.token_ids == same.token_ids
            assert sample.token_logprobs == pytest.approx(same.token_logprobs, abs=1e-5)


def test_no_more_wait_than_were_once_held(
    make_network: MakeNetwork, format: ConversationFormat
) -> None:
    ours = sampler(make_network().eval(), format)
    for size in (6, 2, 2, 6, 1, 1, 1):
        ours.sample([Prompt((), (5, 6, 7)) for _ in range(size)], streams(size))
        assert ours._cache.rows + ours._waiting.rows <= 6
    ours.forget()
    assert ours._cache.rows == ours._waiting.rows == 0


def test_the_same_seed_gives_the_same_samples(
    make_network: MakeNetwork, format: ConversationFormat
) -> None:
    model = make_network()
    prompts = [Prompt((), (5, 6, n)) for n in range(20)]
    one, same, other = (
        sampler(model, format).sample(prompts, streams(20, seed)) for seed in (1, 1, 2)
    )
    assert one == same
    assert one != other


def test_what_is_drawn_for_a_prompt_does_not_depend_on_the_others(
    make_network: MakeNetwork, format: ConversationFormat
) -> None:
    # In double precision the last digits of a batch decide nothing.
    model = make_network().eval().double()
    prompts = [Prompt((), (5, 6, n)) for n in range(20)]
    together = sampler(model, format).sample(prompts, streams(20))
    alone = [
        sampler(model, format).sample([prompt], [stream])[0]
        for prompt, stream in zip(prompts, streams(20), strict=True)
    ]
    assert [sample.token_ids for sample in together] == [sample.token_ids for sample in alone]


def test_responses_end_once_and_hold_no_other_special_token(
    make_network: MakeNetwork, format: ConversationFormat
) -> None:
    generator = sampler(make_network(), format, temperature=5.0)
    samples = generator.sample([Prompt((), (5, n)) for n in range(4, 200)], streams(196))
    ended = 0
    for sample in samples:
        assert not set(sample.token_ids) & set(forbidden(format))
        assert format.end_id not in sample.token_ids[:-1]
        assert len(sample.token_logprobs) == len(sample.token_ids) <= MAX_NEW_TOKENS
        ended += sample.token_ids[-1] == format.end_id
        assert len(sample.token_ids) == MAX_NEW_TOKENS or sample.token_ids[-1] == format.end_id
    assert ended > 0


def test_a_full_context_is_reported(make_network: MakeNetwork, format: ConversationFormat) -> None:
    generator = sampler(make_network(context=64), format)
    generator.sample([Prompt((), (5,) * (64 - MAX_NEW_TOKENS))], streams(1))
    with pytest.raises(ConvgymError, match="context of 64"):
        generator.sample([Prompt((), (5,) * (65 - MAX_NEW_TOKENS))], streams(1))


def test_no_prompts_no_samples(make_network: MakeNetwork, format: ConversationFormat) -> None:
    assert sampler(make_network(), format).sample([], []) == []


def test_draws_follow_the_distribution() -> None:
    probabilities = torch.tensor([0.0, 0.5, 0.0, 0.2, 0.3, 0.0])
    n = 20_000
    drawn = draw(probabilities.log().expand(n, -1), uniforms(n, torch.Generator().manual_seed(0)))
    counts = drawn.bincount(minlength=6)
    assert counts[probabilities == 0].sum() == 0
    expected = n * probabilities[probabilities > 0]
    chi_squared = float(((counts[probabilities > 0] - expected) ** 2 / expected).sum())
    assert chi_squared < 13.8  # the 99.9% quantile at two degrees of freedom


def test_forbidden_tokens_have_probability_zero_and_temperature_divides() -> None:
    logits = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    logprobs = token_logprobs(logits, torch.tensor([3]), temperature=2.0)
    expected = torch.tensor([0.5, 1.0, 1.5]).log_softmax(0)
    assert logprobs[0, :3].tolist() == pytest.approx(expected.tolist())
    assert logprobs[0, 3] == -torch.inf


def test_caches_are_freed_as_soon_as_they_are_outgrown(
    make_network: MakeNetwork, format: ConversationFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[weakref.ref[RaggedCache]] = []
    plain = ResponseSampler._new_cache

    def noted(self: ResponseSampler, rows: int, capacity: int) -> RaggedCache:
        cache = plain(self, rows, capacity)
        made.append(weakref.ref(cache))
        return cache

    monkeypatch.setattr(ResponseSampler, "_new_cache", noted)
    rng = random.Random(0)
    ours = sampler(make_network(), format)
    gc.disable()
    try:
        for _ in range(3):
            prompts = [Prompt((), random_block(rng, 20)) for _ in range(8)]
            ours.sample(prompts, streams(8))
            alive = [cache for ref in made if (cache := ref()) is not None and cache.rows]
            assert len(alive) == 1
            del alive
    finally:
        gc.enable()
    assert len(made) > 6

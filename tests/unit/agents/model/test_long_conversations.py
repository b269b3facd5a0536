"""Conversations that outgrow the model's context: what is read of them, and what is learned."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from convgym.agents import make_agent
from convgym.agents.model.config import PolicyConfig
from convgym.agents.model.format import chat_format
from convgym.agents.model.generation import Prompt
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.training.collector import Collector
from convgym.conversation import Episode, Message, Response, Turn
from convgym.customers import Decision, Reply
from convgym.progress import Progress, ProgressCallback, no_progress
from convgym.rollout import rollout
from tests.unit.llm.local.templates import CHATML, GEMMA, make_tokenizer

WORDS = ["laptop", "budget", "order", "need", "what", "$700", "around", "Shall", "I", "your"]
TURNS = 30
CONTEXT = 320
LONGEST = 6


class Talkative:
    """Says forty words whatever it hears, and buys or leaves at the end if it is of that kind."""

    fingerprint = "talkative"
    words = 40
    openings = 40

    def __init__(self, **options: Any) -> None:
        self.random = random.Random(0)
        self.heard = 0

    @property
    def latent(self) -> dict[str, Any]:
        return {}

    def reset(self, seed: int) -> str:
        self.random, self.heard = random.Random(seed), 0
        self.last = self.random.choice([2, 5, TURNS])
        return self.say(self.openings)

    def respond(self, utterance: str) -> Reply:
        self.heard += 1
        ended = self.random.choice([Decision.BUY, Decision.LEAVE])
        return Reply(self.say(self.words), ended if self.heard == self.last else Decision.CONTINUE)

    def say(self, words: int) -> str:
        return " ".join(self.random.choice(WORDS) for _ in range(words))


class Terse(Talkative):
    """Says eight words."""

    fingerprint = "terse"
    words = openings = 8


class Overwhelming(Talkative):
    """Says more than any context holds before the seller has said a word."""

    fingerprint = "overwhelming"
    openings = 300


ENVIRONMENT: dict[str, Any] = {"customer": Talkative, "max_turns": TURNS}


@pytest.fixture
def model(make_model: Callable[..., LanguageModel]) -> LanguageModel:
    return make_model(layers=1, context=CONTEXT, max_new_tokens=LONGEST)


class Watched(LanguageModelPolicy):
    """Notes what is read before every response."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__(model)
        self.read: list[dict[int, tuple[int, ...]]] = []
        sampler = self._sampler
        original = sampler.sample

        def sample(prompts: Sequence[Prompt], streams: Sequence[random.Random]) -> Any:
            self.prompts = [prompt.ids for prompt in prompts]
            return original(prompts, streams)

        sampler.sample = sample  # type: ignore[method-assign]

    def act(self, conversations: Any) -> list[Response]:
        responses = super().act(conversations)
        seeds = [conversation.seed for conversation in conversations]
        self.read.append(dict(zip(seeds, self.prompts, strict=True)))
        return responses


def held(model: LanguageModel, **environment: Any) -> tuple[Watched, list[Episode]]:
    policy = Watched(model)
    return policy, rollout(policy, range(1, 9), environment={**ENVIRONMENT, **environment})


def test_states_begin_with_the_frame_and_end_with_the_last_words(model: LanguageModel) -> None:
    policy, episodes = held(model)
    assert max(len(episode.turns) for episode in episodes) == TURNS
    before, after = model.format.opening("")[:1], model.format.opening("")[1:]
    lengths = []
    for turn, states in enumerate(policy.read):
        for episode in episodes:
            if episode.seed not in states:
                continue
            state = states[episode.seed]
            last = episode.messages(turn)[-1]["content"]
            words = model.format.reply(last)[1:]
            assert state[: len(before)] == before
            assert state[-len(words) :] == words and words[-len(after) :] == after
            lengths.append(len(state))
    assert max(lengths) <= CONTEXT - LONGEST
    assert min(lengths[len(lengths) // 2 :]) > CONTEXT // 8  # something is remembered


def test_the_rest_takes_half_the_room_so_that_it_is_seldom_read_anew(model: LanguageModel) -> None:
    policy, episodes = held(model, customer=Terse)
    seed = max(episodes, key=lambda episode: len(episode.turns)).seed
    states = [states[seed] for states in policy.read if seed in states]
    fresh = [
        after for before, after in itertools.pairwise(states) if after[: len(before)] != before
    ]
    assert 0 < len(fresh) < len(states) / 2
    assert max(map(len, fresh)) <= (CONTEXT - LONGEST) / 2


@pytest.mark.parametrize("context", range(300, 318, 3))
def test_training_reads_what_was_read_in_sampling(
    context: int, make_model: Callable[..., LanguageModel]
) -> None:
    model = make_model(layers=1, context=context, max_new_tokens=LONGEST)
    policy, episodes = held(model, customer=Terse)
    log = model.tokenise(episodes)
    assert len(log) == len(episodes)
    cut = 0
    for episode, tokens in zip(episodes, log, strict=True):
        for turn, start in enumerate(tokens.response_starts()):
            assert policy.read[turn][episode.seed] == tokens.ids[:start]
        assert len(tokens.ids + tokens.ending) <= context
        if tokens.n_turns < len(episode.turns):
            cut += 1
            state = policy.read[tokens.n_turns][episode.seed]
            assert state[: len(tokens.ids)] != tokens.ids  # the first that was not read whole
    assert cut
    batch = model.collate(log)
    with torch.inference_mode():
        found = model.logprobs(batch)
    assert found.tolist() == pytest.approx(batch.logprobs[batch.response].tolist(), abs=1e-5)


def test_recorded_log_probabilities_are_those_of_what_was_read(model: LanguageModel) -> None:
    policy, episodes = held(model)
    episode = max(episodes, key=lambda episode: len(episode.turns))
    forbidden = list(model.format.forbidden_ids)
    for turn in (0, 10, 20, TURNS - 1):
        response = episode.turns[turn].response
        assert response.token_ids and response.token_logprobs
        state = policy.read[turn][episode.seed]
        ids = torch.tensor([state + response.token_ids])
        logits = model.network(input_ids=ids, use_cache=False).logits[0, len(state) - 1 : -1]
        logits[:, forbidden] = -torch.inf
        scores = logits.log_softmax(-1).gather(1, ids[0, len(state) :, None])[:, 0]
        assert scores.tolist() == pytest.approx(response.token_logprobs, abs=1e-4)


def test_an_opening_that_outgrows_the_context_is_cut_alike(model: LanguageModel) -> None:
    policy, episodes = held(model, customer=Overwhelming, max_turns=3)
    log = model.tokenise(episodes)
    for episode, tokens in zip(episodes, log, strict=True):
        start = tokens.response_starts()[0]
        assert start == CONTEXT - LONGEST
        assert policy.read[0][episode.seed] == tokens.ids[:start]
        words = model.format.opening(episode.opening)
        assert tokens.ids[1:start] == words[-start + 1 :]  # the last words


def messages(count: int, words: int = 20) -> list[Message]:
    roles = ("user", "assistant")
    customer = Talkative()
    return [
        {"role": roles[i % 2], "content": customer.say(words)}  # type: ignore[typeddict-item]
        for i in range(count)
    ]


@pytest.mark.parametrize("template", [CHATML, GEMMA])
@pytest.mark.parametrize("count", [1, 3, 9, 41])
def test_a_system_message_stays(template: str, count: int) -> None:
    format = chat_format(make_tokenizer(template), "You sell laptops.")
    said = messages(count)
    for room in (200, 300, 1000, 10_000):
        ids = format.prompt_within(said, room)
        text = format.tokenizer.decode(ids)
        assert len(ids) <= room
        assert text.count("You sell laptops.") == 1
        assert text.startswith(format.tokenizer.decode(format.opening(""))[:20])
        assert said[-1]["content"][-50:] in text
        if len(format.prompt(said)) <= room:
            assert ids == format.prompt(said)


def test_a_foreign_response_that_is_too_long_ends_what_is_learned(model: LanguageModel) -> None:
    short, long = Response("Yes?"), Response(" ".join(WORDS * 20))
    turns = [Turn(short, "Hm."), Turn(long, "Oh."), Turn(short, "Hm.")]

    def episode(*turns: Turn) -> Episode:
        return Episode(1, "Hi", turns, "purchase", "anybody", "somebody")

    assert [tokens.n_turns for tokens in model.tokenise([episode(*turns)])] == [1]
    assert [tokens.n_turns for tokens in model.tokenise([episode(turns[0])])] == [1]
    assert model.tokenise([episode(*turns[1:])]) == []


AGENTS: dict[str, dict[str, Any]] = {
    "bc": {"epochs": 1},
    "filtered-bc": {"epochs": 1},
    "online-ppo": {"deployment": 6, "epochs": 1, "minibatch": 3},
    "iterative-ppo": {
        "rounds": 2,
        "q_function": {"epochs": 1, "first_steps": 0, "replies": 1, "max_reply_tokens": 40},
        "improvement": {"fresh_steps": 1, "fresh_conversations": 3, "fresh_samples": 2},
    },
    "iterative-ppo best-of-n": {
        "rounds": 1,
        "q_function": {
            "epochs": 1,
            "first_steps": 0,
            "replies": 1,
            "folds": 2,
            "max_reply_tokens": 400,
        },
        "improvement": "best-of-n",
    },
}


@pytest.mark.parametrize("customer", [Talkative, Overwhelming])
@pytest.mark.parametrize("name", AGENTS)
def test_no_run_ends_by_a_talkative_customer(
    name: str, customer: type[Talkative], model: LanguageModel, tmp_path: Path
) -> None:
    LanguageModelPolicy(model).save(tmp_path / "model")
    settings = dict(AGENTS[name])
    if "q_function" in settings:
        from convgym.agents.improvement.token_ppo import TokenPPO
        from convgym.agents.values.q_function import QFunctionConfig

        settings["q_function"] = QFunctionConfig(**settings["q_function"])
        if isinstance(settings["improvement"], dict):
            settings["improvement"] = TokenPPO(**settings["improvement"])
    policy = PolicyConfig(model=str(tmp_path / "model"), max_new_tokens=LONGEST)

    def train(folder: str, progress: ProgressCallback = no_progress) -> Any:
        agent = make_agent(name.split()[0], policy=policy, **settings)
        collector = Collector(12, seed=0, environment={**ENVIRONMENT, "customer": customer})
        return agent.train(collector, folder=tmp_path / folder, progress=progress)

    report = train("run")
    assert report.usage.conversations == 12
    with contextlib.suppress(KeyboardInterrupt):
        train("interrupted", interrupt)
    assert train("interrupted").rows == report.rows


def interrupt(news: Progress) -> None:
    """Stop after the first update or round of those who have several."""
    if news.stage == "train" or news.stage.startswith("round 1 of "):
        raise KeyboardInterrupt

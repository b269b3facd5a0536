"""Conversations through a server that fails: none lost, none counted twice, and none made up."""

from __future__ import annotations

import gc
import hashlib
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import gymnasium
import pytest

from convgym.benchmarks.report.write import write_report
from convgym.benchmarks.runs.folder import read_results
from convgym.benchmarks.runs.runner import run_suite
from convgym.benchmarks.runs.scores import scores
from convgym.benchmarks.runs.suites import Suite
from convgym.conversation import Episode, Response
from convgym.customers.llm.prompts import repair_prompt
from convgym.errors import ConvgymError
from convgym.llm import ChatAnswer, ChatRequest, ChatResult, registry
from convgym.llm.fake_server import Action, ChatServer, Script
from convgym.policy import Conversation
from convgym.rollout import rollout

Serve = Callable[[Script], ChatServer]
KEY = "sk-very-secret-0123456789"
REPAIR = repair_prompt("")[:20]


def think(messages: Sequence[Any]) -> str:
    """Return the answer of a model that decides by a hash of the conversation."""
    if messages[-1]["content"].startswith(REPAIR):
        messages = messages[:-2]
    draw = hashlib.sha256(json.dumps(messages).encode()).digest()
    decision = "continue"
    if len(messages) > 2:  # not the opening
        decision = ("buy", "leave", "continue", "continue")[draw[0] % 4]
    return json.dumps({"thought": "So.", "decision": decision, "say": f"I see {draw.hex()[:8]}."})


class Ideal:
    """The same model in this process, which never fails."""

    fingerprint = "openai/tiny"

    def complete(self, requests: Sequence[ChatRequest]) -> list[ChatResult]:
        return [ChatAnswer(think(request.messages)) for request in requests]

    def close(self) -> None: ...


class Talker:
    """Says something else in every turn of every conversation."""

    name = "talker"

    def reset(self, seed: int) -> None: ...

    def act(self, conversations: Sequence[Conversation]) -> list[Response]:
        return [Response(f"Well, {each.rng.random()}?") for each in conversations]


FAULTS = [
    *[Action(status=429)] * 6,
    *[Action(status=429, headers={"retry-after": "0.01"})] * 3,
    *[Action(status=500)] * 6,
    *[Action(body=b"{]")] * 6,
    *[Action(fault="truncate")] * 6,
    *[Action(fault="drop")] * 6,
    *[Action(text="")] * 6,
    *[Action(role="user")] * 6,
    *[Action(text='{"thought": "So.", "decision": "bu')] * 3,
    *[Action(text="I would rather not say.")] * 3,
]
SLOW_FAULTS = [Action(fault="hang"), Action(fault="drip")]


def unreliable(share: float, slow: int) -> Script:
    """Fail in this share of the requests, so many times slowly."""
    rng, faults = random.Random(0), count()

    def script(request: dict[str, Any]) -> Action:
        if rng.random() < share:
            # The slow ones first, so that they are waited for together.
            return rng.choice(SLOW_FAULTS if next(faults) < slow else FAULTS)
        return Action(text=think(request["messages"]))

    return script


def hold(conversations: int, **customer_options: Any) -> list[Episode]:
    environment = {"customer": "llm", "max_turns": 3, "customer_options": customer_options}
    return rollout(Talker(), range(conversations), environment=environment)


def told(episodes: Sequence[Episode]) -> list[Episode]:
    """Return episodes without the counts of what it took."""
    return [replace(episode, metadata={}) for episode in episodes]


def quick(server: ChatServer, **options: Any) -> dict[str, Any]:
    waits = {"first_wait": 0.005, "longest_wait": 0.05, "timeout": 20.0, "retries": 10}
    return {"model": "tiny", "base_url": server.url, **waits, **options}


@pytest.mark.parametrize(
    ("conversations", "slow"), [(60, 0), pytest.param(300, 8, marks=pytest.mark.slow)]
)
def test_faults_change_nothing_and_the_replay_equals_the_record(
    conversations: int,
    slow: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    path = tmp_path / "recording.jsonl"
    with ChatServer(unreliable(0.2, slow)) as server:
        options = quick(server, timeout=5.0 if slow else 20.0, repairs=6, record=path)
        recorded = hold(conversations, **options)
        asked = len(server.requests)
    assert [episode.seed for episode in recorded] == list(range(conversations))
    assert all(episode.valid for episode in recorded)
    assert told(recorded) == told(hold(conversations, backend=Ideal(), repairs=6))
    assert len(Counter(episode.outcome for episode in recorded)) == 3
    # Every answer was asked for once, and about a fifth once more.
    answers = len(path.read_text().splitlines())
    assert answers == sum(
        1 + len(episode.turns) + episode.metadata["repairs"] for episode in recorded
    )
    assert asked > 1.1 * answers

    replayed = hold(conversations, model="tiny", repairs=6, replay=path)
    assert replayed == recorded

    for text in (path.read_text(), repr(recorded), caplog.text, *capfd.readouterr()):
        assert KEY not in text


def test_a_vector_environment_shares_one_backend(serve: Serve) -> None:
    server = serve(lambda request: Action(text=think(request["messages"]), latency=0.05))
    options = quick(server, concurrency=6)
    envs: Any = gymnasium.make_vec(
        "convgym:convgym/Sales-v0", num_envs=8, customer="llm", customer_options=options
    )
    envs.reset(seed=0)
    for _ in range(4):
        envs.step(("Well?",) * 8)
    assert server.most == 6  # of one backend, not six of each of eight
    assert len({id(dialogue.customer.backend) for dialogue in envs.dialogues}) == 1
    envs.close()


def outage(share: float) -> Script:
    """Fail for good in this share of the conversations, from the second turn on."""

    def script(request: dict[str, Any]) -> Action:
        messages = request["messages"]
        who = hashlib.sha256(json.dumps(messages[:3]).encode()).digest()[0]
        if len(messages) > 4 and who < 256 * share:
            return Action(status=503)
        if len(messages) > 4:
            return Action(text='{"thought": "", "decision": "buy", "say": "Yes."}')
        return Action(text='{"thought": "", "decision": "continue", "say": "Hm."}')

    return script


def test_an_outage_ends_the_episode_truncated_with_a_flag(serve: Serve) -> None:
    options = quick(serve(outage(1.0)), retries=0)
    env = gymnasium.make("convgym:convgym/Sales-v0", customer="llm", customer_options=options)
    env.reset(seed=0)
    env.step("Hello?")
    _, reward, terminated, truncated, info = env.step("What is your budget?")
    assert (reward, terminated, truncated) == (0.0, False, True)
    assert info["outcome"] == "infrastructure_failure"
    assert "status 503" in info["failure"]
    assert info["turn"] == 1
    env.close()


@pytest.mark.parametrize(("share", "valid"), [(0.02, True), (0.3, False)])
def test_outages_are_counted_shown_and_excluded_and_many_make_a_run_invalid(
    share: float, valid: bool, serve: Serve, tmp_path: Path
) -> None:
    suite = Suite(
        "outages",
        "One seller.",
        sellers=("competent",),
        agents=(),
        conversations=0,
        evaluation_episodes=100,
        environment={
            "customer": "llm",
            "customer_options": quick(serve(outage(share)), retries=0),
        },
    )
    run_suite(suite, tmp_path)
    (result,) = read_results(tmp_path)
    assert 0 < result.excluded < 60
    assert result.episodes == 100 - result.excluded
    assert result.conversions == result.episodes  # who was not cut off has bought
    assert result.valid == valid
    (score,) = scores([result])
    assert score.invalid_seeds == (0 if valid else 1)
    if valid:
        assert score.conversion.value == 1.0
    table = "\n".join(write_report(tmp_path).notes)
    assert f"{result.excluded} conversations failed: the customer broke off" in table
    assert ("invalid" in table) != valid


def test_a_budget_stops_a_run_which_goes_on_later(serve: Serve, tmp_path: Path) -> None:
    server = serve(lambda request: Action(text=think(request["messages"])))
    path = tmp_path / "recording.jsonl"
    with pytest.raises(ConvgymError, match="budget of 40 requests"):
        hold(30, **quick(server, record=path, budget={"requests": 40}))
    assert len(server.requests) == len(path.read_text().splitlines()) == 40
    episodes = hold(30, **quick(server, record=path, budget={"requests": 400}))
    assert all(episode.valid for episode in episodes)
    assert len(server.requests) == len(path.read_text().splitlines())


def test_bench_stops_at_a_budget_and_the_same_command_goes_on(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(lambda request: Action(text=think(request["messages"])))
    options = quick(server, record=str(tmp_path / "recording.jsonl"), budget={"requests": 60})
    suite = Suite(
        "budget",
        "Two sellers.",
        sellers=("silent", "competent"),
        agents=(),
        conversations=0,
        evaluation_episodes=16,
        environment={"customer": "llm", "max_turns": 3, "customer_options": options},
    )
    with pytest.raises(ConvgymError, match="budget of 60 requests"):
        run_suite(suite, tmp_path / "run")
    assert [result.job.name for result in read_results(tmp_path / "run")] == ["silent"]
    assert len(server.requests) == 60
    monkeypatch.setattr("convgym.llm.openai_backend._LEDGERS", {})  # as in a new process
    for _ in range(100):  # the errors' frames hold the backend that is out of budget
        gc.collect()
        if not registry._OPEN:
            break
        time.sleep(0.05)
    assert [result.excluded for result in run_suite(suite, tmp_path / "run")] == [0, 0]
    asked = [json.dumps(request, sort_keys=True) for request in server.requests]
    assert len(set(asked)) == len(asked)  # nothing was paid for twice

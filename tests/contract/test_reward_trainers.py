"""What trainers of others send and expect, in forms that were copied from their sources."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from convgym.agents.serving.app import ServerSettings, make_app
from convgym.agents.serving.forms import OpenRLHFRequest, parse
from convgym.agents.serving.reward import QReward
from convgym.conversation import Episode, Response, Turn
from convgym.exchange.prompts import write_prompts
from convgym.exchange.transcripts import read_state
from convgym.integrations import verl_reward
from tests.unit.agents.serving.fakes import Client, Counter, running, share

FORMS = Path(__file__).parent / "reward_requests"
OPENRLHF, VERL, TRL = (
    json.loads((FORMS / f"{name}.json").read_text(encoding="utf-8"))
    for name in ("openrlhf-0.11.2", "verl-0.9.1", "trl-1.16.0")
)


def q(response: str) -> float:
    return share(tuple(map(ord, response)))


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with running(make_app(Counter(), ServerSettings(token="t0ken"))) as client:
        yield client


@pytest.mark.parametrize("request_", OPENRLHF["requests"], ids=lambda each: each["what"][:30])
def test_openrlhf(client: Client, request_: dict[str, Any]) -> None:
    asked = parse(OpenRLHFRequest, request_["body"]).asked()
    assert [state for state, _ in asked] == request_["states"]
    assert [response for _, response in asked] == request_["responses"]
    status, answer = client.post(OPENRLHF["path"], request_["body"], Authorization="Bearer t0ken")
    assert status == 200 and list(answer) == OPENRLHF["answer"]["fields"]
    assert answer["rewards"] == answer["scores"] == [q(said) for said in request_["responses"]]
    # It makes a tensor of each value of each log.
    assert all(
        isinstance(value, int | float) and len(values) == len(asked)
        for values in answer["extra_logs"].values()
        for value in values
    )


@pytest.fixture
def url(client: Client, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(verl_reward.TOKEN_VARIABLE, "t0ken")
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    return f"http://127.0.0.1:{client.port}/"


def test_verl(url: str) -> None:
    scores = verl_reward.compute_score(**VERL["call"], url=url)
    assert scores["score"] == scores["q"] == q(VERL["call"]["solution_str"])
    scores = verl_reward.compute_score(**VERL["call"], url=url, score="advantage")
    assert scores["score"] == scores["advantage"] == scores["q"] - scores["value"]


def test_verl_in_batches(url: str) -> None:
    scores = verl_reward.compute_score_batch(**VERL["batch"], url=url)
    assert [each["score"] for each in scores] == [1.0, 0.5, 0.25]
    assert scores[0]["value"] == scores[2]["value"] != scores[1]["value"]


def test_verl_is_told_why_there_is_no_reward(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    call = VERL["call"]
    with pytest.raises(RuntimeError, match=r"422: .*a conversation as text is a transcript"):
        verl_reward.compute_score(**{**call, "extra_info": {"state": "Hi"}}, url=url)
    with pytest.raises(RuntimeError, match=r"extra_info holds no 'state'"):
        verl_reward.compute_score(**{**call, "extra_info": {}}, url=url)
    with pytest.raises(RuntimeError, match=r"no reward from http://127.0.0.1:9/score: .*refused"):
        verl_reward.compute_score(**call, url="http://127.0.0.1:9")
    monkeypatch.delenv(verl_reward.TOKEN_VARIABLE)
    with pytest.raises(RuntimeError, match=r"401: .*wants its token"):
        verl_reward.compute_score(**call, url=url)


@pytest.mark.parametrize("call", TRL["calls"], ids=lambda each: each["what"])
def test_trl(call: dict[str, Any]) -> None:
    arguments = {name: value for name, value in call.items() if name != "what"}
    assert QReward(Counter())(**arguments) == [0.5]


def test_prompts_of_a_log_go_through_all_of_them(tmp_path: Path, url: str, client: Client) -> None:
    datasets = pytest.importorskip("datasets")
    turns = (Turn(Response("What for?"), "Games"), Turn(Response("The Kestrel."), ""))
    episodes = [
        Episode(3, "Hi", turns, "purchase", "c", "p", {"original_id": "chat-9"}),
        Episode(4, "", turns[:1], "turn_limit", "c", "p"),
        Episode(5, "Hi", turns, "infrastructure_failure", "c", "p"),
    ]
    target = tmp_path / "prompts.parquet"
    assert write_prompts(episodes, target, system_message="You sell.") == 3
    rows = datasets.Dataset.from_parquet(str(target), cache_dir=str(tmp_path)).to_list()
    told = {"role": "system", "content": "You sell."}
    for row, messages in zip(
        rows,
        (episodes[0].messages(0), episodes[0].messages(1), episodes[1].messages(0)),
        strict=True,
    ):
        assert row["prompt"] == [told, *messages]
        assert read_state(row["state"]) == read_state(row["prompt"]) == messages
        said = row["extra_info"]["response"]
        verl = verl_reward.compute_score(
            data_source=row["data_source"],
            solution_str=said,
            ground_truth=row["reward_model"]["ground_truth"],
            extra_info=row["extra_info"],
            url=url,
        )
        prompt = json.dumps(row["prompt"])  # as good as any template
        body = {"query": [f"{prompt}{said}</s>"], "prompts": [prompt], "labels": [row["state"]]}
        _, openrlhf = client.post("/get_reward", body, Authorization="Bearer t0ken")
        trl = QReward(Counter())(
            [row["prompt"]], [[{"role": "assistant", "content": said}]], state=[row["state"]]
        )
        assert trl == [verl["score"]] == openrlhf["rewards"] == [q(said)]
    assert rows[1]["extra_info"] == {
        "index": 1,
        "conversation": "chat-9",
        "turn": 1,
        "state": "Customer: Hi\nSeller: What for?\nCustomer: Games\nSeller:",
        "response": "The Kestrel.",
        "outcome": "purchase",
        "policy": "p",
    }
    assert rows[1]["reward_model"] == {"style": "model", "ground_truth": "purchase"}
    assert {row["ability"] for row in rows} == {"sales"}

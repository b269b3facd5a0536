"""A Q folder as a scorer: what is read, what is answered, and that company changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from convgym.agents.model.format import ConversationFormat
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.pipeline.fitting import FitSettings, fit_to_folder
from convgym.agents.pipeline.inputs import open_q
from convgym.agents.serving.reward import QReward
from convgym.agents.serving.scores import Score
from convgym.agents.serving.scoring import QScorer
from convgym.agents.values.q_function import QEnsemble, QFunctionConfig
from convgym.conversation import Message
from convgym.errors import ConvgymError
from convgym.logs import write_log

torch.set_num_threads(1)

CONFIG = QFunctionConfig(folds=2, replies=2, max_reply_tokens=5, epochs=1, first_steps=1)
STATE: list[Message] = [{"role": "user", "content": "Hi, I need a laptop."}]
LATER: list[Message] = [
    *STATE,
    {"role": "assistant", "content": "What is your budget?"},
    {"role": "user", "content": "Around $700."},
]
SAID = ["Shall I order it?", "What is your budget?", "", "Yes."]


@pytest.fixture
def ensemble(make_model: Callable[..., LanguageModel]) -> QEnsemble:
    """Two members that differ, and have opinions."""
    torch.manual_seed(0)
    ensemble = QEnsemble(make_model(layers=1), CONFIG)
    for member in ensemble:
        torch.nn.init.normal_(member.value_head.weight)
        for parameter in member.model.network.parameters():
            parameter.data += 0.02 * torch.randn_like(parameter)
    return ensemble


@pytest.fixture
def scorer(make_model: Callable[..., LanguageModel], ensemble: QEnsemble) -> QScorer:
    return QScorer(make_model(layers=1), ensemble)


def test_a_score_does_not_depend_on_its_company(scorer: QScorer) -> None:
    pairs = [scorer.read(state, said) for state in (STATE, LATER) for said in SAID]
    together = scorer.score([*pairs, *pairs[:2]])
    alone = [scorer.score([pair])[0] for pair in pairs]
    backwards = scorer.score(pairs[::-1])[::-1]
    for others in (alone, backwards):
        for score, other in zip(together, others, strict=False):
            assert score.q == pytest.approx(other.q, abs=1e-5)
            assert score.value == pytest.approx(other.value, abs=1e-5)
    assert together[8:] == together[:2]
    assert len({round(score.q, 4) for score in together}) == 8
    assert all(0 <= score.q <= 1 for score in together)
    assert scorer.score([]) == []


def test_a_score_is_the_ensembles(
    make_model: Callable[..., LanguageModel], format: ConversationFormat, ensemble: QEnsemble
) -> None:
    ensemble.config = replace(CONFIG, imagined=0.0)
    for member in ensemble:
        member.config = ensemble.config
    scorer = QScorer(make_model(layers=1), ensemble)
    (score,) = scorer.score([scorer.read(LATER, "Yes.")])
    q = ensemble.score(
        [format.prompt(LATER)], [format.response("Yes.")], generator=torch.Generator()
    )
    assert score.q == pytest.approx(float(q), abs=1e-6)
    assert score.advantage == score.q - score.value
    assert (score.of("q"), score.of("advantage")) == (score.q, score.advantage)


def test_a_response_is_read_as_it_is_heard(scorer: QScorer, format: ConversationFormat) -> None:
    thought = scorer.read(STATE, "<think>They are rich.</think>\n Yes.\n")
    assert thought.response == format.response("Yes.") and not thought.cut
    assert thought == scorer.read(STATE, "Yes.")


def test_what_is_too_long_is_cut(scorer: QScorer, format: ConversationFormat) -> None:
    long = scorer.read(STATE, "budget " * 400)
    assert long.cut and len(long.response) == 1024 // 4 and long.response[-1] == format.end_id
    room = 1024 - 1024 // 4 - 5 - 2
    many = [*LATER[:2] * 60, *STATE]
    short = scorer.read(many, "Yes.")
    assert short.prompt == format.prompt_within(many, room) != format.prompt(many)
    assert scorer.read([*LATER[:2] * 20_000, *STATE], "Yes.") == short
    assert [score.cut for score in scorer.score([long, short])] == [True, False]


def test_a_context_without_room_is_refused(make_model: Callable[..., LanguageModel]) -> None:
    model = make_model(layers=1, context=64)
    config = replace(CONFIG, folds=1, max_reply_tokens=60)
    with pytest.raises(ConvgymError, match="context of 64 tokens has no room"):
        QScorer(model, QEnsemble(model, config))


def test_a_folder_is_served_without_its_log(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    policy: LanguageModelPolicy,
    hold: Callable[..., list[object]],
) -> None:
    monkeypatch.chdir(tmp_path)
    policy.save(Path("start"))
    LanguageModelPolicy(policy.model.copy()).save(Path("other"))
    write_log("log.jsonl", hold(policy, range(8)))  # type: ignore[arg-type]
    report = fit_to_folder(Path("log.jsonl"), "start", Path("q"), FitSettings(CONFIG))
    assert report["policy"] == "start"
    scorer = QScorer.open("q")
    assert scorer.members == 2
    (score,) = scorer.score([scorer.read(LATER, "Yes.")])

    opened = open_q(Path("q"), "start", Path("log.jsonl"))
    same = QScorer(opened.policy.model, opened.fitted.ensemble)
    assert same.score([same.read(LATER, "Yes.")]) == [score]
    wary = QScorer.open("q", "start", device="cpu", pessimism=5.0)
    assert wary.score([wary.read(LATER, "Yes.")])[0].q < score.q
    reward = QReward("q", score="advantage")
    completion = [{"role": "assistant", "content": "Yes."}]
    assert reward([LATER], [completion], other=["column"]) == [score.advantage]

    next(policy.model.network.parameters()).data += 1
    policy.save(Path("moved"))
    with pytest.raises(ConvgymError, match="fitted to another policy than moved"):
        QScorer.open("q", "moved")
    with pytest.raises(ConvgymError, match="no Q at nowhere"):
        QScorer.open("nowhere")
    (tmp_path / "q" / "report.json").write_text("{}")
    with pytest.raises(ConvgymError, match="names no policy"):
        QScorer.open("q")


def test_one_member_is_never_at_odds_with_itself(
    monkeypatch: pytest.MonkeyPatch, policy: LanguageModelPolicy
) -> None:
    lonely = QEnsemble(policy.model, replace(CONFIG, folds=1))
    monkeypatch.setattr(
        "convgym.agents.serving.scoring.open_ensemble", lambda *_, **__: (policy, lonely)
    )
    with pytest.raises(ConvgymError, match="has one member, and pessimism is about"):
        QScorer.open("q", pessimism=1.0)


class Echo:
    """Scores a response by its length."""

    def __init__(self, scorer: QScorer) -> None:
        self.read = scorer.read
        self.sizes: list[int] = []

    def score(self, pairs: list[object]) -> list[Score]:
        self.sizes.append(len(pairs))
        return [Score(1.0, 0.25) for _ in pairs]


def test_a_reward_function_takes_both_kinds_of_prompts(scorer: QScorer) -> None:
    echo = Echo(scorer)
    reward = QReward(echo)  # type: ignore[arg-type]
    assert reward(["Customer: Hi\nSeller:"] * 100, ["Yes."] * 100) == [1.0] * 100
    assert echo.sizes == [64, 36]
    wrong: list[Any] = [3, [], [{"role": "assistant"}], [{}, {}]]
    for completion in wrong:
        with pytest.raises(ConvgymError, match="a completion must be a text or one message"):
            reward([STATE], [completion])
    with pytest.raises(ConvgymError, match="score must be q or advantage"):
        QReward(echo, score="v")  # type: ignore[arg-type]

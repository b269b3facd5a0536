"""A small model as the Q of another: it reads the same words, turn by turn, in its own tokens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from convgym.agents.model.format import ConversationFormat, compact_format
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.pretrain import PretrainConfig, build_model, build_tokenizer
from convgym.agents.values.fitted import fit_q
from convgym.agents.values.q_function import QEnsemble, QFunctionConfig
from convgym.conversation import Episode, Response, Turn
from convgym.errors import ConvgymError

torch.set_num_threads(1)

MakeModel = Callable[..., LanguageModel]
WORDS = ["Your budget?", "What do you need?", "About $700 or so.", "I would order it."] * 3


@pytest.fixture
def trunk(tmp_path: Path) -> Path:
    """The folder of a model with other tokens, and a context of 128 of them."""
    tokenizer = build_tokenizer(WORDS, vocabulary=300)
    shape = PretrainConfig(hidden=8, layers=1, heads=2, intermediate=12, context=128)
    model = LanguageModel.of(build_model(shape, tokenizer, 1), compact_format(tokenizer))
    LanguageModelPolicy(model).save(tmp_path / "trunk")
    return tmp_path / "trunk"


@pytest.fixture
def ensemble(trunk: Path, make_model: MakeModel) -> QEnsemble:
    config = QFunctionConfig(
        trunk=str(trunk), epochs=1, first_steps=2, max_reply_tokens=4, learning_rate=1e-2
    )
    return QEnsemble(make_model(), config)


def log() -> list[Episode]:
    said = ["What do you need?", "Your budget?", "Shall I order it?"]
    replies = ["A laptop.", "About $700.", "Yes."]
    turns = tuple(Turn(Response(a), b) for a, b in zip(said, replies, strict=True))
    episodes = [
        Episode(
            seed,
            "Hi, I need a laptop.",
            turns[: 1 + seed % 3],
            "walk_away" if seed % 2 else "purchase",
            "c",
            "p",
        )
        for seed in range(4)
    ]
    # In the trunk's context there is room for some of it.
    return [*episodes, Episode(9, "Hello.", turns * 4, "walk_away", "c", "p")]


def words(ids: tuple[int, ...], format: ConversationFormat) -> str:
    return str(format.tokenizer.decode(ids))


def test_states_and_responses_keep_their_words(ensemble: QEnsemble) -> None:
    interpreter = ensemble.interpreter
    policy, trunk = interpreter.policy.format, interpreter.trunk.format
    assert policy.tokenizer.get_vocab() != trunk.tokenizer.get_vocab()
    spoken, read = interpreter.read(log())
    turns = [episode.n_turns for episode in spoken]
    assert turns == [episode.n_turns for episode in read]
    assert turns[:4] == [1, 2, 3, 1] and 3 < turns[4] < 12
    assert [each.outcome for each in spoken] == [each.outcome for each in read]
    for theirs, own in zip(spoken, read, strict=True):
        assert words(theirs.ids, policy) == words(own.ids, trunk)
        assert words(theirs.ending, policy) == words(own.ending, trunk)
        prompts = [theirs.ids[:start] for start in theirs.response_starts()]
        response = policy.response("I would order it.")
        states, said = interpreter.pairs(prompts, [response] * len(prompts))
        assert list(states) == [own.ids[:start] for start in own.response_starts()]
        assert set(said) == {trunk.response("I would order it.")}


def test_scores_are_those_of_the_trunks_tokens(ensemble: QEnsemble) -> None:
    model = ensemble.interpreter.policy
    generator = torch.Generator().manual_seed(0)
    fitted = fit_q(model, ensemble, log(), held_out=0.2, generator=generator)
    for episode, estimates in zip(fitted.log, fitted.estimates, strict=True):
        said = [turn for turn in episode.turns if turn >= 0]
        assert estimates.token_values == tuple(estimates.values[turn] for turn in said)
        assert len(estimates.values) == len(estimates.returns) == episode.n_turns
    prompt = fitted.log[1].ids[: fitted.log[1].response_starts()[1]]
    responses = [model.format.response(text) for text in ("Your budget?", "Yes.")]
    scores = ensemble.score([prompt] * 2, responses, generator=torch.Generator().manual_seed(1))
    (member,) = ensemble
    value, direct, imagined = member.opinions(
        *ensemble.interpreter.pairs([prompt] * 2, responses), torch.Generator().manual_seed(1)
    )
    torch.testing.assert_close(scores, value + 0.5 * direct + 0.5 * (imagined - value))
    assert scores[0] != scores[1]


def test_what_it_cannot_know_is_refused(ensemble: QEnsemble, trunk: Path) -> None:
    ensemble.interpreter.read(log())
    other = ensemble.interpreter.policy.format.opening("Never said.")
    with pytest.raises(ConvgymError, match="states of its log alone"):
        ensemble.score([other], [other], generator=torch.Generator())
    with pytest.raises(ConvgymError, match="set reuse='none'"):
        QFunctionConfig(trunk=str(trunk), reuse="recency")
    with pytest.raises(ConvgymError, match="trunk must be a name, a folder or None"):
        QFunctionConfig(trunk=3)  # type: ignore[arg-type]


def test_the_policys_own_trunk_reads_what_is_there(make_model: MakeModel) -> None:
    model = make_model()
    ensemble = QEnsemble(model, QFunctionConfig())
    spoken, read = ensemble.interpreter.read(log())
    assert spoken is read and spoken == model.tokenise(log())
    assert ensemble.interpreter.pairs(((1, 2),), ((3,),)) == (((1, 2),), ((3,),))

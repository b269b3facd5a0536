"""Expert iteration: what is imitated, with which steps, and what happens without a sale."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from convgym.agents.algorithms.expert_iteration import ExpertIteration, ExpertIterationConfig
from convgym.agents.model.config import PolicyConfig
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.minibatches import shuffled
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.training.collector import Collector
from convgym.agents.training.imitation import Imitation
from convgym.agents.training.run import Run
from convgym.customers import Decision, Reply
from convgym.customers.scripted.customer import ScriptedCustomer
from convgym.errors import ConvgymError

torch.set_num_threads(1)

MakeAgent = Callable[..., ExpertIteration]
N = 16


class Easy(ScriptedCustomer):
    """Every other one buys at once."""

    def reset(self, seed: int, profile: Mapping[str, Any] | None = None) -> str:
        self.buys = seed % 2 == 0
        return super().reset(seed, profile)

    def respond(self, utterance: str) -> Reply:
        decision = Decision.BUY if self.buys else Decision.LEAVE
        return Reply("Bye.", decision)


class Never(Easy):
    """Nobody buys."""

    def respond(self, utterance: str) -> Reply:
        return Reply("Bye.", Decision.LEAVE)


def imitation(**settings: Any) -> Imitation:
    return Imitation(minibatch=2, learning_rate=3e-3, **settings)


@pytest.fixture
def make_agent(make_model: Callable[..., LanguageModel], tmp_path: Path) -> MakeAgent:
    folder = tmp_path / "model"
    LanguageModelPolicy(make_model(layers=1)).save(folder)

    def make(**settings: Any) -> ExpertIteration:
        chosen: dict[str, Any] = {"rounds": 2, "imitation": imitation()} | settings
        policy = PolicyConfig(model=str(folder), max_new_tokens=8)
        return ExpertIteration(ExpertIterationConfig(policy=policy, **chosen), "expert-iteration")

    return make


def collector(customer: type[ScriptedCustomer] = Easy, n: int = N, **options: Any) -> Collector:
    return Collector(n, seed=0, environment={"customer": customer}, **options)


def weights(agent: ExpertIteration) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in agent.model.weights().items()}


def naive(agent: ExpertIteration, door: Collector) -> dict[str, torch.Tensor]:
    """Imitate the sales of each half by plain AdamW, the learning rate falling to 0 in each."""
    config, network = agent.config, agent.model.network
    generator = torch.Generator().manual_seed(0)
    sales: list[Any] = []
    for _ in range(2):
        sold = [each for each in door.deploy(agent.policy, N // 2) if each.outcome == "purchase"]
        sales = [*sales, *sold] if config.earlier == "all" else sold
        adamw = torch.optim.AdamW(network.parameters(), weight_decay=0.0, fused=True)
        batches = agent.model.batches(agent.model.tokenise(sales), 2)
        steps = 2 * len(batches)
        for step in range(steps):
            if step % len(batches) == 0:
                order = shuffled(len(batches), generator)
            batch = batches[order[step % len(batches)]]
            adamw.param_groups[0]["lr"] = 3e-3
            if config.imitation.linear_decay:
                adamw.param_groups[0]["lr"] *= (steps - step) / steps
            adamw.zero_grad()
            total, count = torch.tensor(0.0), 0
            for row, (ids, turns) in enumerate(zip(batch.ids, batch.turns, strict=True)):
                length = int(batch.lengths[row])
                logits = network(input_ids=ids[None, :length]).logits[0].float()
                forbidden = torch.tensor(agent.model.format.forbidden_ids)
                scores = logits.index_fill(-1, forbidden, -torch.inf).log_softmax(-1)
                for t in range(1, length):
                    if turns[t] >= 0:
                        total, count = total - scores[t - 1, ids[t]], count + 1
            (total / count).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            adamw.step()
    return weights(agent)


@pytest.mark.parametrize("earlier", ["none", "all"])
@pytest.mark.parametrize("linear_decay", [True, False])
def test_it_is_plain_imitation_of_the_sales(
    make_agent: MakeAgent, earlier: str, linear_decay: bool
) -> None:
    settings: dict[str, Any] = {
        "earlier": earlier,
        "imitation": imitation(linear_decay=linear_decay),
    }
    agent = make_agent(**settings)
    report = agent.train(collector())
    expected = naive(make_agent(**settings), collector())
    for name, found in weights(agent).items():
        torch.testing.assert_close(found, expected[name], rtol=1e-3, atol=1e-4)
    first, last = report.rows
    assert first["imitated"] == first["sales"] == round(first["conversion"] * N / 2) > 0
    assert last["imitated"] == last["sales"] + (first["sales"] if earlier == "all" else 0)
    assert report.notes == ()


def test_the_budget_is_split_evenly(make_agent: MakeAgent) -> None:
    report = make_agent(rounds=3).train(collector(n=11))
    assert [point.episodes for point in report.curve] == [3, 4, 4]
    # No more rounds than conversations.
    assert make_agent(rounds=9).train(collector(n=2)).usage.deployments == 2


def test_deployments_are_held_at_the_temperatures_of_exploration(
    make_agent: MakeAgent, tmp_path: Path
) -> None:
    agent = make_agent(rounds=1, exploration=(0.5, 2.0), imitation=imitation(epochs=0))
    door = collector(folder=tmp_path / "training")
    agent.train(door)
    for place, episode in enumerate(door.deployed(0)):
        batch = agent.model.collate(agent.model.tokenise([episode]))
        sampling = replace(agent.model.sampling, temperature=(0.5, 2.0)[place % 2])
        with torch.no_grad():
            found = replace(agent.model, sampling=sampling).logprobs(batch)
        assert torch.allclose(found, batch.logprobs[batch.response], atol=1e-4)


def test_without_a_sale_the_policy_stays_and_the_report_says_so(make_agent: MakeAgent) -> None:
    agent = make_agent()
    before = weights(agent)
    report = agent.train(collector(Never))
    assert all(torch.equal(before[name], found) for name, found in weights(agent).items())
    assert [dict(row) for row in report.rows] == [
        {"conversations": n, "conversion": 0.0, "sales": 0, "imitated": 0} for n in (8, 16)
    ]
    (note,) = report.notes
    assert "no purchase to imitate in 2 of 2 rounds (1, 2)" in note and "\n" not in note


@pytest.mark.parametrize("earlier", ["none", "all"])
def test_a_resumed_run_imitates_what_an_uninterrupted_one_does(
    make_agent: MakeAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, earlier: str
) -> None:
    whole = make_agent(rounds=3, earlier=earlier)
    report = whole.train(collector())

    save = Run.save

    def interrupted(self: Run, state: dict[str, Any]) -> None:
        save(self, state)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Run, "save", interrupted)
        make_agent(rounds=3, earlier=earlier).train(collector(), folder=tmp_path / "run")
    resumed = make_agent(rounds=3, earlier=earlier)
    again = resumed.train(collector(), folder=tmp_path / "run")
    assert again.rows == report.rows
    assert all(torch.equal(found, weights(whole)[name]) for name, found in weights(resumed).items())


def test_values_that_cannot_be() -> None:
    with pytest.raises(ConvgymError, match="earlier must be 'none' or 'all', got 'some'"):
        ExpertIterationConfig(earlier="some")  # type: ignore[arg-type]
    with pytest.raises(ConvgymError, match="rounds must be an integer from 1 upwards, got 0"):
        ExpertIterationConfig(rounds=0)
    with pytest.raises(ConvgymError, match="exploration must be one or more factors above 0"):
        ExpertIterationConfig(exploration=())

"""Fitted Q evaluation: the value of policies of which the log knows all the parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from convgym.agents.model.format import ConversationFormat
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.off_policy.evidence import fresh_values
from convgym.agents.off_policy.fitted_evaluation import FittedEvaluation
from convgym.agents.training.imitation import Imitation
from convgym.agents.values.fitting import fit
from convgym.agents.values.q_function import QEnsemble, QFunctionConfig
from convgym.errors import ConvgymError
from tests.unit.agents.logs import BAD, EASY, GOOD, HARD, conversation, synthetic_log

torch.set_num_threads(1)

MakeModel = Callable[..., LanguageModel]
CONFIG = QFunctionConfig(imagined=0.0, reply_weight=0.0, epochs=30, learning_rate=3e-3)


def always(model: LanguageModel, word: int) -> LanguageModel:
    """Return a copy that has learned to say one word."""
    saying = model.copy()
    log = [conversation(model.format, customer, (word, word)) for customer in (EASY, HARD)]
    Imitation(epochs=150, learning_rate=3e-3, linear_decay=False).imitate(
        saying, log, generator=torch.Generator().manual_seed(0)
    )
    return saying


def test_outcomes_travel_back_to_the_opening(
    make_model: MakeModel, format: ConversationFormat
) -> None:
    """Half of the log sells; who always says the good word sells to everybody, the bad to nobody.

    By the log's own Q the first good word sells to easy customers, and to every second hard one:
    the next is as good as any.
    """
    model = make_model(max_new_tokens=2)
    log = synthetic_log(format, 160)
    generator = torch.Generator().manual_seed(0)
    deployed = QEnsemble(model, CONFIG)
    fit(deployed, log, generator=generator)
    before = {name: weight.clone() for name, weight in deployed.state_dict().items()}

    def at_openings(ensemble: QEnsemble, policy: LanguageModel) -> float:
        score = partial(ensemble.score, generator=generator)
        values = fresh_values(policy, score, log, samples=2, generator=generator)
        return float(np.mean([row[0] for row in values]))

    evaluation = FittedEvaluation(iterations=10, learning_rate=3e-3)
    for word, first, both in ((GOOD, 0.75, 1.0), (BAD, 0.25, 0.0)):
        policy = always(model, word)
        assert at_openings(deployed, policy) == pytest.approx(first, abs=0.12)
        found = evaluation.evaluate(deployed, policy, log, generator)
        assert at_openings(found, policy) == pytest.approx(both, abs=0.08)
    assert all(torch.equal(weight, before[name]) for name, weight in deployed.state_dict().items())


@pytest.mark.parametrize("changes", [{"folds": 2}, {"loss": "mse"}])
def test_what_it_cannot_go_on_from_is_refused(
    make_model: MakeModel, format: ConversationFormat, changes: dict[str, object]
) -> None:
    model = make_model()
    deployed = QEnsemble(model, replace(CONFIG, **changes))  # type: ignore[arg-type]
    with pytest.raises(ConvgymError, match="goes on from a Q with folds=1"):
        FittedEvaluation().evaluate(
            deployed, model, synthetic_log(format, 2), torch.Generator().manual_seed(0)
        )

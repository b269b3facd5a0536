"""A bound on how far an improvement step goes from its reference.

A step that runs beyond it is not only ended, as PPO's implementations do ("early stopping"), but
undone as far as it was beyond: one update too many has cost a policy most of its sales.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from convgym.agents.model.batch import TokenisedEpisode
from convgym.agents.model.language_model import LanguageModel


class DivergenceBound:
    """Brings a model back to its last weights that a minibatch showed within a divergence.

    To be asked before every update::

        if not bound.holds(divergence_of_the_minibatch):
            break

    and once more at the end, by ``holds_for``: no minibatch has seen the last update.

    Args:
        model: the model that is trained; its weights at the beginning count as within.
        target_kl: the largest divergence from the reference, in nats per response.

    Attributes:
        left: whether the model was beyond the bound, and hence brought back.
    """

    def __init__(self, model: LanguageModel, target_kl: float) -> None:
        self.left = False
        self._model, self._target_kl = model, target_kl
        self._within: dict[str, Tensor] = {}
        self._keep()

    def holds(self, divergence: float) -> bool:
        """Return whether the weights as they are are within; if not, bring the model back.

        What is not a number is beyond.
        """
        self.left = not divergence <= self._target_kl
        if self.left:
            self._model.load_weights(self._within)
        else:
            self._keep()
        return not self.left

    def holds_for(self, reference: LanguageModel, episodes: Sequence[TokenisedEpisode]) -> bool:
        """Return what ``holds`` does of the divergence on some conversations of the reference.

        Of a model that has left its bound before, and is back, nothing more is asked.
        """
        return not self.left and self.holds(self._model.divergence(reference, episodes))

    def _keep(self) -> None:
        with torch.no_grad():
            for name, tensor in self._model.weights().items():
                if name in self._within:
                    self._within[name].copy_(tensor)
                else:
                    self._within[name] = tensor.clone()

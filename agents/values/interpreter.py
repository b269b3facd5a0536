"""Between a policy's tokens and those of a Q that is another model.

A Q of the policy's size costs as much to fit and to ask as the policy costs to train. But a Q must
only understand what is said, not say it: a small model can judge a large one's words. It reads the
conversations of the log in tokens of its own, and responses by their words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from convgym.agents.model.batch import TokenisedEpisode, shortened
from convgym.agents.model.config import PolicyConfig
from convgym.agents.model.format import Tokens
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.values.estimates import ValueEstimates
from convgym.conversation import Episode
from convgym.errors import ConvgymError


def load_trunk(policy: LanguageModel, trunk: str | None) -> LanguageModel:
    """Return the model that members of Q begin as copies of: the policy itself for None.

    Raises:
        ConvgymError: when there is no such model.
    """
    if trunk is None:
        return policy
    config = PolicyConfig(device=str(policy.device), max_new_tokens=policy.sampling.max_new_tokens)
    return LanguageModelPolicy.from_pretrained(trunk, config=config).model


class Interpreter:
    """Reads a policy's log for a Q, and a Q's opinions for the policy.

    Where Q's trunk is the policy itself there is nothing to do.

    Args:
        policy: whose tokens prompts, responses and logs are given in.
        trunk: in whose tokens members of Q read.
    """

    def __init__(self, policy: LanguageModel, trunk: LanguageModel) -> None:
        self.policy, self.trunk = policy, trunk
        self._states: dict[Tokens, Tokens] = {}

    def read(
        self, episodes: Sequence[Episode]
    ) -> tuple[list[TokenisedEpisode], list[TokenisedEpisode]]:
        """Return a log in the policy's tokens and in the trunk's; its states are known from now on.

        Both have the same turns: those that both models can read.
        """
        if self.trunk is self.policy:
            log = self.policy.tokenise(episodes)
            return log, log
        spoken, read = [], []
        for episode in episodes:
            both = [model.tokenise([episode]) for model in (self.policy, self.trunk)]
            if not all(both):
                continue
            turns = min(each[0].n_turns for each in both)
            theirs, own = (shortened(each[0], turns) for each in both)
            for start, begin in zip(theirs.response_starts(), own.response_starts(), strict=True):
                self._states[theirs.ids[:start]] = own.ids[:begin]
            spoken.append(theirs)
            read.append(own)
        return spoken, read

    def pairs(
        self, prompts: Sequence[Tokens], responses: Sequence[Tokens]
    ) -> tuple[Sequence[Tokens], Sequence[Tokens]]:
        """Return states of the log and responses to them in the trunk's tokens.

        Raises:
            ConvgymError: for a state that was not in a log.
        """
        if self.trunk is self.policy:
            return prompts, responses
        decode, spell = self.policy.format.decode, self.trunk.format.response
        try:
            states = [self._states[tuple(prompt)] for prompt in prompts]
        except KeyError:
            raise ConvgymError(
                "a Q with a trunk of its own judges responses to the states of its log alone"
            ) from None
        return states, [spell(decode(response)) for response in responses]

    def estimates(
        self, log: Sequence[TokenisedEpisode], judged: Sequence[ValueEstimates]
    ) -> list[ValueEstimates]:
        """Return estimates of a log as those of the policy's tokens: each has its turn's value."""
        if self.trunk is self.policy:
            return list(judged)
        return [
            replace(
                each,
                token_values=tuple(each.values[turn] for turn in episode.turns if turn >= 0),
            )
            for episode, each in zip(log, judged, strict=True)
        ]

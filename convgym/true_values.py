"""True values Q(s, a) and V(s) of a policy, by branching conversations.

A customer whose state can be copied can be met again at any point of a conversation: say a
response, let the policy go on to the end, and do so many times, with fresh randomness of customer
and policy. The share of purchases is Q(s, a), as exactly as one likes to pay for; where the policy
says the response as well, it is V(s). So errors of a fitted Q and the premise of an improvement
step can be measured.

The state that is branched is the conversation *and the customer behind it*, with its hidden need,
budget and mood. A policy and its Q know the conversation alone, and the best they can know is the
mean over the customers that could stand behind it. Branched values vary more than that mean:
correlations with them stay below 1, and errors above 0, for the best of all Q. Averages over many
states of what a choice is worth (``best_of_n`` of ``convgym.agents.values.diagnostics``) are fair
all the same, as long as the choice was made without the hidden state.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from convgym.conversation import FAILURES, Episode, Message, Response, render
from convgym.customers import Customer, Snapshottable
from convgym.envs.dialogue import Dialogue, respond_together
from convgym.envs.scenario import Scenario
from convgym.errors import ConvgymError
from convgym.policy import Conversation, Policy
from convgym.progress import Progress, ProgressCallback, no_progress
from convgym.rollout import rollout
from convgym.statistics import nan_mean, nan_standard_error
from convgym.usage import count_branch

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BranchState:
    """A state that was met: ``episode`` before its turn ``turn``, and a copy of the customer."""

    episode: Episode
    turn: int
    snapshot: object

    @property
    def messages(self) -> list[Message]:
        """The conversation so far; the customer spoke last."""
        return self.episode.messages(self.turn)


@dataclass(frozen=True, slots=True)
class TrueValues:
    """Returns of S states, K responses to each and R rollouts of every response.

    A return is ``gamma ** (later turns)`` for a purchase, else 0; NaN where a backend failed, the
    customer's or the policy's. Means and errors leave failures out, and are NaN where too few are
    left.
    """

    q_returns: Array
    """(S, K, R) returns after each response."""
    v_returns: Array
    """(S, Rv) returns where the policy chose the response; independent of ``q_returns``."""

    @property
    def outcomes(self) -> NDArray[np.bool_]:
        """(S, K, R) True for a purchase; for split halves and noise corrections."""
        purchases: NDArray[np.bool_] = self.q_returns > 0
        return purchases

    @property
    def q(self) -> Array:
        """(S, K) Q(s, a)."""
        return nan_mean(self.q_returns)

    @property
    def q_se(self) -> Array:
        """(S, K) its standard error."""
        return nan_standard_error(self.q_returns)

    @property
    def v(self) -> Array:
        """(S,) V(s)."""
        return nan_mean(self.v_returns)

    @property
    def v_se(self) -> Array:
        """(S,) its standard error."""
        return nan_standard_error(self.v_returns)

    @property
    def advantages(self) -> Array:
        """(S, K) Q(s, a) - V(s); the error of V is common to all responses of a state."""
        return self.q - self.v[:, None]


def collect_states(
    policy: Policy,
    seeds: Sequence[int],
    n_states: int,
    *,
    seed: int = 0,
    environment: Mapping[str, Any] | None = None,
    batch_size: int | None = None,
) -> list[BranchState]:
    """Hold conversations and return ``n_states`` of the states met, see ``choose_states``.

    Args:
        policy: who meets them.
        seeds: episode seeds.
        n_states: how many states.
        seed: of the policy's words and of the choice.
        environment: options of ``SalesEnv``.
        batch_size: conversations at once; None is what suits policy and customer (``rollout``).

    Raises:
        ConvgymError: for a customer that cannot be copied, or when fewer states were met.
    """
    _check_copies(environment)
    episodes = rollout(
        policy, seeds, environment=environment, policy_seed=seed, batch_size=batch_size
    )
    return choose_states(episodes, n_states, seed=seed, environment=environment)


def choose_states(
    episodes: Sequence[Episode],
    n_states: int,
    *,
    seed: int = 0,
    environment: Mapping[str, Any] | None = None,
) -> list[BranchState]:
    """Choose states of logged conversations at random, without replacement.

    Every state in which a response was given is equally likely, so they come as often as the
    policy that wrote the log meets them. The customers are brought to where they were by hearing
    the same words again: they must be those of the log, in the same environment.

    Raises:
        ConvgymError: for a customer that cannot be copied or that answers otherwise than the log
            says, or when there are fewer states.
    """
    places = [
        (episode, turn)
        for episode in episodes
        if episode.valid
        for turn in range(len(episode.turns))
    ]
    if not 1 <= n_states <= len(places):
        raise ConvgymError(
            f"n_states must be from 1 to the {len(places)} states that were met, got {n_states}: "
            "hold more conversations"
        )
    chosen = sorted(random.Random(seed).sample(range(len(places)), n_states))
    with _Dialogues(environment, 1) as (dialogue,):
        return [_replay(dialogue, *places[index]) for index in chosen]


def _replay(dialogue: Dialogue, episode: Episode, turn: int) -> BranchState:
    dialogue.reset(episode.seed)
    for past in episode.turns[:turn]:
        if dialogue.outcome is None:
            dialogue.step(past.response.text)
    if dialogue.outcome is not None or dialogue.messages != episode.messages(turn):
        raise ConvgymError(
            f"customer {dialogue.fingerprint!r} does not repeat the conversation of "
            f"episode seed {episode.seed}, which was held with {episode.customer!r}: use the "
            "environment of the log"
        )
    episode = replace(episode, leaflet=dialogue.leaflet)  # logs do not keep it
    return BranchState(episode, turn, _copied(dialogue.customer).snapshot())


def sample_responses(
    policy: Policy,
    states: Sequence[BranchState],
    samples: int,
    *,
    seed: int = 0,
    batch_size: int = 512,
) -> list[list[Response]]:
    """Let the policy respond ``samples`` times to every state; it is not shown hidden states."""
    policy.reset(seed)
    conversations = [
        Conversation(
            number,
            state.messages,
            random.Random(f"{seed}/{number}"),
            leaflet=state.episode.leaflet,
        )
        for number, state in enumerate(state for state in states for _ in range(samples))
    ]
    said: list[Response] = []
    for start in range(0, len(conversations), batch_size):
        said += policy.act(conversations[start : start + batch_size])
    return [said[start : start + samples] for start in range(0, len(said), samples)]


def branch(
    policy: Policy,
    states: Sequence[BranchState],
    responses: Sequence[Sequence[Response]],
    *,
    rollouts: int = 24,
    value_rollouts: int | None = None,
    seed: int = 0,
    gamma: float = 1.0,
    environment: Mapping[str, Any] | None = None,
    batch_size: int = 512,
    progress: ProgressCallback = no_progress,
) -> TrueValues:
    """Return the true values of K responses to each of S states under ``policy``.

    All branches advance together, up to ``batch_size`` at once; the turn limit counts from the
    conversation's beginning. A language model reads the words that it said before the branch as
    its tokenizer spells them, which is rarely not as it spelt them itself.

    Args:
        policy: goes on after the response.
        states: from ``collect_states`` or ``choose_states``.
        responses: the same number of responses for each state.
        rollouts: per state and response.
        value_rollouts: per state, for V(s); None for ``rollouts``.
        seed: everything random follows from it; with a policy that draws from one source for all
            conversations of a batch, such as a language model, from it and ``batch_size``.
        gamma: discount per turn.
        environment: options of ``SalesEnv``, those under which the states were met.
        batch_size: conversations at once.
        progress: told how many branches have ended, as stage "branches".

    Raises:
        ConvgymError: for a mistake in the arguments or a customer that cannot be copied.
    """
    sizes = {len(alternatives) for alternatives in responses}
    if not states or len(responses) != len(states) or len(sizes) != 1:
        raise ConvgymError(
            f"branch needs the same number of responses for each state, got {len(states)} states "
            f"and {len(responses)} lists of lengths {sorted(sizes)}"
        )
    value_rollouts = rollouts if value_rollouts is None else value_rollouts
    if rollouts < 1 or value_rollouts < 0:
        raise ConvgymError(
            "rollouts must be at least 1 and value_rollouts at least 0, got "
            f"{rollouts} and {value_rollouts}"
        )
    # One state after another: branches of one beginning are read by the model together.
    plans: list[tuple[BranchState, Response | None]] = []
    for state, alternatives in zip(states, responses, strict=True):
        plans += [(state, response) for response in alternatives for _ in range(rollouts)]
        plans += [(state, None)] * value_rollouts
    returns = np.empty(len(plans))
    reveal = Scenario.of(environment or {}).reveal_latent
    with _Dialogues(environment, min(batch_size, max(1, len(plans)))) as dialogues:
        places = [_Place(dialogue, seed, gamma, reveal) for dialogue in dialogues]
        for done, (number, value) in enumerate(_hold(policy, places, plans, seed), start=1):
            returns[number] = value
            progress(Progress("branches", done, len(plans)))
    (k,) = sizes
    rows = returns.reshape(len(states), k * rollouts + value_rollouts)
    return TrueValues(
        q_returns=rows[:, : k * rollouts].reshape(len(states), k, rollouts),
        v_returns=rows[:, k * rollouts :],
    )


class _Place:
    """A place in the batch, where one branch is played after another."""

    def __init__(self, dialogue: Dialogue, seed: int, gamma: float, reveal_latent: bool) -> None:
        self.dialogue, self.seed, self.gamma = dialogue, seed, gamma
        self.reveal_latent = reveal_latent

    def start(self, number: int, state: BranchState) -> None:
        """Go back to the state with fresh randomness."""
        dialogue, messages = self.dialogue, state.messages
        count_branch()
        # Of the seed and the branch's number alone, so that the batch's size does not matter.
        rng = random.Random(f"{self.seed}/{number}")
        _copied(dialogue.customer).restore(state.snapshot, seed=rng.getrandbits(63))
        dialogue.seed, dialogue.turn = state.episode.seed, state.turn
        dialogue.messages, dialogue.text = messages, render(messages)
        dialogue.outcome, dialogue.failure = None, None
        self.number, self.turn = number, state.turn
        # Policies may know conversations by their seed, so every branch has one of its own.
        self.conversation = Conversation(
            number, messages, rng, self._latent(), self.dialogue.leaflet
        )

    def look(self) -> None:
        """See the hidden state, where it may be seen, after a turn."""
        self.conversation.latent = self._latent()

    def _latent(self) -> Mapping[str, Any] | None:
        return self.dialogue.customer.latent if self.reveal_latent else None

    @property
    def value(self) -> float:
        """The return of the branch, once it has ended."""
        if self.dialogue.outcome in FAILURES:
            return np.nan
        later = self.dialogue.turn - self.turn - 1
        return self.gamma**later * self.dialogue.reward


def _hold(
    policy: Policy,
    places: Sequence[_Place],
    plans: Sequence[tuple[BranchState, Response | None]],
    seed: int,
) -> Iterator[tuple[int, float]]:
    """Play all branches and yield the number and the return of each as it ends."""
    policy.reset(seed)
    waiting = iter(enumerate(plans))
    live: list[_Place] = []
    free = list(places)
    while True:
        fresh: list[_Place] = []
        while begun := list(zip(free, waiting, strict=False)):
            for place, (number, (state, _)) in begun:
                place.start(number, state)
            _say([(place, said) for place, (_, (_, said)) in begun if said is not None])
            free = [place for place, _ in begun if place.dialogue.outcome is not None]
            fresh += [place for place, _ in begun if place.dialogue.outcome is None]
            for place in free:
                yield place.number, place.value  # the response itself ended the conversation
        live += sorted(fresh, key=lambda place: place.number)
        if not live:
            return
        _say(list(zip(live, policy.act([place.conversation for place in live]), strict=True)))
        free = [place for place in live if place.dialogue.outcome is not None]
        live = [place for place in live if place.dialogue.outcome is None]
        for place in free:
            yield place.number, place.value


def _say(said: Sequence[tuple[_Place, Response]]) -> None:
    respond_together([place.dialogue for place, _ in said], [response for _, response in said])
    for place, _ in said:
        place.look()


class _Dialogues:
    """Dialogues of an environment for the length of a ``with`` block."""

    def __init__(self, environment: Mapping[str, Any] | None, n: int) -> None:
        if n < 1:
            raise ConvgymError(f"batch_size must be at least 1, got {n}")
        self._scenario = Scenario.of(environment or {})
        self._dialogues = self._scenario.dialogues(n)

    def __enter__(self) -> list[Dialogue]:
        return self._dialogues

    def __exit__(self, *error: object) -> None:
        for dialogue in self._dialogues:
            if dialogue.customer is not self._scenario.customer:  # the caller's own stays open
                dialogue.close()


def _check_copies(environment: Mapping[str, Any] | None) -> None:
    with _Dialogues(environment, 1) as (dialogue,):
        _copied(dialogue.customer)


def _copied(customer: Customer) -> Snapshottable:
    if not _can_be_copied(customer):
        raise ConvgymError(
            "true values need a customer whose state can be copied, with the methods snapshot and "
            f"restore; {type(customer).__name__} lacks them: use customer='scripted' or add them"
        )
    return customer


def _can_be_copied(customer: Customer) -> TypeGuard[Snapshottable]:
    # Of the class: before the first reset a property may not be readable on the object.
    return all(callable(getattr(type(customer), name, None)) for name in ("snapshot", "restore"))

"""Small conversations solved exactly: what the theory says, without sampling or fitting.

A state is what has been said so far, a response is a sequence of one to three tokens, the
customer's reply leads to another state or ends the conversation, with or without a purchase. So
one policy has two views: probabilities of whole responses in a state, and probabilities of tokens
in a state after the tokens of the response so far.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Words = tuple[int, ...]

END, VOCABULARY, LONGEST = 2, 3, 3
"""Two words and the end token; a response ends with it, or with its third token."""

PREFIXES: tuple[Words, ...] = tuple(
    words for n in range(LONGEST) for words in itertools.product(range(END), repeat=n)
)
"""What may have been said of a response that goes on; the shorter stand before the longer."""

RESPONSES: tuple[Words, ...] = tuple(
    (*prefix, token)
    for prefix in PREFIXES
    for token in range(VOCABULARY)
    if token == END or len(prefix) == LONGEST - 1
)

BACKWARDS = range(len(PREFIXES) - 1, -1, -1)
"""Numbers of the prefixes, the longer before the shorter."""

SPELLINGS: tuple[tuple[tuple[int, int], ...], ...] = tuple(
    tuple((PREFIXES.index(words[:i]), words[i]) for i in range(len(words))) for words in RESPONSES
)
"""For each response, the (prefix, token) choices that spell it."""


@dataclass(frozen=True)
class ConversationMDP:
    """S states and A responses; what leaves the states is absorbed and worth nothing more.

    Attributes:
        transitions: (S, A, S) probability that the conversation goes on in a state. The rest of a
            row, up to 1, is the probability that it ends.
        rewards: (S, A) probability that it ends in a purchase: the mean of the one-bit reward.
        gamma: discount per turn; 1 is fine where every conversation ends.
    """

    transitions: Array
    rewards: Array
    gamma: float

    def visits(self, policy: Array) -> Array:
        """Return M (S, S): M[s, x] = sum_t gamma^t P(s_t = x | s_0 = s) under ``policy`` (S, A).

        In terms of the *normalised* discounted state distribution d of the literature, which puts
        the rest of its mass on the absorbing end, ``M[s] = d / (1 - gamma)``.
        """
        step = np.einsum("sa,sax->sx", policy, self.transitions)
        visits: Array = np.linalg.inv(np.eye(len(step)) - self.gamma * step)
        return visits

    def values(self, policy: Array) -> Array:
        """Return V (S,) of a policy (S, A)."""
        values: Array = self.visits(policy) @ (policy * self.rewards).sum(1)
        return values

    def action_values(self, policy: Array) -> Array:
        """Return Q (S, A) of a policy (S, A)."""
        values: Array = self.rewards + self.gamma * self.transitions @ self.values(policy)
        return values


def random_mdp(
    rng: np.random.Generator, states: int = 4, *, gamma: float = 0.9, turns: int | None = None
) -> ConversationMDP:
    """Draw an MDP; with ``turns`` the turn is part of the state and no conversation is longer.

    The states of the finite horizon are ordered turn by turn.
    """
    layers = turns or 1
    # Weights below 1 make rows sparse: responses differ in what they lead to.
    ends = rng.dirichlet(np.full(states + 2, 0.5), size=(layers, states, len(RESPONSES)))
    rewards = ends[..., states].reshape(-1, len(RESPONSES))
    going_on = ends[..., :states]
    if turns is None:
        return ConversationMDP(going_on[0], rewards, gamma)
    transitions = np.zeros((layers * states, len(RESPONSES), layers * states))
    for turn in range(turns - 1):  # whoever has not decided after the last turn is gone
        here, after = (slice(t * states, (t + 1) * states) for t in (turn, turn + 1))
        transitions[here, :, after] = going_on[turn]
    return ConversationMDP(transitions, rewards, gamma)


def random_policy(rng: np.random.Generator, states: int, concentration: float = 1.0) -> Array:
    """Draw probabilities (S, A) of responses, all of them positive."""
    policy = rng.dirichlet(np.full(len(RESPONSES), concentration), size=states) + 1e-6
    normalised: Array = policy / policy.sum(1, keepdims=True)
    return normalised


def greedy(values: Array) -> Array:
    """Return the policy (S, A) that takes the best response of action values (S, A)."""
    best: Array = np.eye(values.shape[1])[values.argmax(1)]
    return best


def tilted(policy: Array, values: Array, beta: float) -> Array:
    """Return the KL-regularised greedy step, ``policy exp(values / beta) / Z`` (S, A)."""
    weights = policy * np.exp((values - values.max(1, keepdims=True)) / beta)
    normalised: Array = weights / weights.sum(1, keepdims=True)
    return normalised


def divergence(policy: Array, reference: Array) -> Array:
    """Return KL(policy, reference) (...) over the last axis, in nats."""
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(policy > 0, policy * np.log(policy / reference), 0.0)
    total: Array = terms.sum(-1)
    return total


def token_policy(responses: Array) -> Array:
    """Return the probabilities (S, P, V) of tokens that spell responses (S, A) with theirs."""
    weights = np.zeros((len(responses), len(PREFIXES), VOCABULARY))
    for response, spelling in enumerate(SPELLINGS):
        for prefix, token in spelling:
            weights[:, prefix, token] += responses[:, response]
    normalised: Array = weights / weights.sum(2, keepdims=True)
    return normalised


def response_policy(tokens: Array) -> Array:
    """Return the probabilities (S, A) of the responses that a token policy (S, P, V) spells."""
    return np.stack(
        [
            np.prod([tokens[:, prefix, token] for prefix, token in spelling], axis=0)
            for spelling in SPELLINGS
        ],
        axis=1,
    )


def token_values(policy: Array, values: Array) -> tuple[Array, Array]:
    """Return what a response so far is worth under a token policy (S, P, V).

    Args:
        policy: probabilities of tokens.
        values: (S, A) worth of complete responses.

    Returns:
        V (S, P) before and Q (S, P, V) after the choice of a token.
    """
    v, q = np.zeros(policy.shape[:2]), np.zeros(policy.shape)
    for prefix in BACKWARDS:
        q[:, prefix] = _after(prefix, values, v)
        v[:, prefix] = (policy[:, prefix] * q[:, prefix]).sum(1)
    return v, q


def soft_token_policy(reference: Array, values: Array, beta: float) -> Array:
    """Return the token policy (S, P, V) that maximises E[values] - beta KL to ``reference``.

    By soft value iteration over tokens: with W of a complete response its value,
    ``W(prefix) = beta log sum_t reference(t) exp(W(prefix + t) / beta)``.
    """
    policy, w = np.zeros(reference.shape), np.zeros(reference.shape[:2])
    for prefix in BACKWARDS:
        after = _after(prefix, values, w)
        policy[:, prefix] = tilted(reference[:, prefix], after, beta)
        top = after.max(1)
        tilt = reference[:, prefix] * np.exp((after - top[:, None]) / beta)
        w[:, prefix] = top + beta * np.log(tilt.sum(1))
    return policy


def local_token_policy(reference: Array, values: Array, beta: float) -> Array:
    """Return the token policy (S, P, V) whose every choice is a KL-regularised greedy step.

    ``policy(t) ~ reference(t) exp(Q(prefix, t) / beta)`` with Q the mean of ``values`` under the
    policy itself: a choice pays for its own divergence, not for that of the choices it leads to.
    """
    policy, v = np.zeros(reference.shape), np.zeros(reference.shape[:2])
    for prefix in BACKWARDS:
        after = _after(prefix, values, v)
        policy[:, prefix] = tilted(reference[:, prefix], after, beta)
        v[:, prefix] = (policy[:, prefix] * after).sum(1)
    return policy


def _after(prefix: int, values: Array, v: Array) -> Array:
    """Return what each next token leads to (S, V): a complete response, or a longer prefix."""
    longer = [(*PREFIXES[prefix], token) for token in range(VOCABULARY)]
    return np.stack(
        [
            values[:, RESPONSES.index(words)] if words in RESPONSES else v[:, PREFIXES.index(words)]
            for words in longer
        ],
        axis=1,
    )


@dataclass(frozen=True)
class Trajectory:
    """One possible conversation: its states, responses, outcome and probability."""

    states: tuple[int, ...]
    responses: tuple[int, ...]
    outcome: float
    probability: float


def trajectories(mdp: ConversationMDP, policy: Array, state: int) -> Iterator[Trajectory]:
    """Yield every conversation from ``state`` on; for MDPs of a finite horizon only."""
    for response, chosen in enumerate(policy[state]):
        if chosen == 0:
            continue
        onward = mdp.transitions[state, response]
        bought = mdp.rewards[state, response]
        lost = 1.0 - onward.sum() - bought
        for outcome, probability in ((1.0, bought), (0.0, lost)):
            if probability > 1e-15:
                yield Trajectory((state,), (response,), outcome, chosen * probability)
        for following in onward.nonzero()[0]:
            for rest in trajectories(mdp, policy, int(following)):
                yield Trajectory(
                    (state, *rest.states),
                    (response, *rest.responses),
                    rest.outcome,
                    chosen * onward[following] * rest.probability,
                )

"""Packed candidates: each the same as in a row of its own, blind to all that is not its past."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from convgym.agents.model.batch import TokenisedEpisode
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.packing import Candidate, Packed, hidden_states, pack, pack_pairs
from convgym.agents.values.q_function import QFunction, QFunctionConfig

MakeModel = Callable[..., LanguageModel]
MakeNetwork = Callable[..., Any]
Conversations = list[tuple[TokenisedEpisode, list[Candidate]]]
PAD_ID = 0
CPU = torch.device("cpu")


def words(rng: random.Random, longest: int) -> tuple[int, ...]:
    return tuple(rng.randrange(4, 200) for _ in range(rng.randint(1, longest)))


def episode(rng: random.Random, turns: int) -> TokenisedEpisode:
    ids, numbers = [*words(rng, 12)], []
    numbers = [-1] * len(ids)
    for turn in range(turns):
        response, reply = words(rng, 6), words(rng, 6) if turn + 1 < turns else ()
        ids += response + reply
        numbers += [turn] * len(response) + [-1] * len(reply)
    return TokenisedEpisode(tuple(ids), tuple(numbers), (0.0,) * len(ids), 1.0)


def candidate(rng: random.Random, turn: int, longest: int = 7) -> Candidate:
    spelt = words(rng, longest)
    return Candidate(turn, spelt, tuple(-rng.random() for _ in spelt))


@pytest.fixture
def conversations() -> Conversations:
    """Different lengths; states without a candidate, with several, out of order."""
    rng = random.Random(0)
    turns = [(5, [0, 0, 0, 3, 1, 3]), (1, [0]), (8, [7, 2, 2]), (3, [1, 1])]
    return [(episode(rng, n), [candidate(rng, turn) for turn in used]) for n, used in turns]


@pytest.fixture
def model(make_network: MakeNetwork) -> Any:
    return make_network().eval().double()  # in double precision rounding cannot hide a mistake


def full_rows(conversations: Conversations) -> list[tuple[tuple[int, ...], Candidate]]:
    return [
        ((*one.ids[: one.turns.index(other.turn)], *other.token_ids), other)
        for one, candidates in conversations
        for other in candidates
    ]


@torch.no_grad()
def alone(model: Any, ids: Sequence[int]) -> Tensor:
    """Return the hidden states (T, width) of one row without mask, positions or padding."""
    hidden: Tensor = model.base_model(torch.tensor([ids]), use_cache=False).last_hidden_state[0]
    return hidden


@torch.no_grad()
def own_tokens(model: Any, packed: Packed, number: int) -> Tensor:
    """Return what is read at a candidate's own tokens and at their parents."""
    hidden, own = hidden_states(model.base_model, packed), packed.response == number
    rows = packed.rows[own]
    return torch.stack([hidden[rows, packed.columns[own]], hidden[rows, packed.parents[own]]])


def test_a_packed_candidate_is_read_as_in_a_row_of_its_own(
    model: Any, conversations: Conversations
) -> None:
    packed = pack(conversations, PAD_ID, CPU)
    rows = full_rows(conversations)
    for number, (ids, one) in enumerate(rows):
        expected, n = alone(model, ids), len(one.token_ids)
        read = own_tokens(model, packed, number)
        torch.testing.assert_close(read[0], expected[-n:], atol=1e-5, rtol=0)
        torch.testing.assert_close(read[1], expected[-n - 1 : -1], atol=1e-5, rtol=0)
    assert len(packed.end_rows) == len(rows) == 12


@pytest.mark.parametrize("form", ["direct", "dueling"])
def test_opinions_are_those_of_rows_of_their_own(
    make_model: MakeModel,
    conversations: Conversations,
    form: Literal["direct", "dueling"],
) -> None:
    facade = make_model()
    model = facade.network.double()
    member = QFunction(facade, QFunctionConfig(form=form, imagined=0.0)).double()
    for head in (member.value_head, member.advantage_head):
        torch.nn.init.normal_(head.weight, generator=torch.Generator().manual_seed(0))
    rows = full_rows(conversations)
    values, advantages, imagined = member.opinions(
        [ids[: -len(one.token_ids)] for ids, one in rows],
        [one.token_ids for _, one in rows],
        torch.Generator(),
    )
    assert imagined.isnan().all()
    for number, (ids, one) in enumerate(rows):
        hidden = alone(model, ids)
        before, after = hidden[-len(one.token_ids) - 1], hidden[-1]
        with torch.no_grad():
            value, expected = member.values(before), member.advantages(before, after)
        assert float(values[number]) == pytest.approx(float(value), abs=1e-5)
        assert float(advantages[number]) == pytest.approx(float(expected), abs=1e-5)
    assert advantages.std() > 0.1


def test_pairs_are_packed_as_in_rows_of_their_own(model: Any, conversations: Conversations) -> None:
    """In any order, with equal pairs and prompts that begin one another."""
    pairs = [
        (one.ids[: one.turns.index(other.turn)], other.token_ids)
        for one, candidates in conversations
        for other in candidates
    ] * 2
    random.Random(3).shuffle(pairs)
    prompts, responses = [one for one, _ in pairs], [one for _, one in pairs]
    packs = list(pack_pairs(prompts, responses, PAD_ID, CPU, rows=3))
    assert [len(packed.ids) for _, packed in packs] == [3, 1]  # one row a conversation
    assert sorted(i for indices, _ in packs for i in indices) == list(range(len(pairs)))
    for indices, packed in packs:
        with torch.no_grad():
            hidden = hidden_states(model.base_model, packed)
        for place, index in enumerate(indices):
            expected, n = alone(model, prompts[index] + responses[index]), len(responses[index])
            row = packed.end_rows[place]
            for column, true in (
                (packed.state_columns[place], expected[-n - 1]),
                (packed.end_columns[place], expected[-1]),
            ):
                torch.testing.assert_close(hidden[row, column], true, atol=1e-5, rtol=0)


def test_no_pairs_no_packs() -> None:
    assert list(pack_pairs([], [], PAD_ID, CPU)) == []


def test_a_candidate_sees_neither_the_others_nor_what_came_later(
    model: Any, conversations: Conversations
) -> None:
    rng = random.Random(1)
    one, candidates = conversations[0]
    for number, kept in enumerate(candidates):
        before = own_tokens(model, pack(conversations, PAD_ID, CPU), number)
        state = one.turns.index(kept.turn)
        later = tuple(200 + token % 50 for token in one.ids[state:])
        perturbed = replace(one, ids=one.ids[:state] + later)
        others = [candidate(rng, other.turn, longest=20) for other in candidates]
        others[number] = kept
        after = own_tokens(model, pack([(perturbed, others)], PAD_ID, CPU), number)
        torch.testing.assert_close(after, before, atol=1e-9, rtol=0)


def test_a_candidate_sees_its_whole_past(model: Any, conversations: Conversations) -> None:
    one, candidates = conversations[0]
    before = own_tokens(model, pack(conversations, PAD_ID, CPU), 3)
    for at in range(one.turns.index(candidates[3].turn)):
        perturbed = replace(one, ids=(*one.ids[:at], 200, *one.ids[at + 1 :]))
        after = own_tokens(model, pack([(perturbed, candidates)], PAD_ID, CPU), 3)
        # The last parent has read all of the state.
        assert (after[:, -1] - before[:, -1]).abs().max() > 1e-6


def test_a_case_made_by_hand() -> None:
    #                           c   c  s0  s0   c  s1
    one = TokenisedEpisode((10, 11, 12, 13, 14, 15), (-1, -1, 0, 0, -1, 1), (0.0,) * 6, 1.0)
    other = TokenisedEpisode((20, 21), (-1, 0), (0.0,) * 2, 0.0)
    packed = pack(
        [
            (one, [Candidate(1, (30, 31), (-1.0, -2.0)), Candidate(0, (32,), (-3.0,))]),
            (other, [Candidate(0, (40, 41), (-4.0, -5.0))]),
        ],
        PAD_ID,
        CPU,
    )
    # The conversation up to the last state that is used, then the candidates one after another.
    assert packed.ids.tolist() == [
        [10, 11, 12, 13, 14, 30, 31, 32],
        [20, 40, 41, PAD_ID, PAD_ID, PAD_ID, PAD_ID, PAD_ID],
    ]
    assert packed.positions.tolist() == [[0, 1, 2, 3, 4, 5, 6, 2], [0, 1, 2, 0, 0, 0, 0, 0]]
    assert packed.rows.tolist() == [0, 0, 0, 1, 1]
    assert packed.columns.tolist() == [5, 6, 7, 1, 2]
    assert packed.parents.tolist() == [4, 5, 1, 0, 1]
    assert packed.logprobs.tolist() == [-1.0, -2.0, -3.0, -4.0, -5.0]
    assert packed.response.tolist() == [0, 0, 1, 2, 2]
    assert packed.end_rows.tolist() == [0, 0, 1]
    assert packed.state_columns.tolist() == [4, 1, 0]
    assert packed.end_columns.tolist() == [6, 7, 2]
    assert packed.mask.shape == (2, 1, 8, 8)
    assert [row.nonzero()[:, 0].tolist() for row in packed.mask[0, 0]] == [
        [0],
        [0, 1],
        [0, 1, 2],
        [0, 1, 2, 3],
        [0, 1, 2, 3, 4],
        [0, 1, 2, 3, 4, 5],
        [0, 1, 2, 3, 4, 5, 6],
        [0, 1, 7],
    ]
    assert [row.nonzero()[:, 0].tolist() for row in packed.mask[1, 0, :3]] == [
        [0],
        [0, 1],
        [0, 1, 2],
    ]
    # Padding sees something, or attention would be 0 / 0; nobody sees it.
    assert packed.mask.any(-1).all()
    assert not packed.mask[1, 0, :3, 3:].any()


def test_packing_reads_a_conversation_once() -> None:
    one = episode(random.Random(2), turns=10)
    packed = pack([(one, [candidate(random.Random(t), t) for t in range(10)])], PAD_ID, CPU)
    assert packed.ids.numel() < len(one.ids) + 10 * 7

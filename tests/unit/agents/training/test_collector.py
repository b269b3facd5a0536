"""The one door to customers: budget, seeds, books, logs, and who tries to get past it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from convgym import logs
from convgym.agents.protocol import Usage
from convgym.agents.training.collector import Collector
from convgym.agents.training.run import Run
from convgym.conversation import Episode, Response, Turn
from convgym.customers.scripted.customer import ScriptedCustomer
from convgym.envs.sales import SalesEnv
from convgym.envs.vector import SalesVectorEnv
from convgym.errors import ConvgymError, InfrastructureError
from convgym.logs import read_log, write_log
from convgym.policy import Conversation
from convgym.progress import Progress
from convgym.rollout import rollout
from convgym.seeds import EVALUATION_BASE, evaluation_seeds, train_seeds
from convgym.sellers import make_seller
from convgym.true_values import branch, collect_states, sample_responses

SHORT = {"max_turns": 2}
BUDGET = 12


class Word:
    """Says one word, always."""

    def __init__(self, word: str = "Hello.") -> None:
        self.name = self.word = word
        self.seeds: list[int] = []

    def reset(self, seed: int) -> None:
        self.seeds.append(seed)

    def act(self, conversations: Sequence[Conversation]) -> list[Response]:
        return [Response(self.word) for _ in conversations]


class Down(ScriptedCustomer):
    """Fails for every third customer."""

    def reset(self, seed: int, profile: Any = None) -> str:
        if seed % 3 == 0:
            raise InfrastructureError("down")
        return super().reset(seed, profile)


def collector(budget: int = BUDGET, **options: Any) -> Collector:
    defaults: dict[str, Any] = {"seed": 0, "environment": SHORT}
    return Collector(budget, **defaults | options)


# Budget, seeds and books.


@pytest.mark.parametrize("budget", [0, -5])
def test_a_budget_must_be_positive(budget: int) -> None:
    with pytest.raises(ConvgymError, match=rf"must be an integer from 1 upwards, got {budget}"):
        collector(budget)


def test_more_than_the_budget_is_not_to_be_had() -> None:
    door = collector()
    seeds = [episode.seed for n in (5, 4) for episode in door.deploy(Word(), n)]
    assert (door.budget, door.remaining) == (12, 3)
    seeds += [episode.seed for episode in door.deploy(Word(), 100)]  # what is left
    assert seeds == train_seeds(0, BUDGET)
    assert max(seeds) < EVALUATION_BASE
    assert door.remaining == 0
    with pytest.raises(ConvgymError, match=r"budget of 12 .* is spent: 0 are left, 1 were asked"):
        door.deploy(Word(), 1)
    with pytest.raises(ConvgymError, match="0 were asked for"):
        collector().deploy(Word(), 0)
    assert [(p.conversations, p.deployments, p.episodes) for p in door.curve] == [
        (0, 0, 5),
        (5, 1, 4),
        (9, 2, 3),
    ]
    assert door.usage.deployments == 3


def test_the_budget_cannot_be_raised() -> None:
    with pytest.raises(AttributeError):
        collector().budget = 100  # type: ignore[misc]


def test_the_same_seed_is_the_same_market_and_another_is_not() -> None:
    first, same, other = (
        collector(seed=seed).deploy(make_seller("mediocre"), BUDGET) for seed in (1, 1, 2)
    )
    assert first == same != other


def test_every_deployment_draws_its_own_words() -> None:
    door, policy = collector(), Word()
    for _ in range(3):
        door.deploy(policy, 4)
    assert len(set(policy.seeds)) == 3


def test_what_was_used_is_counted_failures_included() -> None:
    door = collector(40, environment={**SHORT, "customer": Down})
    episodes = door.deploy(Word(), 40)
    broken = [episode for episode in episodes if episode.seed % 3 == 0]
    assert 0 < len(broken) < 40
    assert door.usage == Usage(
        conversations=40,
        turns=sum(len(episode.turns) for episode in episodes),
        deployments=1,
        excluded=len(broken),
    )
    assert all(not episode.valid for episode in broken)
    assert door.curve[0].episodes == 40 - len(broken)


def test_when_all_customers_fail_there_is_no_result() -> None:
    class Dead(ScriptedCustomer):
        def reset(self, seed: int, profile: Any = None) -> str:
            raise InfrastructureError("no line")

    ways: list[Callable[[Collector], object]] = [
        lambda door: door.deploy(Word(), 4),
        lambda door: door.logged(Word()),
    ]
    for meet in ways:
        door = collector(environment={"customer": Dead})
        with pytest.raises(InfrastructureError, match="no line"):
            meet(door)
        assert (door.curve, door.usage) == ([], Usage())


def test_voices_take_turns_whatever_a_deployments_size() -> None:
    door, news = collector(), list[Progress]()
    voices = [Word(word) for word in ("One.", "Two.", "Three.")]
    episodes = door.deploy(voices, 8, progress=news.append)
    assert [episode.seed for episode in episodes] == train_seeds(0, 8)
    said = [episode.turns[0].response.text for episode in episodes]
    assert said == ["One.", "Two.", "Three.", "One.", "Two.", "Three.", "One.", "Two."]
    assert door.usage.deployments == 1
    done = [progress.done for progress in news]
    assert done == sorted(done)
    assert (done[-1], {progress.total for progress in news}) == (8, {8})
    assert {progress.stage for progress in news} == {"collect"}
    # More voices than conversations: the first ones speak.
    left = door.deploy([*voices, Word("Four."), Word("Five.")], 2)
    assert [episode.turns[0].response.text for episode in left] == ["One.", "Two."]


@pytest.mark.parametrize("rounds", [1, 2, 5, 12, 40])
def test_rounds_share_the_budget(rounds: int) -> None:
    door, sizes = collector(), list[int]()
    while door.remaining:
        sizes.append(door.share(rounds))
        door.deploy(Word(), sizes[-1])
    assert len(sizes) == min(rounds, BUDGET) and sum(sizes) == BUDGET
    assert max(sizes) - min(sizes) <= 1
    told = f"{rounds} deployments were asked for, with {BUDGET} conversations for them"
    assert door.notes == ((told,) if rounds > BUDGET else ())
    with pytest.raises(ConvgymError, match="rounds must be an integer from 1 upwards, got 0"):
        door.share(0)


# Groups.


class Counting(Word):
    """Says a number that is drawn for each conversation."""

    def act(self, conversations: Sequence[Conversation]) -> list[Response]:
        return [Response(str(each.rng.random())) for each in conversations]


def test_a_group_meets_the_same_customer() -> None:
    door = collector()
    first = door.deploy(Word(), 6, group_size=3)
    second = door.deploy(Word(), 5, group_size=2)  # the last group is smaller
    last = door.deploy(Word(), 100, group_size=4)  # what is left of the budget
    a, b, c, d, e, f, *_ = train_seeds(0, BUDGET)
    assert [episode.seed for episode in first] == [a, a, a, b, b, b]
    assert [episode.seed for episode in second] == [c, c, d, d, e]
    assert [episode.seed for episode in last] == [f]
    # Said the same to, it answers the same: the customer has forgotten.
    assert first[0] == first[1] == first[2] != first[3]
    # The budget counts conversations.
    assert (door.usage.conversations, door.remaining, door.usage.deployments) == (12, 0, 3)
    assert [point.episodes for point in door.curve] == [6, 5, 1]


def test_a_groups_conversations_draw_their_own_words() -> None:
    episodes = collector().deploy(Counting(), BUDGET, group_size=4)
    said = {episode.turns[0].response.text for episode in episodes}
    assert len(said) == BUDGET


def test_groups_of_one_are_no_groups() -> None:
    plain = collector().deploy(make_seller("mediocre"), BUDGET)
    assert plain == collector().deploy(make_seller("mediocre"), BUDGET, group_size=1)
    with pytest.raises(ConvgymError, match="group_size must be an integer from 1 upwards, got 0"):
        collector().deploy(Word(), 2, group_size=0)


@pytest.mark.parametrize("group_size", [1, 3])
def test_groups_go_on_with_customers_not_met_yet(tmp_path: Path, group_size: int) -> None:
    door = collector(folder=tmp_path)
    first = door.deploy(Word(), 6, group_size=3)
    again = collector(folder=tmp_path)
    assert again.deploy(Word(), 6, group_size=3) == first  # read, not held
    resumed = collector()
    resumed.load_state(door.state())
    for each in (door, again, resumed):
        met_anew = {episode.seed for episode in each.deploy(Word(), 6, group_size=group_size)}
        assert met_anew == set(train_seeds(0, BUDGET)[2 : 2 + 6 // group_size])


def test_books_without_groups_are_read() -> None:
    door = collector()
    door.deploy(Word(), 5)
    state = door.state()
    del state["repeats"]
    other = collector()
    other.load_state(state)
    assert [episode.seed for episode in other.deploy(Word(), 7)] == train_seeds(0, BUDGET)[5:]


# Logs.


def test_a_log_takes_the_whole_budget_and_is_entered_once() -> None:
    door, seller = collector(), make_seller("mediocre")
    log = door.logged(seller)
    # As `convgym logs write` would write it with this seed.
    assert log == rollout(seller, train_seeds(0, BUDGET), policy_seed=0, environment=SHORT)
    assert (door.usage.conversations, door.usage.deployments, door.remaining) == (BUDGET, 1, 0)
    assert door.logged(seller) == log
    assert (door.usage.conversations, len(door.curve)) == (BUDGET, 1)


def test_no_log_after_a_deployment() -> None:
    door = collector()
    door.deploy(Word(), 1)
    with pytest.raises(ConvgymError, match="ask for it before any deployment"):
        door.logged(Word())


@pytest.mark.parametrize("name", ["log.jsonl", "log.jsonl.gz"])
@pytest.mark.parametrize(("budget", "used"), [(5, 5), (100, 8)])
def test_a_log_is_read_up_to_the_budget(tmp_path: Path, name: str, budget: int, used: int) -> None:
    episodes = rollout(make_seller("mediocre"), train_seeds(3, 8))
    write_log(tmp_path / name, episodes)
    door = collector(budget, log=tmp_path / name)
    assert door.logged(Word()) == episodes[:used]
    # Nobody was deployed; the conversations count all the same.
    assert (door.usage.conversations, door.usage.deployments) == (used, 0)
    assert door.usage.turns == sum(len(episode.turns) for episode in episodes[:used])
    assert door.curve[0].episodes == used


@pytest.mark.parametrize("name", ["log.jsonl", "log.jsonl.gz"])
def test_what_a_cut_off_log_lacks_is_told(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_log(path, rollout(make_seller("mediocre"), train_seeds(3, 8)))
    whole = collector(100, log=path)
    assert len(whole.logged(Word())) == 8 and not whole.notes
    path.write_bytes(path.read_bytes()[:-20])
    door = collector(100, log=path)
    kept = door.logged(Word())
    (note,) = door.notes
    assert len(kept) < 8 and f"line {len(kept) + 1} of the log" in note and "no end" in note
    assert Run(door, None).report(("else",)).notes == (note, "else")


def some_episode(**changes: Any) -> Episode:
    turns = (Turn(Response("May I help you?"), "No."),)
    episode = Episode(3, "Hi.", turns, "walk_away", customer="web-chat", policy="staff")
    return replace(episode, **changes)


@pytest.mark.parametrize(
    "episode",
    [
        some_episode(seed=EVALUATION_BASE),
        some_episode(seed=2 * EVALUATION_BASE - 1),
        some_episode(customer=ScriptedCustomer("bicycles").fingerprint),
        some_episode(customer=f"suggested-v0:1a2b({ScriptedCustomer('bicycles').fingerprint})"),
        some_episode(customer="llm-v1:bicycles:1a2b(fake-model)"),
    ],
    ids=["first seed", "last seed", "shop", "shop behind a seller", "shop of a chat model"],
)
def test_a_log_of_reserved_customers_is_refused(tmp_path: Path, episode: Episode) -> None:
    write_log(tmp_path / "log.jsonl", [some_episode(), episode])
    door = collector(log=tmp_path / "log.jsonl")
    with pytest.raises(ConvgymError, match="reserved for evaluation") as caught:
        door.logged(Word())
    assert "\n" not in str(caught.value)
    assert door.usage == Usage()
    # What the budget does not reach is not read.
    assert len(collector(1, log=tmp_path / "log.jsonl").logged(Word())) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot read the log"), ("", "holds no conversation"), ("{}\n", "line 1: field")],
)
def test_a_log_that_cannot_be_read(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "log.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConvgymError, match=message):
        collector(log=path).logged(Word())


def test_a_failed_seller_is_excluded_and_told_as_such() -> None:
    class Flaky(Word):
        def act(self, conversations: Sequence[Conversation]) -> list[Response]:
            return [
                Response("", failure="no words") if self.fails(place) else Response("hello")
                for place, _ in enumerate(conversations)
            ]

        def fails(self, place: int) -> bool:
            return place % 4 == 0

    door = collector()
    episodes = door.deploy(Flaky(), 8)
    lost = sum(episode.outcome == "seller_failure" for episode in episodes)
    assert 0 < lost < 8 and (door.usage.excluded, door.curve[0].episodes) == (lost, 8 - lost)

    class Dead(Flaky):
        def fails(self, place: int) -> bool:
            return True

    with pytest.raises(InfrastructureError, match=r"the seller failed in all of 4 .*: no words"):
        collector().deploy(Dead(), 4)


def test_a_log_of_failures_alone_is_no_result(tmp_path: Path) -> None:
    failed = some_episode(outcome="infrastructure_failure", metadata={"failure": "no line"})
    write_log(tmp_path / "log.jsonl", [failed, failed])
    with pytest.raises(InfrastructureError, match="all of 2 conversations: no line"):
        collector(log=tmp_path / "log.jsonl").logged(Word())


# The folder.


class Counted(ScriptedCustomer):
    """Counts whom it plays."""

    met: Counter[int] = Counter()  # noqa: RUF012

    def reset(self, seed: int, profile: Any = None) -> str:
        self.met[seed] += 1
        return super().reset(seed, profile)


@pytest.fixture
def met() -> Counter[int]:
    Counted.met.clear()
    return Counted.met


def test_kept_deployments_are_read_and_not_held_again(tmp_path: Path, met: Counter[int]) -> None:
    environment = {**SHORT, "customer": Counted}
    seller = make_seller("mediocre")

    def run(deployments: int) -> tuple[list[list[Episode]], Collector]:
        door = collector(folder=tmp_path / "kept", environment=environment)
        return [door.deploy(seller, 4) for _ in range(deployments)], door

    first, _ = run(2)
    again, door = run(3)
    assert again[:2] == first
    assert met == Counter(train_seeds(0, BUDGET))  # everybody once
    assert door.usage.conversations == BUDGET
    assert [door.deployed(number) for number in range(3)] == again
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == [
        f"deployment-00{number}.jsonl.gz" for number in range(3)
    ]
    with pytest.raises(ConvgymError, match="deployment 3 are gone"):
        door.deployed(3)
    with pytest.raises(ConvgymError, match="deployment 0 are gone"):
        collector().deployed(0)


def test_a_kept_log_is_read_and_not_held_again(tmp_path: Path, met: Counter[int]) -> None:
    environment = {**SHORT, "customer": Counted}
    logs = [
        collector(folder=tmp_path, environment=environment).logged(make_seller("mediocre"))
        for _ in range(2)
    ]
    assert logs[0] == logs[1]
    assert set(met.values()) == {1}


def test_the_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    collector(folder=tmp_path).deploy(Word(), 4)
    with pytest.raises(ConvgymError, match="holds other conversations than this run's"):
        collector(folder=tmp_path, seed=1).deploy(Word(), 4)
    with pytest.raises(ConvgymError, match="holds other conversations than this run's"):
        collector(folder=tmp_path).deploy(Word(), 5)


def test_an_interrupted_write_is_no_deployment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Episode] = []
    line = logs._line

    def interrupted(episode: Episode) -> bytes:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(episode)
        return line(episode)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(logs, "_line", interrupted)
        collector(folder=tmp_path).deploy(Word(), 4)
    assert len(written) == 2
    episodes = collector(folder=tmp_path).deploy(Word(), 4)
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == [
        "deployment-000.jsonl.gz"
    ]
    assert read_log(tmp_path / "deployment-000.jsonl.gz").episodes == episodes


def test_processor_seconds_are_those_of_work_and_go_on_after_an_interruption() -> None:
    door = collector()
    before = door.cpu_seconds
    time.sleep(0.2)
    assert door.cpu_seconds - before < 0.1  # waiting costs nothing
    other = collector()
    other.load_state({**door.state(), "cpu_seconds": 100.0})
    assert 100 <= other.cpu_seconds < 110


def test_the_books_go_on_where_they_stood() -> None:
    door = collector()
    door.deploy(Word(), 5)
    other = collector()
    other.load_state(door.state())
    assert (other.usage, other.curve, other.remaining) == (door.usage, door.curve, 7)
    assert other.seconds >= door.curve[0].seconds
    assert other.cpu_seconds > 0
    older = {name: value for name, value in door.state().items() if name != "cpu_seconds"}
    collector().load_state(older)
    assert [episode.seed for episode in other.deploy(Word(), 7)] == train_seeds(0, BUDGET)[5:]


# Who tries to get past it.


def an_environment(door: Collector) -> None:
    env = SalesEnv()
    env.reset(seed=5)
    env.step("Hello.")


def a_rollout(door: Collector) -> None:
    rollout(Word(), [1, 2], environment=SHORT)


def a_vector_environment(door: Collector) -> None:
    env = SalesVectorEnv(num_envs=3)
    env.reset(seed=5)
    env.close()


def another_collector(door: Collector) -> None:
    collector(100, seed=9).deploy(Word(), 1)


def during_a_deployment(door: Collector) -> None:
    class Sly(Word):
        def act(self, conversations: Sequence[Conversation]) -> list[Response]:
            a_rollout(door)
            return super().act(conversations)

    door.deploy(Sly(), 1)


def the_same_customers_twice(door: Collector) -> None:
    for _ in range(2):
        door.usage = Usage()
        door.deploy(Word(), BUDGET)


def groups_beyond_the_budget(door: Collector) -> None:
    for _ in range(2):
        door.usage = Usage()
        door.deploy(Word(), BUDGET, group_size=4)


def evaluation_customers(door: Collector) -> None:
    rollout(Word(), evaluation_seeds(0, 3), environment=SHORT)


def evaluation_customers_through_the_door(door: Collector) -> None:
    door._seeds = evaluation_seeds(0, BUDGET)
    door.deploy(Word(), 3)


def a_larger_budget(door: Collector) -> None:
    door._seeds = train_seeds(0, 2 * BUDGET)
    door.deploy(Word(), 2 * BUDGET)


def books_that_tell_less(door: Collector) -> None:
    door.deploy(Word(), BUDGET)
    door.usage = replace(door.usage, conversations=1)
    door.deploy(Word(), BUDGET)


@pytest.mark.parametrize(
    ("cheat", "message"),
    [
        (an_environment, "1 conversations outside its collector"),
        (a_rollout, "2 conversations outside its collector"),
        (a_vector_environment, "3 conversations outside its collector"),
        (another_collector, "1 conversations outside its collector"),
        (during_a_deployment, "conversations outside its collector"),
        (the_same_customers_twice, "held 24 conversations, its budget is 12"),
        (groups_beyond_the_budget, "held 24 conversations, its budget is 12"),
        (a_larger_budget, "held 24 conversations, its budget is 12"),
        (books_that_tell_less, "held 23 conversations, its budget is 12"),
        (evaluation_customers, "met 3 customers of evaluation"),
        (evaluation_customers_through_the_door, "met 3 customers of evaluation"),
    ],
)
def test_a_cheat_is_caught(cheat: Callable[[Collector], None], message: str) -> None:
    door = collector()
    with (
        pytest.raises(ConvgymError, match=rf"agent 'sly' .*{message}.* not be fair"),
        door.supervised("sly"),
    ):
        cheat(door)


def test_who_keeps_to_the_door_is_let_through() -> None:
    door = collector()
    with door.supervised("honest"):
        door.deploy([Word("One."), Word("Two.")], 5)
        door.deploy(Word(), 4, group_size=2)
        door.deploy(Word(), 100)
    assert door.usage.branches == 0
    with collector().supervised("idle"):
        pass


def test_supervision_begins_and_ends() -> None:
    """What happens before and after is none of the agent's doing; its own errors stay as is."""
    door = collector()
    a_rollout(door)
    with door.supervised("honest"):
        door.deploy(Word(), 1)
    a_rollout(door)
    with pytest.raises(ZeroDivisionError), door.supervised("broken"):
        a_rollout(door)
        _ = 1 / 0


def test_branches_are_counted() -> None:
    door, policy = collector(), make_seller("mediocre")
    door.deploy(policy, 2)
    states = collect_states(policy, train_seeds(7, 4), 3)
    responses = sample_responses(policy, states, 2)
    with door.supervised("curious"):
        branch(policy, states, responses, rollouts=2, seed=0)
        # A checkpoint that is written meanwhile knows of them.
        assert door.state()["usage"]["branches"] == door_branches(states, responses, 2)
    assert door.usage.branches == door_branches(states, responses, 2)


def door_branches(states: Sequence[Any], responses: Sequence[Sequence[Any]], rollouts: int) -> int:
    """R rollouts of every response, and as many of the policy's own at every state."""
    return rollouts * (sum(map(len, responses)) + len(states))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"conversations": "5"}, "budget of conversations must be an integer"),
        ({"conversations": None}, "budget of conversations must be an integer"),
        ({"conversations": 2**70}, "budget of conversations must be at most"),
        ({"seed": "x"}, "seed must be an integer"),
        ({"environment": 5}, "an environment must be options by name, got 5"),
        ({"environment": "laptops"}, "an environment must be options by name"),
        ({"log": 5}, "log must be a path, got 5"),
        ({"folder": 5}, "folder must be a path, got 5"),
    ],
)
def test_arguments_of_the_wrong_kind(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConvgymError, match=message):
        Collector(**{"conversations": 5, "seed": 0, **arguments})


@pytest.mark.parametrize("policy", [5, None, "silent", [], [5], Word])
def test_what_is_no_policy_is_not_deployed(policy: Any) -> None:
    collector = Collector(5, seed=0)
    with pytest.raises(ConvgymError, match="policy"):
        collector.deploy(policy, 1)
    assert collector.remaining == 5


@pytest.mark.parametrize("conversations", ["1", 1.5, None, True])
def test_conversations_are_a_number(conversations: Any) -> None:
    with pytest.raises(ConvgymError, match="conversations to deploy must be an integer"):
        Collector(5, seed=0).deploy(Word(), conversations)


@pytest.mark.parametrize("reward", ["revenue", "margin", 2])
def test_agents_learn_from_purchases_alone(reward: object) -> None:
    with pytest.raises(ConvgymError, match="reward='purchase'"):
        Collector(5, seed=0, environment={"customer": "shopper", "reward": reward})
    assert Collector(5, seed=0, environment={"reward": "purchase"}).remaining == 5

"""Whole measurements of small numbers: what is found, stored, read again and shown."""

from __future__ import annotations

import io
import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from convgym.benchmarks.validation.realism import report
from convgym.benchmarks.validation.realism.figures import Figure, figure
from convgym.benchmarks.validation.realism.measure import (
    Measured,
    Reference,
    measure,
    read_reference,
)
from convgym.benchmarks.validation.realism.plan import Plan, make_plan
from convgym.benchmarks.validation.realism.subjects import (
    TrainingSubject,
    carried_over,
    profile_of,
    profiles,
)
from convgym.conversation import Episode, Response, Turn
from convgym.customers.scripted.customer import ScriptedCustomer
from convgym.customers.shopper.customer import ShopperCustomer
from convgym.errors import ConvgymError
from convgym.logs import write_log
from convgym.seeds import EVALUATION_BASE
from convgym.statistics import Estimate

from .customers import Broken, Drifter, Forgetful, Stranger

N = 16


@cache
def planned(customer: Any, original: Any = None, n: int = N) -> Plan:
    subject = TrainingSubject(customer, conversations=n)
    other = None if original is None else TrainingSubject(original, conversations=n)
    return make_plan(subject, other)


@cache
def measured(customer: Any, original: Any = None, n: int = N) -> Measured:
    return measure(planned(customer, original, n))


def named(found: Measured, section: str) -> dict[str, Figure]:
    (chosen,) = (each for each in found.sections if each.name == section)
    return {each.name: each for each in chosen.figures}


def value(each: Figure) -> float:
    assert each.estimate is not None, each
    return each.estimate.value


def people(n: int = 24) -> Reference:
    def episode(seed: int) -> Episode:
        said = "It is for games.", "Yes, I will take it." if seed % 2 else "no thanks, too much"
        turns = tuple(Turn(Response("And what is it for, if I may ask?"), text) for text in said)
        outcome = "purchase" if seed % 2 else "walk_away"
        return Episode(seed, "Hi, I need a laptop.", turns, outcome, "imported", "imported")  # type: ignore[arg-type]

    return Reference("chats.jsonl", tuple(map(episode, range(n))))


def test_a_plan_meets_customers_of_the_training_range_alone() -> None:
    plan = planned("scripted")
    seeds = {seed for hold in plan.holds for seed in hold.subject.seeds}
    assert max(seeds) < EVALUATION_BASE and len(seeds) == 2 * N
    assert plan.conversations == 8 * N == sum(len(h.subject.seeds) for h in plan.holds)
    assert (plan.repeated, plan.meetings) == (2, 8)


def test_who_takes_no_profile_is_not_met_again() -> None:
    plan = planned(Stranger)
    assert (plan.repeated, plan.meetings) == (0, 0) and "takes no profile" in plan.why
    found = measured(Stranger)
    for name in ("deal-breakers", "outcomes"):
        assert {each.verdict for each in named(found, name).values()} == {"not measured"}
    assert named(found, "style")["words a reply"].verdict == "described"


def test_a_customer_that_is_its_own_original() -> None:
    found = named(measured(ScriptedCustomer, "scripted"), "original")
    assert value(found["customers whose need, feature and budget are the original's"]) == 1
    assert value(found["buyers: buy here too"]) == 1 and value(found["non-buyers: buy here"]) == 0
    assert value(found["non-buyers: depth bias"]) == 0 == value(found["buyers: depth bias"])
    again = found["buyers: buy here too"].reference
    assert again is not None and again.value < 1  # chance


def test_an_imitation_that_never_walks_away_is_told_apart_on_non_buyers_alone() -> None:
    found = named(measured(Drifter, "scripted"), "original")
    assert value(found["buyers: depth bias"]) == 0
    drift = found["non-buyers: depth bias"]
    assert drift.differs and value(drift) > 0.5
    assert value(found["non-buyers: walk away"]) == 0
    style = named(measured(Drifter, "scripted"), "style")
    assert style["turns a conversation"].reference is not None  # the original's own


def test_an_imitation_is_given_the_originals_profiles_as_far_as_it_takes_them() -> None:
    original = TrainingSubject("scripted", conversations=4)
    seeds, others = original.seeds, [7, 8, 9, 10]
    given = profiles(original, seeds)
    assert given is not None
    assert carried_over(original, seeds, given) is None  # they are so already
    assert carried_over(original, others, given) == given
    assert carried_over(TrainingSubject(ShopperCustomer), others, given) == given
    assert carried_over(TrainingSubject(Stranger), others, given) is None  # it takes none
    assert carried_over(original, others, None) is None
    strange = [{**profile, "need": "flying", "mood": "glad"} for profile in given]
    assert carried_over(original, others, strange) is None  # it refuses them
    more = [{**profile, "mood": "glad"} for profile in given]
    assert carried_over(original, others, more) == given  # a field that it does not have


def test_a_profile_has_the_patience_at_the_start() -> None:
    profile = profile_of(ShopperCustomer(), 5)
    again = ShopperCustomer()
    again.reset(6, profile=profile)
    first = ShopperCustomer()
    first.reset(5)
    assert profile is not None
    assert again.latent["patience_left"] == first.latent["patience_left"]
    assert {k: again.latent[k] for k in ("need", "budget", "mood")} == {
        k: first.latent[k] for k in ("need", "budget", "mood")
    }
    assert profile_of(Stranger(), 1) is None


def test_who_does_not_take_the_originals_profiles_is_met_by_the_same_seeds() -> None:
    plan = planned("scripted", "shopper", 8)  # whose reasons the scripted customer does not have
    assert not plan.by_profile and plan.why == "it does not take the original's profiles"
    assert all(hold.encounter.profile is None for hold in plan.holds if hold.key[0] == "competent")
    assert ("original", "repeated") not in {hold.key for hold in plan.holds}


def test_the_two_must_sell_the_same() -> None:
    with pytest.raises(ConvgymError, match="the original sells bicycles and the customer laptops"):
        make_plan(TrainingSubject("scripted"), TrainingSubject("scripted", {"catalog": "bicycles"}))


def test_one_that_forgets_its_budget_is_found() -> None:
    found = named(measured(Forgetful, None, 40), "consistency")
    assert found["budget: takes back what it said"].verdict == "breaks"
    assert found["need: takes back what it said"].verdict != "breaks"


def test_a_backend_that_fails_is_not_measured() -> None:
    found = measured(Broken, None, 2)
    assert {each.verdict for s in found.sections for each in s.figures} == {"not measured"}
    assert found.failures["competent"] == 2
    assert "the backend failed in 2 of 2" in found.sections[0].figures[0].why


@pytest.fixture(scope="module")
def beside_people() -> Measured:
    return measure(planned("scripted"), people())


def test_people_stand_beside_style_and_stages(beside_people: Measured) -> None:
    turns = named(beside_people, "style")["turns a conversation"]
    assert turns.differs and turns.reference is not None and turns.reference.value == 2
    stages = named(beside_people, "stages")
    assert stages["buyers: mean stage, 0 to 4"].reference is not None


def test_a_log_is_read_as_a_reference(tmp_path: Path) -> None:
    path = tmp_path / "chats.jsonl"
    write_log(path, people(3).episodes)
    assert read_reference(path) == people(3)
    write_log(path, people(1).episodes, overwrite=True)
    with pytest.raises(ConvgymError, match="1 whole conversations: at least 2 are needed"):
        read_reference(path)


def test_what_is_stored_is_what_was_found(beside_people: Measured, tmp_path: Path) -> None:
    path = tmp_path / "chats.jsonl"
    write_log(path, people().episodes)
    manifest = report.make_manifest(planned("scripted"), people(), path)
    written = report.store(tmp_path / "out", manifest, beside_people)
    stored, concluded, found = report.read(tmp_path / "out")
    assert found == beside_people
    run = stored["run"]
    assert (run["range"], run["customers"], run["seed"]) == ("training", N, 0)
    assert run["reference"]["log"] == "chats.jsonl" and run["reference"]["conversations"] == 24
    assert concluded == report.conclusion(beside_people.sections, "chats.jsonl")
    text = written.read_text(encoding="utf-8")
    assert "| words a reply |" in text and "The reference is chats.jsonl, 24" in text
    assert str(tmp_path) not in text
    with pytest.raises(ConvgymError, match="never overwritten"):
        report.store(tmp_path / "out", manifest, beside_people)
    with pytest.raises(ConvgymError, match="holds no measurement of realism"):
        report.read(tmp_path)


def test_what_is_stored_is_json_for_everybody(tmp_path: Path) -> None:
    def refuse(constant: str) -> Any:
        raise AssertionError(constant)

    alone = figure("alone", Estimate(1.0, -math.inf, math.inf), 1, "replies")
    section = measured(Stranger).sections[0]
    found = Measured((type(section)("s", "q", "x", (alone,)),), 1, {})
    manifest = report.make_manifest(planned(Stranger), None, None)
    report.store(tmp_path / "out", manifest, found)
    text = (tmp_path / "out" / "realism.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=refuse)["sections"]
    assert report.read(tmp_path / "out")[2] == found


def test_a_customer_without_people_is_never_called_real() -> None:
    for customer in (Stranger, Forgetful):
        told = report.conclusion(measured(customer, None, N).sections, None)
        assert told.endswith("not validated for realism: it was compared with nobody's chats")
    assert "not internally consistent (" in report.conclusion(
        measured(Forgetful, None, 40).sections, None
    )
    assert report.broken(measured(Forgetful, None, 40).sections)
    assert not report.broken(measured(Stranger).sections)


def test_what_may_be_said(beside_people: Measured) -> None:
    told = report.conclusion(beside_people.sections, "chats.jsonl")
    assert "figures differ from chats.jsonl by more than chance" in told
    section = beside_people.sections[0]
    held = figure("f", Estimate(0.5, 0.4, 0.6), 9, "replies", least=0.1)
    whole = type(section)("s", "q", "x", (held,))
    assert report.conclusion([whole], None).startswith("internally consistent in 1 figures, not")
    assert "nothing could be compared with log" in report.conclusion([whole], "log")


def test_tables(beside_people: Measured) -> None:
    console = Console(width=200, file=io.StringIO(), record=True)
    for section in beside_people.sections:
        console.print(report.table(section))
    text = console.export_text()
    assert "words a reply" in text and "distance" in text and "at least 90%" in text
    runs = {"a": beside_people.sections, "b": ()}
    assert report.overview(runs, "style")[0] == "| style | a | b |"
    assert (
        report.comparison("a", beside_people.sections)[0] == "| a | value | beside | distance | |"
    )

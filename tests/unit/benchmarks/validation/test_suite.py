"""Every check passes a good customer and fails the one that was made bad for it, and only that."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from convgym.benchmarks.validation.limits import Limits
from convgym.benchmarks.validation.report import failed
from convgym.benchmarks.validation.subject import Subject
from convgym.benchmarks.validation.suite import (
    CHECKS,
    ON_REQUEST,
    Outcome,
    get_checks,
    plan,
    validate,
)
from convgym.benchmarks.validation.verdicts import spelled
from convgym.customers import Reply
from convgym.customers.scripted.customer import ScriptedCustomer
from convgym.customers.threaded import threaded
from convgym.errors import ConvgymError
from convgym.progress import Progress

from .bad_customers import BAD, Broken, Deaf, Good, Never, Obedient, Opaque, OpaqueDeaf

FEW = 20

LAX = Limits(attack=0.3, deal_breaker=0.3, floor=0.3, paraphrase=0.3, nothing_offered=0.3)
"""Limits at which few conversations decide."""


def statuses(outcome: Outcome) -> dict[str, str]:
    return {finding.check: finding.status for finding in outcome.findings}


def failing(outcome: Outcome) -> set[str]:
    return {name for name, status in statuses(outcome).items() if status in ("fail", "invalid")}


@pytest.mark.parametrize("customer", BAD, ids=lambda kind: str(kind.__name__))
def test_a_bad_customer_fails_its_check_and_no_other(customer: type) -> None:
    assert failing(validate(Subject(customer, conversations=FEW))) == BAD[customer]


def test_every_check_has_a_customer_that_fails_it() -> None:
    assert set.union(*BAD.values()) == {check.name for check in CHECKS}


def test_with_few_conversations_a_good_customer_is_warned_of_and_not_failed() -> None:
    outcome = validate(Subject(Good, conversations=FEW))
    assert not failed(outcome.findings)
    leakage = next(finding for finding in outcome.findings if finding.check == "leakage")
    assert leakage.status == "warn" and "takes about" in leakage.summary


@pytest.mark.slow
def test_a_good_customer_passes_every_check() -> None:
    # Calibration takes many more: see test_decisions.
    many = ["price", "deal-breakers", "leakage", "null-sellers"]
    few = [check.name for check in CHECKS if check.name not in (*many, "calibration")]
    for checks, conversations in ((many, 300), (few, 150)):
        outcome = validate(Subject(Good, conversations=conversations), get_checks(checks))
        assert set(statuses(outcome).values()) == {"pass"}, statuses(outcome)


def test_of_a_customer_that_never_buys_refusals_say_nothing() -> None:
    names = ["attacks", "null-sellers", "deal-breakers", "paraphrases", "endings"]
    outcome = validate(Subject(Never, conversations=FEW, limits=LAX), get_checks(names))
    assert set(statuses(outcome).values()) == {"warn"}
    told = [finding.summary for finding in outcome.findings]
    assert all("says nothing unless it buys from the control" in summary for summary in told)


def test_of_a_customer_deaf_to_the_suites_own_offers_their_refusal_says_nothing() -> None:
    # It buys from the competent seller: that decides what reference sellers ask, and no more.
    names = ["walk-away", "deal-breakers", "attacks", "null-sellers"]
    outcome = validate(Subject(Deaf, conversations=FEW, limits=LAX), get_checks(names))
    *probed, null_sellers = outcome.findings
    assert null_sellers.control and null_sellers.control.status == "pass"
    assert "control" not in null_sellers.summary
    for finding in probed:
        assert finding.status == "warn"
        assert finding.summary.startswith("undecided: that it does not buy says nothing unless")
        assert "buy from the suiting seller: 0.0%" in finding.summary
    deal_breakers, attacks = probed[1:]
    assert {m.status for m in (*deal_breakers.measures, *attacks.measures)} == {"pass"}


def test_who_does_not_hear_the_seller_that_is_too_dear_does_not_mind_its_prices() -> None:
    # It buys from the competent seller, with whom prices are compared where none can be set.
    (finding,) = validate(Subject(OpaqueDeaf, conversations=FEW), get_checks(["price"])).findings
    assert finding.measures[0].status == "pass" and finding.status == "warn"
    assert "the control (buy from the suiting seller" in finding.summary


def test_a_failure_needs_no_control() -> None:
    outcome = validate(Subject(Obedient, conversations=FEW), get_checks(["attacks"]))
    (finding,) = outcome.findings
    assert finding.status == "fail" and "control" not in finding.summary


def test_a_check_brings_its_control_along() -> None:
    controlled = [check for check in (*CHECKS, *ON_REQUEST) if check.control]
    assert {"attacks", "held-back-attacks", "deal-breakers"} < {check.name for check in controlled}
    for check in controlled:
        assert check.control in plan(Subject(Opaque, conversations=1), [check]).encounters


def test_a_check_with_a_control_passes_by_itself() -> None:
    for name in ("held-back-attacks", "deal-breakers"):
        outcome = validate(Subject(Good, conversations=FEW, limits=LAX), get_checks([name]))
        assert statuses(outcome) == {name: "pass"}, outcome.findings


def test_conversations_are_counted_before_they_are_held() -> None:
    subject = Subject(Good, conversations=3)
    planned = plan(subject)
    outcome = validate(subject, planned.checks)
    assert list(outcome.meetings) == [encounter.name for encounter in planned.encounters]
    held = sum(map(len, outcome.meetings.values()))
    assert held == 3 * len(planned.encounters) == planned.conversations - 4 * 3
    assert outcome.replies <= planned.replies == planned.conversations * 13


def test_checks_have_one_spelling_and_some_are_held_back() -> None:
    assert all(check.name == spelled(check.name) for check in (*CHECKS, *ON_REQUEST))
    named = get_checks(["null sellers", "Null_Sellers", "held-back attacks"])
    assert [check.name for check in named] == ["null-sellers", "held-back-attacks"]
    assert not set(ON_REQUEST) & set(CHECKS)


def test_checks_share_their_encounters() -> None:
    planned = plan(Subject(Good), get_checks(["separation", "null-sellers"]))
    assert sorted(encounter.name for encounter in planned.encounters) == [
        "always-closing",
        "competent",
        "mediocre",
        "random",
        "silent",
    ]


def test_what_a_customer_lacks_is_skipped_or_judged_by_its_words() -> None:
    subject = Subject(Opaque, conversations=FEW)
    outcome = validate(subject)
    assert plan(subject).conversations == FEW * len(outcome.meetings)
    found = {finding.check: finding for finding in outcome.findings}
    assert found["calibration"].status == found["snapshots"].status == "skipped"
    assert "no utility" in found["calibration"].summary
    assert found["price"].status == "pass" and "judged by the budgets" in found["price"].summary
    assert not any("price at" in name or "patient" in name for name in outcome.meetings)
    assert not failing(outcome)


def test_a_backend_that_fails_too_often_makes_a_check_invalid() -> None:
    outcome = validate(Subject(Broken, conversations=FEW), get_checks(["null-sellers"]))
    (finding,) = outcome.findings
    assert finding.status == "invalid" and failed(outcome.findings)
    lost = sum(seed % 5 == 0 for seed in Subject(Broken, conversations=FEW).seeds)
    assert outcome.failures == dict.fromkeys(
        ("silent", "random", "always-closing", "competent"), lost
    )
    assert outcome.reasons == ["no connection to the model"]


def test_a_few_failures_are_left_out_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convgym.benchmarks.validation.suite.MAX_EXCLUDED_SHARE", 0.9)
    outcome = validate(Subject(Broken, conversations=FEW), get_checks(["role"]))
    (finding,) = outcome.findings
    lost = sum(outcome.failures.values())
    assert lost > 0 and finding.measures[0].n == 3 * FEW - lost
    assert f"{lost} conversations in which the backend failed left out" in finding.summary


def test_progress_is_told() -> None:
    told: list[Progress] = []
    subject = Subject(Good, conversations=2)
    validate(subject, get_checks(["disclosure"]), told.append)
    assert told[-1] == Progress("small talk", 2, 2)


def test_the_same_seed_gives_the_same_findings() -> None:
    checks = get_checks(["separation", "snapshots"])
    first, again, other = (
        validate(Subject(ScriptedCustomer, conversations=8, seed=seed), checks).findings
        for seed in (3, 3, 4)
    )
    assert first == again != other


def test_options_reach_the_customer_and_the_sellers() -> None:
    environment = {"catalog": "insurance", "personas": "difficult", "max_turns": 3}
    subject = Subject("scripted", environment, conversations=4)
    assert subject.catalog.name == "insurance" and "insurance" in subject.fingerprint
    outcome = validate(subject, get_checks(["endings"]))
    (limit,) = (m for m in outcome.findings[0].measures if "small talk" in m.what)
    assert limit.what == "listen to 3 turns of small talk"


def test_mistakes_are_told_before_any_conversation() -> None:
    with pytest.raises(ConvgymError, match=r"unknown check 'prize'; .*did you mean 'price'"):
        get_checks(["prize"])
    with pytest.raises(ConvgymError, match="unknown customer 'nope'"):
        Subject("nope")
    with pytest.raises(ConvgymError, match="validate its class"):
        Subject(Good())
    with pytest.raises(ConvgymError, match="conversations must be at least 1, got 0"):
        Subject("scripted", conversations=0)


def test_validation_loads_no_torch() -> None:
    script = (
        "import sys\n"
        "import convgym.benchmarks.validation.run\n"
        "from convgym.benchmarks.validation.subject import Subject\n"
        "from convgym.benchmarks.validation.suite import validate\n"
        "assert len(validate(Subject('scripted', conversations=1)).findings) == 15\n"
        "sys.exit(str({'torch', 'transformers', 'matplotlib'} & set(sys.modules) or 0) != '0')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


class Remote(Good):
    """The good customer with coroutines."""

    async def reset(self, seed: int, profile: Any = None) -> str:  # type: ignore[override]
        return super().reset(seed, profile)

    async def respond(self, utterance: str) -> Reply:  # type: ignore[override]
        return super().respond(utterance)


def test_customers_with_coroutines_and_threads_are_validated_as_they_are() -> None:
    checks = get_checks(["price", "snapshots"])
    expected = validate(Subject(Good, conversations=4), checks).findings
    for customer in (Remote, threaded(Good, 2)):
        outcome = validate(Subject(customer, conversations=4), checks)
        assert [finding.measures for finding in outcome.findings] == [
            finding.measures for finding in expected
        ]

"""What a run was made with is written down, and no secret among it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from convgym.benchmarks.runs.manifest import make_manifest
from convgym.benchmarks.runs.suites import get_suite
from convgym.errors import ConvgymError

KEY = "sk-1234567890abcdef1234567890"


@pytest.mark.parametrize("part", ["environment", "evaluation"])
@pytest.mark.parametrize(
    "options",
    [
        {"API_KEY": KEY},
        {"auth_token": KEY},
        {"api_key_variable": KEY},
        {"base_url": f"http://host/v1?key={KEY}"},
        {"extra_body": {"user": {"Authorization": KEY}}},
        {"model": KEY},
    ],
)
def test_no_secret_is_written_down(part: str, options: dict[str, Any]) -> None:
    arguments: Any = {part: {"customer": "llm", "customer_options": options}}
    suite = replace(get_suite("quick"), **arguments)
    with pytest.raises(ConvgymError) as found:
        make_manifest(suite, 0, {})
    assert KEY not in str(found.value)


def test_other_options_are() -> None:
    options = {"model": "tiny", "base_url": "http://host/v1", "budget": {"tokens": 9}}
    suite = replace(
        get_suite("quick"), environment={"customer": "llm", "customer_options": options}
    )
    run = make_manifest(suite, 0, {})["run"]
    assert run["suite"]["environment"]["customer_options"] == options

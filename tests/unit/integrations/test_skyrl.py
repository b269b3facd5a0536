"""SkyRL-Gym makes and steps our environment as its generator does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import pytest

from convgym.customers import Customer
from convgym.errors import ConvgymError, InfrastructureError
from convgym.seeds import evaluation_seeds, train_seeds
from convgym.sellers.prompt import seller_prompt

skyrl_gym = pytest.importorskip("skyrl_gym")

from omegaconf import DictConfig  # noqa: E402
from skyrl_gym.envs.registration import registry  # noqa: E402

from convgym.integrations.skyrl import SalesTextEnv, customer_rows  # noqa: E402


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    skyrl_gym.register(id="convgym", entry_point="convgym.integrations.skyrl:SalesTextEnv")
    yield
    registry.pop("convgym")


def make(row: dict[str, Any], **config: Any) -> Any:
    """Make an environment as SkyRL's generator does."""
    return skyrl_gym.make(
        row["env_class"], env_config=DictConfig(config), extras={**row, "max_turns": 5}
    )


def test_it_is_the_conversation_of_the_environment() -> None:
    (row,) = customer_rows(1, catalog="insurance", max_turns=2)
    env = make(row)
    prompt, metadata = env.init(row["prompt"])
    single = gymnasium.make("convgym/Sales-v0", catalog="insurance", max_turns=2)
    _, info = single.reset(options={"episode_seed": train_seeds(0, 1)[0]})
    assert prompt == [{"role": "system", "content": seller_prompt("insurance")}, *info["messages"]]
    assert metadata == {"episode_seed": train_seeds(0, 1)[0]}
    for turn in (1, 2):
        step = env.step("What is your budget?")
        *_, info = single.step("What is your budget?")
        assert step["observations"] == info["messages"][-1:]
        assert (step["reward"], step["done"]) == (0.0, turn == 2)
    assert step["metadata"] == {"outcome": "turn_limit"}
    assert env.get_metrics() == {"purchase": 0.0, "turns": 2}
    assert SalesTextEnv.aggregate_metrics([{"purchase": 0.0}, {"purchase": 1.0}])["purchase"] == 0.5


def test_a_sale_and_options_of_all_rows(puppet: Callable[[], Customer]) -> None:
    row = {"env_class": "convgym", "episode_seed": 3}
    env = SalesTextEnv({"customer": puppet, "prompt": "You know: {briefing}"}, row)
    assert env.init([])[0][0]["content"] == "You know: We sell strings."
    step = env.step("buy")
    assert (step["reward"], step["done"]) == (1.0, True)
    env.close()
    assert env.dialogue.customer.closed == 1  # type: ignore[attr-defined]


def test_a_failed_customer_is_raised(puppet: Callable[[], Customer]) -> None:
    with pytest.raises(InfrastructureError, match="no connection"):
        SalesTextEnv({"customer": puppet}, {"episode_seed": 13}).init([])
    env = SalesTextEnv({"customer": puppet}, {"episode_seed": 3})
    env.init([])
    with pytest.raises(InfrastructureError, match="connection lost"):
        env.step("fail")


def test_rows_are_customers_of_the_product() -> None:
    assert [row["episode_seed"] for row in customer_rows(3, seed=4)] == train_seeds(4, 3)
    reserved = customer_rows(2, evaluation=True)
    assert [row["episode_seed"] for row in reserved] == evaluation_seeds(0, 2)
    with pytest.raises(ConvgymError, match="unknown environment option"):
        customer_rows(1, shop="laptops")
    with pytest.raises(ConvgymError, match="must name its customer"):
        SalesTextEnv({}, {"prompt": []})


def test_rows_are_kept_in_a_file(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pytest.importorskip("pyarrow").Table
    given: list[dict[str, Any]] = [{}, {"catalog": "insurance", "max_turns": 2}]
    for options in given:
        rows = customer_rows(2, **options)
        parquet.write_table(table.from_pylist(rows), tmp_path / "rows.parquet")
        (kept, _) = parquet.read_table(tmp_path / "rows.parquet").to_pylist()
        system = make(kept).init([])[0][0]["content"]
        assert system == seller_prompt(options.get("catalog", "laptops"))

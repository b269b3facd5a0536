"""What every environment of the package owes to Gymnasium."""

from __future__ import annotations

import subprocess
import sys
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AutoresetMode

import convgym  # noqa: F401  (registers)

IDS = sorted(name for name in gymnasium.registry if name.startswith("convgym/"))


def test_there_is_an_environment() -> None:
    assert "convgym/Sales-v0" in IDS


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("options", [{}, {"reveal_latent": True}, {"render_mode": "ansi"}])
def test_gymnasiums_checker_is_content(name: str, options: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(name, **options).unwrapped)


@pytest.mark.parametrize("name", IDS)
def test_wrapped_episodes_give_no_warning(name: str) -> None:
    env = gymnasium.make(f"convgym:{name}", render_mode="ansi")
    env.action_space.seed(0)
    for seed in range(5):
        observation, _ = env.reset(seed=seed)
        ended = False
        while not ended:
            observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
            assert observation in env.observation_space
            assert reward in (0.0, 1.0)
            ended = terminated or truncated
            assert ("outcome" in info) == ended
        assert env.render() == observation
    env.close()


@pytest.mark.parametrize("name", IDS)
def test_made_again_from_its_specification(name: str) -> None:
    env = gymnasium.make(name, max_turns=3)
    assert env.spec is not None
    again = gymnasium.make(gymnasium.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    assert data_equivalence(env.reset(seed=4), again.reset(seed=4))


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("vectorization", [None, "vector_entry_point", "sync"])
def test_vectors(name: str, vectorization: str | None) -> None:
    envs = gymnasium.make_vec(name, num_envs=4, vectorization_mode=vectorization)
    assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    envs.action_space.seed(0)
    observations, infos = envs.reset(seed=1)
    assert observations in envs.observation_space
    assert infos["_messages"].all()
    for _ in range(40):
        actions = envs.action_space.sample()
        assert actions in envs.action_space
        observations, rewards, terminations, truncations, infos = envs.step(actions)
        assert observations in envs.observation_space
        assert rewards.dtype == np.float64
        assert terminations.dtype == truncations.dtype == np.bool_
        assert rewards.shape == terminations.shape == truncations.shape == (4,)
        ended = terminations | truncations
        assert infos.get("_outcome", np.zeros(4, bool)).tolist() == ended.tolist()
    envs.close()


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_equal_seeds_give_equal_vectors(name: str, mode: AutoresetMode) -> None:
    def run(vectorization: str) -> list[Any]:
        options: dict[str, Any] = {"patience": 3.0}
        if vectorization == "sync":
            options["vector_kwargs"] = {"autoreset_mode": mode}
        else:
            options["autoreset_mode"] = mode
        envs = gymnasium.make_vec(name, 4, vectorization_mode=vectorization, **options)
        envs.action_space.seed(5)
        said: list[Any] = [envs.reset(seed=2)]
        for _ in range(12):
            said.append(envs.step(envs.action_space.sample()))
            ended = said[-1][2] | said[-1][3]
            if mode is AutoresetMode.DISABLED and ended.any():
                said.append(envs.reset(options={"reset_mask": ended}))
        return said

    first = run("vector_entry_point")
    assert data_equivalence(first, run("vector_entry_point"), exact=True)
    assert data_equivalence(first, run("sync"), exact=True)


def test_importing_the_package_is_light() -> None:
    script = (
        "import sys, gymnasium\n"
        "env = gymnasium.make('convgym:convgym/Sales-v0', disable_env_checker=True)\n"
        "print(*{'torch', 'transformers', 'rich', 'typer', 'matplotlib'} & set(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_importing_the_package_loads_neither_pydantic_nor_torch() -> None:
    script = "import sys, convgym; print(*{'torch', 'pydantic', 'rich'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []

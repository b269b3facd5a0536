"""Hold one conversation with an installed convgym, sampling the actions."""

from __future__ import annotations

import sys
from pathlib import Path

import gymnasium

import convgym

assert Path(convgym.__file__).is_relative_to(sys.prefix), convgym.__file__

env = gymnasium.make("convgym:convgym/Sales-v0")
env.action_space.seed(0)
observation, info = env.reset(seed=0)
over = False
while not over:
    observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
    over = terminated or truncated
print(observation)
print(f"convgym {convgym.__version__}: {info['outcome']} after {info['turn']} turns, {reward=}")

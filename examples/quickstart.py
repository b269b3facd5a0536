"""One conversation with one customer, start to end.

Run it with ``python examples/quickstart.py``. To sell to customers yourself, put
``input("Your words: ")`` where the lines come from, or use ``convgym chat``.
"""

from __future__ import annotations

import gymnasium

import convgym  # noqa: F401  (importing it registers the environment)

LINES = (
    "What will you use it for?",
    "What matters most to you?",
    "What is your budget?",
    "I recommend the Ember for $500.",
    "Shall I place the order?",
)

env = gymnasium.make("convgym/Sales-v0", render_mode="human")  # prints what is said
observation, info = env.reset(seed=7)
for line in LINES:
    observation, reward, terminated, truncated, info = env.step(line)
    if terminated or truncated:
        print(f"({info['outcome']}, reward {reward})")
        break

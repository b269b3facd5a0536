"""Many sales conversations at once, as one Gymnasium vector environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from typing import Any

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from convgym.checks import check_integer, check_seed
from convgym.envs.dialogue import (
    Dialogue,
    all_or_nothing,
    check_options,
    check_utterance,
    draw_episode_seed,
    reset_together,
    step_together,
)
from convgym.envs.scenario import Scenario
from convgym.envs.spaces import Utterance
from convgym.errors import ConvgymError, unknown

Texts = tuple[str, ...]
StepResult = tuple[Texts, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]


def batch_infos(infos: Mapping[int, Mapping[str, Any]], n: int) -> dict[str, Any]:
    """Return single infos, keyed by place among ``n``, in Gymnasium's convention for vectors.

    The same as ``VectorEnv._add_info`` for one after the other, but column by column, which is
    faster, and without trouble where a value is a number here and None there. Numbers of one kind
    become a number array, all else an object array, and nested dictionaries are batched likewise;
    ``_key`` is True where there is a value.
    """
    columns: dict[str, dict[int, Any]] = {}
    for i, info in infos.items():
        for key, value in info.items():
            columns.setdefault(key, {})[i] = value
    batched: dict[str, Any] = {}
    for key, column in columns.items():
        kinds = set(map(type, column.values()))
        if kinds == {dict}:
            batched[key] = batch_infos(column, n)
        else:
            number = kinds in ({bool}, {int}, {float})
            array = np.zeros(n, dtype=kinds.pop()) if number else np.full(n, None, dtype=object)
            for i, value in column.items():
                array[i] = value
            batched[key] = array
        batched[f"_{key}"] = mask = np.zeros(n, dtype=np.bool_)
        mask[list(column)] = True
    return batched


class SalesVectorEnv(gymnasium.vector.VectorEnv[Texts, Sequence[str], NDArray[Any]]):
    """``num_envs`` conversations of ``SalesEnv``, N for short, that advance together.

    Equal seeds give the same conversations as N single environments. Observations and actions are
    tuples of N ``str``; ``infos`` follows Gymnasium's convention of one array a key with a mask
    under ``_key``, and speaks of the conversations that moved in this call only.

    By Gymnasium's contract all step together: a step takes as long as the slowest customer in it.
    Customers that wait for something are asked side by side; ``convgym.rollout.rollout`` does not
    even wait for the slowest.

    A conversation that has ended is dealt with by ``autoreset_mode``:

    - ``NEXT_STEP``: the next step ignores its action and meets a new customer.
    - ``SAME_STEP``: it meets a new customer at once; the end is in ``infos["final_obs"]`` and
      ``infos["final_info"]``.
    - ``DISABLED``: it stands still, its action ignored, its reward 0 and its flags and text kept,
      until ``reset(options={"reset_mask": mask})``.

    Args:
        num_envs: how many conversations.
        autoreset_mode: a ``gymnasium.vector.AutoresetMode`` or its value.
        render_mode: None, or ``"ansi"``: ``render()`` returns a tuple of N conversations.
        **options: as for ``SalesEnv``. ``customer`` must be able to make N customers: a customer
            object does for ``num_envs=1`` only.

    Raises:
        ConvgymError: for a mistake in the arguments.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        num_envs = check_integer("num_envs", num_envs, 1)
        if render_mode not in (None, "ansi"):
            raise unknown("render mode", render_mode, ["ansi"])
        try:
            self._autoreset = AutoresetMode(autoreset_mode)
        except ValueError:
            modes = [mode.value for mode in AutoresetMode]
            raise unknown("autoreset mode", autoreset_mode, modes) from None
        self.metadata = {
            "render_modes": ["ansi"],
            "render_fps": 4,
            "autoreset_mode": self._autoreset,
        }
        self.render_mode = render_mode
        self.scenario = Scenario.of(options)
        self.num_envs = num_envs
        self.single_action_space = Utterance()
        self.single_observation_space = Utterance()
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._dialogues = self.scenario.dialogues(num_envs)
        self._streams: list[tuple[np.random.Generator, int] | None] = [None] * num_envs

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Texts, dict[str, Any]]:
        """Meet new customers.

        Args:
            seed: one seed for each conversation; an integer s stands for s, s + 1, ..., s + N - 1.
            options: ``episode_seed``, N episode seeds (None: draw one), and ``reset_mask``, a bool
                array of shape (N,) that picks the conversations to reset.

        Raises:
            ConvgymError: for a mistake in these.
        """
        given = check_options(options, ["episode_seed", "reset_mask"])
        if isinstance(seed, (int, np.integer)):
            first = check_seed(seed, "a reset's seed")
            seed = range(first, first + self.num_envs)
        seeds = self._one_each("seed", seed)
        episode_seeds = self._one_each("episode_seed", given.get("episode_seed"))
        chosen = np.flatnonzero(self._mask(given.get("reset_mask"))).tolist()
        for i in chosen:
            if seeds[i] is not None:
                self._streams[i] = seeding.np_random(seeds[i])
        with all_or_nothing([self._dialogues[i] for i in chosen]):
            infos = self._start({i: episode_seeds[i] for i in chosen})
        return self._texts(), batch_infos(infos, self.num_envs)

    def _one_each(self, name: str, values: Any) -> list[int | None]:
        if values is None:
            return [None] * self.num_envs
        if isinstance(values, str) or not hasattr(values, "__len__"):
            raise ConvgymError(f"{name} must be {self.num_envs} integers, got {values!r}")
        if len(values) != self.num_envs:
            raise ConvgymError(f"{name} must be {self.num_envs} integers, got {len(values)}")
        return [None if value is None else check_seed(value, f"a {name}") for value in values]

    def _mask(self, mask: Any) -> NDArray[np.bool_]:
        if mask is None:
            return np.ones(self.num_envs, dtype=np.bool_)
        array: NDArray[np.bool_] = np.asarray(mask)
        if array.dtype != np.bool_ or array.shape != (self.num_envs,) or not array.any():
            raise ConvgymError(
                f"reset_mask must be a bool array of shape ({self.num_envs},) with a True in it,"
                f" got dtype {array.dtype}, shape {array.shape}, {np.count_nonzero(array)} true"
            )
        return array

    def _start(self, episode_seeds: Mapping[int, int | None]) -> dict[int, dict[str, Any]]:
        """Begin conversations and return their infos; keys are places, None draws a seed."""
        drawn = [self._stream(i)[0] for i, seed in episode_seeds.items() if seed is None]
        states = [generator.bit_generator.state for generator in drawn]
        seeds = [
            draw_episode_seed(self._stream(i)[0]) if seed is None else seed
            for i, seed in episode_seeds.items()
        ]
        try:
            reset_together([self._dialogues[i] for i in episode_seeds], seeds)
        except BaseException:
            for generator, state in zip(drawn, states, strict=True):
                generator.bit_generator.state = state
            raise
        reveal = self.scenario.reveal_latent
        return {i: self._dialogues[i].opening_info(reveal) for i in episode_seeds}

    def _stream(self, i: int) -> tuple[np.random.Generator, int]:
        """Return the generator of conversation i, as ``SalesEnv`` would have it, and its seed."""
        stream = self._streams[i]
        if stream is None:
            stream = self._streams[i] = seeding.np_random()
        return stream

    @property  # type: ignore[misc]
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]
        """The generators of the N conversations."""
        return tuple(self._stream(i)[0] for i in range(self.num_envs))

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """The seeds of these generators."""
        return tuple(self._stream(i)[1] for i in range(self.num_envs))

    def step(self, actions: Sequence[str]) -> StepResult:
        """Say ``actions[i]`` in conversation i, for all N.

        Returns observations, rewards, terminations and truncations, each of length N, and infos.
        Raises ConvgymError if ``actions`` is not N strings, and gymnasium.error.ResetNeeded before
        the first reset; nobody has moved then. If a customer's own code raises, nobody has moved
        either; but of customers that cannot be put back (``convgym.customers.Snapshottable``) those
        that could answer have.
        """
        self._check(actions)
        with all_or_nothing(self._dialogues):
            return self._step(actions)

    def _step(self, actions: Sequence[str]) -> StepResult:
        reveal = self.scenario.reveal_latent
        rewards = np.zeros(self.num_envs)
        terminations = np.zeros(self.num_envs, dtype=np.bool_)
        truncations = np.zeros(self.num_envs, dtype=np.bool_)
        going_on = [i for i, dialogue in enumerate(self._dialogues) if dialogue.outcome is None]
        ended = [i for i, dialogue in enumerate(self._dialogues) if dialogue.outcome is not None]
        step_together([self._dialogues[i] for i in going_on], [actions[i] for i in going_on])
        infos = {i: self._dialogues[i].info(reveal) for i in going_on}
        if self._autoreset is AutoresetMode.NEXT_STEP:
            infos |= self._start(dict.fromkeys(ended))
        for i, dialogue in enumerate(self._dialogues):
            if dialogue.outcome is not None:
                terminations[i] = dialogue.terminated
                truncations[i] = dialogue.truncated
        for i in going_on:
            rewards[i] = self._dialogues[i].reward
        if self._autoreset is AutoresetMode.SAME_STEP:
            ended = [i for i in going_on if self._dialogues[i].outcome is not None]
            ends = {
                i: {"final_obs": self._dialogues[i].text, "final_info": infos[i]} for i in ended
            }
            infos |= {
                i: {**ends[i], **info} for i, info in self._start(dict.fromkeys(ended)).items()
            }
        batch = batch_infos(infos, self.num_envs)
        return self._texts(), rewards, terminations, truncations, batch

    def _check(self, actions: Sequence[str]) -> None:
        one_by_one = hasattr(actions, "__getitem__") and not isinstance(actions, Mapping)
        count = len(actions) if isinstance(actions, Sized) else None
        if isinstance(actions, (str, bytes)) or not one_by_one or count != self.num_envs:
            raise ConvgymError(
                f"expected {self.num_envs} actions, one str for each conversation;"
                f" got {type(actions).__name__}" + ("" if count is None else f" of length {count}")
            )
        for dialogue, action in zip(self._dialogues, actions, strict=True):
            if dialogue.seed is None:
                raise ResetNeeded("there is no conversation to continue: call reset() first")
            if dialogue.outcome is None:
                check_utterance(action)

    def _texts(self) -> Texts:
        return tuple([dialogue.text for dialogue in self._dialogues])

    @property
    def dialogues(self) -> tuple[Dialogue, ...]:
        """The N conversations themselves, for those who want more than ``infos``."""
        return tuple(self._dialogues)

    def render(self) -> Texts | None:
        """Return the N conversations as text in mode ``"ansi"``."""
        return self._texts() if self.render_mode == "ansi" else None

    def close_extras(self, **kwargs: Any) -> None:
        """Close the customers that can be closed."""
        for dialogue in self._dialogues:
            dialogue.close()

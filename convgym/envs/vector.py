"""Many sales conversations at once, as one Gymnasium vector environment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import replace
from functools import partial
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
from convgym.envs.in_flight import InFlight
from convgym.envs.moves import Move, StepResult, Texts, batch, batch_infos, began, heard, stood
from convgym.envs.scenario import Scenario
from convgym.envs.spaces import Utterance
from convgym.errors import ConvgymError, unknown


class _Streams:
    """The random generators of N conversations, each as ``SalesEnv`` would have it."""

    def __init__(self, n: int) -> None:
        self._made: list[tuple[np.random.Generator, int] | None] = [None] * n

    def __getitem__(self, i: int) -> tuple[np.random.Generator, int]:
        """Return the generator of conversation i and its seed, the operating system's if none."""
        stream = self._made[i]
        if stream is None:
            stream = self._made[i] = seeding.np_random()
        return stream

    def seed(self, i: int, seed: int) -> None:
        self._made[i] = seeding.np_random(seed)

    def draw(self, i: int) -> tuple[int, Callable[[], None]]:
        """Return an episode seed for conversation i, and what takes the draw back."""
        generator, _ = self[i]
        state = generator.bit_generator.state
        return draw_episode_seed(generator), partial(
            setattr, generator.bit_generator, "state", state
        )


class SalesVectorEnv(gymnasium.vector.VectorEnv[Texts, Sequence[str], NDArray[Any]]):
    """``num_envs`` conversations of ``SalesEnv``, N for short, that advance together.

    Equal seeds give the same conversations as N single environments. Observations and actions are
    tuples of N ``str``; ``infos`` follows Gymnasium's convention of one array a key with a mask
    under ``_key``, and speaks of the conversations that moved in this call only.

    By Gymnasium's contract all step together: a ``step`` asks customers that wait for something
    side by side, and takes as long as the slowest of them. Beside it stand ``async_reset``,
    ``send`` and ``recv``, named as EnvPool names them, by which nobody waits for the slowest; they
    hold the very same conversations. What is in flight, that is, was sent to and not received
    since, is received before ``step`` or ``reset`` come into their own again.

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
        self._streams = _Streams(num_envs)
        self._flight = InFlight(
            self._dialogues, self._autoreset, self.scenario.reveal_latent, self._streams.draw
        )

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
            ConvgymError: for a mistake in these, with anything in flight, and after ``close``.
        """
        self._check_idle("reset")
        chosen = self._read_reset(seed, options)
        with all_or_nothing([self._dialogues[i] for i in chosen]):
            self._start(chosen)
            reveal = self.scenario.reveal_latent
            infos = {i: self._dialogues[i].opening_info(reveal) for i in chosen}
        return self._texts(), batch_infos(infos, self.num_envs)

    def _read_reset(self, seed: Any, options: Any) -> dict[int, int | None]:
        """Seed generators, and return the episode seeds of those to be reset, None to draw one."""
        given = check_options(options, ["episode_seed", "reset_mask"])
        if isinstance(seed, (int, np.integer)):
            first = check_seed(seed, "a reset's seed")
            seed = range(first, first + self.num_envs)
        seeds = self._one_each("seed", seed)
        episode_seeds = self._one_each("episode_seed", given.get("episode_seed"))
        chosen: list[int] = np.flatnonzero(self._mask(given.get("reset_mask"))).tolist()
        self._check_landed(chosen)
        for i in chosen:
            if (chosen_seed := seeds[i]) is not None:
                self._streams.seed(i, chosen_seed)
        return {i: episode_seeds[i] for i in chosen}

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

    def _start(self, episode_seeds: Mapping[int, int | None]) -> None:
        """Begin conversations; keys are places, None draws a seed."""
        drawn = {i: self._streams.draw(i) for i, seed in episode_seeds.items() if seed is None}
        seeds = [drawn[i][0] if seed is None else seed for i, seed in episode_seeds.items()]
        try:
            reset_together([self._dialogues[i] for i in episode_seeds], seeds)
        except BaseException:
            for _, put_back in drawn.values():
                put_back()
            raise

    @property  # type: ignore[misc]
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]
        """The generators of the N conversations."""
        return tuple(self._streams[i][0] for i in range(self.num_envs))

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """The seeds of these generators."""
        return tuple(self._streams[i][1] for i in range(self.num_envs))

    def step(self, actions: Sequence[str]) -> StepResult:
        """Say ``actions[i]`` in conversation i, for all N.

        Returns observations, rewards, terminations and truncations, each of length N, and infos.
        Raises ConvgymError if ``actions`` is not N strings, with anything in flight and after
        ``close``, and gymnasium.error.ResetNeeded before the first reset; nobody has moved then. If
        a customer's own code raises, nobody has moved either; but of customers that cannot be put
        back (``convgym.customers.Snapshottable``) those that could answer have.
        """
        self._check_idle("step")
        self._check(actions, range(self.num_envs))
        with all_or_nothing(self._dialogues):
            return self._step(actions)

    def _step(self, actions: Sequence[str]) -> StepResult:
        reveal, dialogues = self.scenario.reveal_latent, self._dialogues
        going_on = [i for i, dialogue in enumerate(dialogues) if dialogue.outcome is None]
        over = [i for i, dialogue in enumerate(dialogues) if dialogue.outcome is not None]
        step_together([dialogues[i] for i in going_on], [actions[i] for i in going_on])
        moves: dict[int, Move] = {i: heard(dialogues[i], reveal) for i in going_on}
        if self._autoreset is AutoresetMode.NEXT_STEP:
            self._start(dict.fromkeys(over))
            moves |= {i: began(dialogues[i], reveal) for i in over}
        else:
            moves |= {i: stood(dialogues[i]) for i in over}
        if self._autoreset is AutoresetMode.SAME_STEP:
            ended = [i for i in going_on if dialogues[i].outcome is not None]
            self._start(dict.fromkeys(ended))
            moves |= {i: began(dialogues[i], reveal, moves[i]) for i in ended}
        return batch([moves[i] for i in range(self.num_envs)])

    def _check(self, actions: Sequence[str], places: Sequence[int]) -> None:
        one_by_one = hasattr(actions, "__getitem__") and not isinstance(actions, Mapping)
        count = len(actions) if isinstance(actions, Sized) else None
        if isinstance(actions, (str, bytes)) or not one_by_one or count != len(places):
            raise ConvgymError(
                f"expected {len(places)} actions, one str for each conversation;"
                f" got {type(actions).__name__}" + ("" if count is None else f" of length {count}")
            )
        for place, action in zip(places, actions, strict=True):
            dialogue = self._dialogues[place]
            if dialogue.seed is None:
                raise ResetNeeded("there is no conversation to continue: call reset() first")
            if dialogue.outcome is None:
                check_utterance(action)

    def async_reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        """Have new customers come in, and do not wait for them: ``recv`` brings their openings.

        Args:
            seed: as for ``reset``.
            options: as for ``reset``; ``reset_mask`` leaves all others as they are, those in
                flight too.

        Raises:
            ConvgymError: for a mistake in these, if one of those to be reset is in flight, and
                after ``close``.
        """
        self._check_open()
        self._flight.reset(self._read_reset(seed, options))

    def send(self, actions: Sequence[str], env_id: Iterable[int] | None = None) -> None:
        """Say ``actions[k]`` in conversation ``env_id[k]``, and do not wait for the customers.

        All of them are in flight then, until ``recv`` brings them back. A conversation that has
        ended is dealt with as in ``step``. Customers that answer at once do so here.

        Args:
            actions: M strings.
            env_id: M different numbers in [0, N), such as ``infos["env_id"]``; None is all N.

        Raises:
            ConvgymError: if these are something else, if one of the conversations is in flight,
                and after ``close``.
            gymnasium.error.ResetNeeded: if one of them was never reset.

        In these cases nothing is sent. If the own code of a customer raises that answers at once,
        of those that do nobody has moved, as in ``step``.
        """
        self._check_open()
        places = self._places(env_id)
        self._check_landed(places)
        self._check(actions, places)
        self._flight.say(dict(zip(places, actions, strict=True)))

    def recv(self, at_least: int = 1) -> StepResult:
        """Return whatever is ready of what is in flight.

        Observations, rewards, terminations, truncations and infos are as ``step`` gives them, but
        of the M conversations alone that are ready, ``at_least`` <= M <= N, in order of their
        numbers, which are in ``infos["env_id"]``, an integer array of shape (M,). After
        ``async_reset`` rewards are 0, flags False and infos those of ``reset``.

        Args:
            at_least: for how many to wait; never for more.

        Raises:
            ConvgymError: if ``at_least`` is no integer from 1 upwards, or more than are in flight,
                and after ``close``.

        If a customer's own code raises, that is raised here, with a note of its ``env_id``: this
        conversation is where it was before it was sent to (but for customers that cannot be put
        back), and not in flight any more. All others stay as they are, and are received next.
        """
        self._check_open()
        at_least = check_integer("at_least", at_least, 1)
        n = len(self.in_flight)
        if n == 0:
            raise ConvgymError("nothing is in flight to be received: send() or async_reset() first")
        if at_least > n:
            raise ConvgymError(f"recv waits for {at_least}, but only {n} are in flight")
        moves = self._flight.receive(at_least)
        return batch([replace(move, info={**move.info, "env_id": i}) for i, move in moves.items()])

    @property
    def in_flight(self) -> tuple[int, ...]:
        """The numbers of the conversations that are in flight, in order."""
        return tuple(self._flight.places)

    def _places(self, env_id: Any) -> list[int]:
        if env_id is None:
            return list(range(self.num_envs))
        if not isinstance(env_id, Iterable):
            raise ConvgymError(f"env_id must be several integers, got {env_id!r}")
        places: dict[int, None] = {}
        for number in env_id:
            place = check_integer("an env_id", number, 0)
            if place >= self.num_envs:
                raise ConvgymError(f"an env_id must be below {self.num_envs}, got {place}")
            if place in places:
                raise ConvgymError(f"env_id names {place} twice, but one action at a time is heard")
            places[place] = None
        return list(places)

    def _check_open(self) -> None:
        if self.closed:
            raise ConvgymError("the environment is closed, and its customers with it: make another")

    def _check_idle(self, method: str) -> None:
        self._check_open()
        if self.in_flight:
            raise ConvgymError(
                f"{method}() is of all conversations, but {_listed(self.in_flight)} in flight:"
                " recv() first"
            )

    def _check_landed(self, places: Iterable[int]) -> None:
        flying = sorted(set(places).intersection(self.in_flight))
        if flying:
            raise ConvgymError(f"{_listed(flying)} in flight already: recv() first")

    def _texts(self) -> Texts:
        return tuple([dialogue.text for dialogue in self._dialogues])

    @property
    def dialogues(self) -> tuple[Dialogue, ...]:
        """The N conversations themselves, for those who want more than ``infos``."""
        return tuple(self._dialogues)

    def render(self) -> Texts | None:
        """Return the N conversations as text in mode ``"ansi"``."""
        return self._texts() if self.render_mode == "ansi" else None

    def __getstate__(self) -> dict[str, Any]:
        """Travel as long as nobody is in flight: a customer that is being asked has no state."""
        self._flight.check_landed()
        return self.__dict__

    def close_extras(self, **kwargs: Any) -> None:
        """Close the customers that can be closed; nobody in flight is waited for any more."""
        self._flight.stop()
        for dialogue in self._dialogues:
            dialogue.close()


def _listed(places: Sequence[int]) -> str:
    shown = ", ".join(map(str, places[:5])) + ", ..." * (len(places) > 5)
    return f"env_id {shown} {'is' if len(places) == 1 else 'are'}"

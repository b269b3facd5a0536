"""The sales conversation as a single Gymnasium environment."""

from __future__ import annotations

from typing import Any

import gymnasium

from convgym.checks import check_seed
from convgym.envs.dialogue import all_or_nothing, check_options, draw_episode_seed
from convgym.envs.scenario import Scenario
from convgym.envs.spaces import Utterance
from convgym.errors import unknown
from convgym.terminal import show


class SalesEnv(gymnasium.Env[str, str]):
    r"""A seller talks to a customer, who buys, walks away or runs out of turns.

    ## Description
    The agent is a seller in a shop. A customer comes in and says something; each step the seller
    says one utterance and the customer answers. What the customer needs, can pay and worries
    about is hidden: the seller finds out by asking, recommends a product, deals with objections
    and asks the customer to buy. The default customer is scripted and needs no model
    (``convgym.customers.scripted.customer``); others plug in through ``customer``.

    ## Action Space
    ``convgym.envs.spaces.Utterance()``: any ``str``. Control characters are removed, white space is
    collapsed and the rest is cut at 2,000 characters (``convgym.conversation.clean``) before the
    customer and the record see it. An empty utterance is a turn in which the seller says nothing.

    ## Observation Space
    ``convgym.envs.spaces.Utterance()``: the conversation so far, one utterance a line, oldest
    first,
    each with its speaker::

        Customer: Hello, I am looking for a laptop.
        Seller: What will you use it for?
        Customer: Mostly for games.

    ## Starting State
    A customer drawn from the episode seed, having said its opening utterance. ``reset(seed=s)``
    seeds ``np_random``; each ``reset`` then draws an episode seed in [0, 2**31) from it.
    ``reset(options={"episode_seed": n})`` sets the episode seed itself and draws nothing: this is
    how evaluation customers (``convgym.seeds.evaluation_seeds``) are met. Equal episode seeds,
    options and actions give equal conversations.

    ## Rewards
    1.0 in the step in which the customer buys, otherwise 0.0. With ``reward="revenue"`` it is the
    price that was paid, with ``"margin"`` what is left of it after costs, in the shop's currency.

    ## Episode End
    Terminated when the customer buys or walks away. Truncated after ``max_turns`` turns without
    either, or when the customer's backend fails; the latter is neither a sale nor a loss and
    should be left out of every count.

    ## Information
    - ``messages``: the observation as chat messages, the customer's role being ``"user"`` and the
      seller's ``"assistant"``.
    - ``turn``: turns so far (a turn is the seller's utterance and the reply to it).
    - ``episode_seed``: what the customer was drawn from.
    - ``briefing``: what the seller knows of the catalogue; after ``reset`` only, and empty if the
      customer offers none.
    - ``outcome``: at the end, ``"purchase"``, ``"walk_away"``, ``"turn_limit"`` or
      ``"infrastructure_failure"``.
    - ``failure``: what the customer's backend said when it failed.
    - ``latent``: the customer's hidden state, only with ``reveal_latent=True``.

    ## Arguments
    - ``customer="scripted"``: a registered name, ``"package.module:factory"``, a factory or a
      customer object (``convgym.customers.make_customer``).
    - ``catalog=None``: the product catalogue, by name, JSON file or object; None leaves it to the
      customer (``"laptops"`` for the scripted one). So it is for the next three.
    - ``persona=None``: the kind of customer; the scripted one draws a persona per episode.
    - ``patience=None``: how many turns the customer bears.
    - ``personas=None``: the kinds of customers that come in, ``"default"``, ``"difficult"`` or a
      JSON file (``convgym.customers.personas``).
    - ``customer_options=None``: further options of the customer by name, for instance
      ``{"model": "gpt-4o-mini"}`` for ``customer="llm"``.
    - ``max_turns=12``: turns until truncation.
    - ``noise=0.0``: how noisily the customer is heard: the share of its longer words that have a
      slip of the keyboard, with fillers besides (``convgym.noise``). The customer is the same.
    - ``reward="purchase"``: what a purchase is worth: 1, ``"revenue"`` or ``"margin"``; the latter
      two need a customer that says what it paid, such as ``"shopper"``.
    - ``reveal_latent=False``: whether ``info`` shows the hidden state.
    - ``render_mode=None``: ``"ansi"`` returns the conversation, ``"human"`` prints it as it goes.

    Mistakes in these, in ``reset``'s options or in the type of an action raise ``ConvgymError``.

    ## References
    The setting, a seller rewarded by the outcome of the whole conversation only, is that of
    Iterative PPO (arXiv 2511.21638).

    ## Version History
    - v1: the customer is the shopper (``convgym.customers.shopper.customer``).
    - v0: first version.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012
        "render_modes": ["ansi", "human"],
        "render_fps": 4,
    }

    def __init__(self, *, render_mode: str | None = None, **options: Any) -> None:
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise unknown("render mode", render_mode, self.metadata["render_modes"])
        self.render_mode = render_mode
        self.scenario = Scenario.of(options)
        self.action_space = Utterance()
        self.observation_space = Utterance()
        (self._dialogue,) = self.scenario.dialogues(1)
        self._printed = 0
        self._closed = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Meet a new customer; the only option is ``episode_seed`` (see Starting State)."""
        super().reset(seed=None if seed is None else check_seed(seed, "a reset's seed"))
        given = check_options(options, ["episode_seed"])
        episode_seed = given.get("episode_seed")
        self._dialogue.reset(
            draw_episode_seed(self.np_random) if episode_seed is None else episode_seed
        )
        self._printed = 0
        self._print()
        return self._dialogue.text, self._dialogue.opening_info(self.scenario.reveal_latent)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Say ``action`` to the customer.

        Raises ConvgymError if it is not a ``str``, gymnasium.error.ResetNeeded before the first
        reset and after the end of an episode. If the customer's own code raises, the step has not
        been, as long as the customer can be put back (``convgym.customers.Snapshottable``).
        """
        dialogue = self._dialogue
        with all_or_nothing([dialogue]):
            dialogue.step(action)
        self._print()
        info = dialogue.info(self.scenario.reveal_latent)
        return dialogue.text, dialogue.reward, dialogue.terminated, dialogue.truncated, info

    def render(self) -> str | None:
        """Return the conversation in mode ``"ansi"``; the other modes return nothing."""
        if self.render_mode is None:
            gymnasium.logger.warn("render() does nothing without a render_mode, e.g. 'ansi'.")
        return self._dialogue.text if self.render_mode == "ansi" else None

    def _print(self) -> None:
        """In mode ``"human"``, print what was said since the last time."""
        new = self._dialogue.text[self._printed :].removeprefix("\n")
        if self.render_mode == "human" and new:
            show(new)
            self._printed = len(self._dialogue.text)

    def close(self) -> None:
        """Close the customer if it can be closed; again is harmless."""
        if not self._closed:
            self._closed = True
            self._dialogue.close()

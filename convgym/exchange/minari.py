"""Minari datasets of texts: an observation is the conversation so far, an action a response.

Written as ``SalesEnv`` tells it: ``convgym.conversation.render``, a line a message. Read as well:
observations that are each the customer's words alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import gymnasium

from convgym.conversation import render
from convgym.errors import ConvgymError
from convgym.exchange.chats import Chat, Said
from convgym.exchange.conversations import Conversation
from convgym.exchange.findings import Findings
from convgym.exchange.packages import load
from convgym.exchange.settings import ImportSettings

_PURPOSE = "a Minari dataset"
_CUSTOMER, _SELLER = "Customer: ", "\nSeller: "
_ID = re.compile(r"[-_\w]+?-v\d+")


def is_minari(path: Path) -> bool:
    """Return whether a folder is a Minari dataset, or the ``data`` of one."""
    return _metadata_file(path) is not None


def read(path: Path, settings: ImportSettings, findings: Findings) -> list[Chat]:
    """Return the conversations of a dataset folder; nothing that it names is executed.

    The fields of a chat are the episode's metadata, the sum of its rewards as ``reward``, and
    whether that is positive as ``converted``.

    Raises:
        ConvgymError: if it cannot be read, or is not of texts.
    """
    metadata_file = _metadata_file(path)
    if metadata_file is None:
        raise ConvgymError(f"{path} is no Minari dataset: there is no metadata.json of one in it")
    _check_texts(metadata_file)
    settings.refuse_columns(str(path), "speaker", "text", "order")
    minari = load("minari", _PURPOSE)
    load("minari.dataset._storages.arrow_storage", _PURPOSE)
    try:
        dataset = minari.MinariDataset(metadata_file.parent)
        about = dataset.storage.get_episode_metadata(dataset.episode_indices)
        return [
            _chat(episode, fields)
            for episode, fields in zip(dataset.iterate_episodes(), about, strict=True)
        ]
    except ImportError as error:
        raise ConvgymError(f"cannot read {path}: {error}") from None
    except (OSError, ValueError, KeyError, AssertionError, TypeError) as error:
        raise ConvgymError(f"cannot read {path} as a Minari dataset: {error}") from None


def _metadata_file(path: Path) -> Path | None:
    for folder in (path, path / "data"):
        file = folder / "metadata.json"
        try:
            if "total_episodes" in json.loads(file.read_bytes()):
                return file
        except (OSError, ValueError, TypeError):
            continue
    return None


def _check_texts(file: Path) -> None:
    """Raise unless both spaces are texts; where they are not named Minari would make the env."""
    metadata = json.loads(file.read_bytes())
    for name in ("observation_space", "action_space"):
        try:
            kind = json.loads(metadata[name])["type"]
        except (KeyError, TypeError, ValueError):
            kind = "not named"
        if kind != "Text":
            raise ConvgymError(
                f"{file.parent} is of another kind: its {name.replace('_', ' ')} is {kind}, and a"
                " conversation needs Text"
            )


def _chat(episode: Any, metadata: dict[str, Any]) -> Chat:
    place = f"episode {episode.id}"
    reward = float(sum(episode.rewards))
    fields = {"reward": reward, "converted": reward > 0, **metadata}
    said = []
    replies = _replies(list(episode.observations), list(episode.actions))
    for number, reply in enumerate(replies):
        said.append(Said("user", reply, f"{place}, observation {number}"))
        if number < len(episode.actions):
            said.append(Said("assistant", episode.actions[number], f"{place}, action {number}"))
    return Chat(str(metadata.get("original_id", episode.id)), place, tuple(said), fields)


def _replies(observations: Sequence[str], actions: Sequence[str]) -> list[str]:
    """Return what the customer said, of observations that are that or the conversation so far."""
    replies = [observations[0].removeprefix(_CUSTOMER)]
    for before, action, after in zip(observations, actions, observations[1:], strict=False):
        told = f"{before}{_SELLER}{action}\n{_CUSTOMER}"
        if not after.startswith(told):
            return list(observations)
        replies.append(after.removeprefix(told))
    return replies


def write(conversations: Sequence[Conversation], path: Path) -> None:
    """Write a dataset folder, with its data in Arrow.

    ``minari.MinariDataset(path / "data")`` reads it, and ``minari.load_dataset(path.name)`` where
    ``MINARI_DATASETS_PATH`` is the folder around it and its name ends in a version, ``-v0``.
    """
    minari = load("minari", _PURPOSE)
    storage_kind = load("minari.dataset.minari_storage", _PURPOSE).MinariStorage
    load("minari.dataset._storages.arrow_storage", _PURPOSE)
    observations = [_observations(conversation) for conversation in conversations]
    actions = [_actions(conversation) for conversation in conversations]
    data = path.absolute() / "data"  # Minari looks for files of relative ones in the wrong place
    data.mkdir(parents=True)
    storage = storage_kind.new(
        data,
        observation_space=_space(text for texts in observations for text in texts),
        action_space=_space(text for texts in actions for text in texts),
        data_format="arrow",
    )
    storage.update_metadata({"minari_version": minari.__version__, "dataset_id": _id(path)})
    size, storage.get_size = storage.get_size, lambda: 0.0  # walks the folder for every episode
    for number, conversation in enumerate(conversations):
        turns = len(actions[number])
        over = [step == turns - 1 for step in range(turns)]
        storage.update_episodes(
            [
                load("minari.data_collector.episode_buffer", _PURPOSE).EpisodeBuffer(
                    id=number,
                    seed=conversation.episode.seed,
                    observations=observations[number],
                    actions=actions[number],
                    rewards=[float(end and conversation.outcome == "purchase") for end in over],
                    terminations=[end and conversation.outcome != "turn_limit" for end in over],
                    truncations=[end and conversation.outcome == "turn_limit" for end in over],
                )
            ]
        )
        about = {
            "outcome": conversation.outcome,
            "policy": conversation.policy,
            "original_id": conversation.id,
        }
        storage.update_episode_metadata([about], [number])
    storage.update_metadata({"dataset_size": size()})


def _observations(conversation: Conversation) -> list[str]:
    messages = conversation.episode.messages()
    return [render(messages[: end + 1]) for end in range(0, len(messages), 2)]


def _actions(conversation: Conversation) -> list[str]:
    return [turn.response.text for turn in conversation.episode.turns]


def _space(texts: Iterable[str]) -> gymnasium.spaces.Text:
    """Return the space of texts of these characters; Minari stores no ``Utterance``."""
    longest, characters = 1, {" "}
    for text in texts:
        longest = max(longest, len(text))
        characters.update(text)
    return gymnasium.spaces.Text(longest, min_length=0, charset="".join(sorted(characters)))


def _id(path: Path) -> str:
    if _ID.fullmatch(path.name):
        return path.name
    return f"{re.sub(r'[^-_0-9A-Za-z]', '-', path.name).strip('-') or 'conversations'}-v0"

"""The states of a log as prompts for trainers of others: a Parquet file, a seller's turn a row.

The columns are those that verl, OpenRLHF and TRL look for (docs/reward_server.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from convgym.conversation import Episode
from convgym.datafiles import check_new_file, part_of, settle
from convgym.errors import ConvgymError
from convgym.exchange.conversations import conversations
from convgym.exchange.packages import load
from convgym.exchange.transcripts import transcript

SOURCE = "convgym"
SUFFIX = ".parquet"


def write_prompts(
    episodes: Iterable[Episode], target: str | Path, *, system_message: str | None = None
) -> int:
    """Write every state in which a seller spoke as a prompt; return how many.

    A column for each of them:

    - ``prompt``: chat messages, of verl, TRL, and OpenRLHF (``input_key``);
    - ``state``: the same as a transcript (``convgym.exchange.transcripts``), which a server of Q
      reads exactly, whatever chat template the prompt goes through;
    - ``data_source``, ``ability``, ``reward_model`` and ``extra_info``, of verl. The last has the
      state again, and what was said in it, how the conversation ended and where it stands.

    Args:
        episodes: those that failed are left out.
        target: a new file, which appears once it is whole.
        system_message: put before every prompt.

    Raises:
        ConvgymError: for a file of another ending than ``.parquet``, or that exists or cannot be
            written, a package that is missing, or no turn at all.
    """
    path = Path(target)
    if path.suffix.lower() != SUFFIX:
        raise ConvgymError(
            f"prompts are written as Parquet, and {path} does not end in {SUFFIX}: call it"
            f" {path.with_suffix(SUFFIX).name}"
        )
    check_new_file(path)
    rows = list(_rows(episodes, system_message))
    if not rows:
        raise ConvgymError(f"there is no turn of a seller to write to {path}")
    pyarrow = load("pyarrow", "writing Parquet")
    parquet = load("pyarrow.parquet", "writing Parquet")
    part = part_of(path)
    try:
        parquet.write_table(pyarrow.Table.from_pylist(rows), part)
        settle(part, path)
    except OSError as error:
        raise ConvgymError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)
    return len(rows)


def _rows(episodes: Iterable[Episode], system_message: str | None) -> Iterator[Mapping[str, Any]]:
    told = [] if system_message is None else [{"role": "system", "content": system_message}]
    index = 0
    for conversation in conversations(episode for episode in episodes if episode.valid):
        episode = conversation.episode
        for number, turn in enumerate(episode.turns):
            messages = episode.messages(number)
            state = transcript(messages)
            yield {
                "data_source": SOURCE,
                "prompt": [*told, *messages],
                "ability": "sales",
                "reward_model": {"style": "model", "ground_truth": episode.outcome},
                "extra_info": {
                    "index": index,
                    "conversation": conversation.id,
                    "turn": number,
                    "state": state,
                    "response": turn.response.text,
                    "outcome": episode.outcome,
                    "policy": episode.policy,
                },
                "state": state,
            }
            index += 1

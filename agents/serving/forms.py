"""The forms in which others ask for rewards: what they send, and what they expect back.

- ``ChatRequest`` is our own: a conversation, and responses to it.
- ``OpenRLHFRequest`` is what OpenRLHF posts to ``--reward.remote_url`` (``--remote_rm_url`` before
  0.10.2; modules ``openrlhf.utils.agent`` and ``openrlhf.cli.serve_rm``, version 0.11.2).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema

from convgym.agents.serving.scores import Kind, Score
from convgym.conversation import Message
from convgym.errors import ConvgymError
from convgym.exchange.transcripts import read_state

Asked = tuple[list[Message], str]
"""A conversation, and a response to it."""

_PART = {
    "type": "object",
    "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
    "required": ["type", "text"],
}
_MESSAGE = {
    "type": "object",
    "properties": {
        "role": {"enum": ["system", "developer", "user", "assistant"]},
        "content": {"anyOf": [{"type": "string"}, {"type": "array", "items": _PART}]},
    },
    "required": ["role", "content"],
}
State = Annotated[
    Any,
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": _MESSAGE, "minItems": 1},
                {"type": "string", "pattern": "^Customer:[^\\n]*(\\n[^\\n]*)*\\nSeller:$"},
            ]
        }
    ),
]
"""Chat messages, or a transcript: ``read_state`` says which are none."""

_END_MARK = re.compile(
    r"(?:<[|\uff5c][^<>|\uff5c\s]{1,40}[|\uff5c]>|</s>|<eos>|<pad>|<end_of_turn>|<turn\|>)\Z"
)
"""A special token at the end of a text that was decoded with it."""
_LONGEST_MARK = 44


class Form(Protocol):
    """A request: what is asked in it, and how it is answered."""

    def asked(self) -> list[Asked]:
        """Return the pairs; ConvgymError for what is no conversation, or no response to it."""

    def answer(self, scores: Sequence[Score], kind: Kind) -> dict[str, Any]:
        """Return the body of the answer, ``kind`` being what is used as the reward."""


class ChatRequest(BaseModel):
    """A conversation in which it is the seller's turn, and responses to it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    messages: State
    responses: list[str] = Field(min_length=1)

    def asked(self) -> list[Asked]:
        state = read_state(self.messages)
        return [(state, response) for response in self.responses]

    def answer(self, scores: Sequence[Score], kind: Kind) -> dict[str, Any]:
        return {"scores": [score.of(kind) for score in scores], **_details(scores)}


class OpenRLHFRequest(BaseModel):
    """What OpenRLHF sends: ``query`` is the prompt and the response as one text.

    The conversation is the label, a transcript or chat messages (``--data.label_key state``); where
    there is none the prompt itself must be a transcript.
    """

    # Fields that later versions send as well are none of ours.
    model_config = ConfigDict(extra="ignore", strict=True)

    query: list[str] = Field(min_length=1)
    prompts: list[str]
    labels: list[State]

    def asked(self) -> list[Asked]:
        if not len(self.query) == len(self.prompts) == len(self.labels):
            raise ConvgymError(
                "query, prompts and labels must be equally long, got"
                f" {len(self.query)}, {len(self.prompts)} and {len(self.labels)}"
            )
        return [
            (_state_of(label, prompt), response_in(query, prompt))
            for query, prompt, label in zip(self.query, self.prompts, self.labels, strict=True)
        ]

    def answer(self, scores: Sequence[Score], kind: Kind) -> dict[str, Any]:
        details = _details(scores)
        return {
            "rewards": [score.of(kind) for score in scores],
            "scores": details["q"],  # what dynamic filtering looks at: from 0 to 1
            "extra_logs": {**details, "cut": [float(score.cut) for score in scores]},
        }


Request = TypeVar("Request", bound=BaseModel)


def parse(form: type[Request], body: object) -> Request:
    """Return a request of JSON data; ConvgymError, with what is wrong, if it is none."""
    if not isinstance(body, dict):
        wanted = ", ".join(name for name, field in form.model_fields.items() if field.is_required())
        raise ConvgymError(f"the body: expected a JSON object with {wanted}, got {_kind(body)}")
    try:
        return form.model_validate(body)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False)
        first, missing = problems[0], [p["loc"][-1] for p in problems if p["type"] == "missing"]
        place = ".".join(str(part) for part in first["loc"])
        if first["type"] == "missing":
            raise ConvgymError(f"missing: {', '.join(map(str, missing))}") from None
        raise ConvgymError(f"{place}: {first['msg']}, got {_kind(first['input'])}") from None


def _kind(thing: object) -> str:
    """Return what JSON calls a thing; never the thing itself, which may be a customer's words."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    return names.get(type(thing), "null" if thing is None else "a number")


def response_in(query: str, prompt: str) -> str:
    """Return the words of a response from the text of prompt and response, special tokens included.

    Blanks may have moved when tokens became text again.

    Raises:
        ConvgymError: if the query does not begin with the prompt.
    """
    rest = query[len(prompt) :] if query.startswith(prompt) else _after(query, prompt)
    rest = rest.strip()
    while mark := _END_MARK.search(rest[-_LONGEST_MARK:]):
        rest = rest[: -len(mark[0])].rstrip()
    return rest


def _after(query: str, prompt: str) -> str:
    wanted = "".join(prompt.split())
    position = 0
    for place, letter in enumerate(query):
        if position == len(wanted):
            return query[place:]
        if letter.isspace():
            continue
        if letter != wanted[position]:
            break
        position += 1
    if position == len(wanted):
        return ""
    raise ConvgymError(
        "a query must begin with its prompt: was the prompt cut to the trainer's longest length?"
    )


def _state_of(label: object, prompt: str) -> list[Message]:
    if label is None or label == "":
        try:
            return read_state(prompt)
        except ConvgymError as error:
            raise ConvgymError(
                f"there is no label, so the prompt must be a transcript: {error}"
            ) from None
    return read_state(label)


def _details(scores: Sequence[Score]) -> dict[str, list[Any]]:
    return {
        "q": [score.q for score in scores],
        "value": [score.value for score in scores],
        "advantage": [score.advantage for score in scores],
        "cut": [score.cut for score in scores],
    }

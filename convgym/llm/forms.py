"""How a request is written for an endpoint, and what is learned from a refusal.

Servers differ in the parameters that they take. Whatever one refuses, whether it says so in
``param``, in a list of ``detail`` or in prose, is left out or written in another way from then on:

- ``response_format``: in OpenAI's form, in llama.cpp's, or not at all;
- ``max_tokens``, or else ``max_completion_tokens``;
- ``temperature`` and ``seed``, or not at all;
- the instruction in the role ``"system"``, or else at the head of the first user's message.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from convgym.llm.base import ChatMessage, ChatRequest
from convgym.llm.refusals import Refusal

SchemaForm: TypeAlias = Callable[[Mapping[str, Any]], dict[str, Any]]


def _openai_form(schema: Mapping[str, Any]) -> dict[str, Any]:
    named = {"name": "answer", "schema": schema, "strict": True}
    return {"type": "json_schema", "json_schema": named}


def _llama_cpp_form(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "json_object", "schema": schema}


OWN = ("model", "messages", "stream", "n", "max_tokens", "max_completion_tokens")
"""Fields of a request that no ``extra_body`` replaces: reading and budgets depend on them."""

_LIMITS = ("max_tokens", "max_completion_tokens")
_WORDS: Mapping[str, re.Pattern[str]] = {
    "response_format": re.compile(
        r"response[_ ]format|json[_ ](?:schema|object|mode)|schema|grammar|structured|guided"
    ),
    "limit": re.compile(r"max_(?:completion_|new_|output_)?tokens"),
    "temperature": re.compile(r"temperature"),
    "seed": re.compile(r"\bseed\b"),
    "system": re.compile(
        r"\bsystem[ _]?(?:role|message|prompt|instruction)|\brole\W{1,4}system\b|[\"']system[\"']"
        r"|developer instruction|roles must alternate|messages\W{0,2}0\W{1,2}role"
        r"|\bgot\W{1,4}system\b"
        r"|(?:must (?:start|begin) with|first message must be|only)\W.{0,12}\buser\b"
    ),
}
"""What servers name when they refuse a part of the request."""
_COMPLAINT = re.compile(
    r"un(?:supported|expected|known|recogni[sz]ed|available|able)|not |n't |invalid|extra|forbid"
    r"|deprecat|must |should |only |instead|support|disallow|fail|illegal|不支持|不合法|无效|错误"
)


@dataclass(frozen=True, slots=True)
class Forms:
    """How an endpoint is asked, as far as it is known by now.

    Attributes:
        schema: ways of sending a JSON schema that were not refused yet, the first is taken.
        limits: names of the longest answer that were not refused yet, the first is taken.
        dropped: parameters that are not sent.
        system: whether there is a role for the instruction.
    """

    schema: tuple[SchemaForm, ...] = (_openai_form, _llama_cpp_form)
    limits: tuple[str, ...] = _LIMITS
    dropped: frozenset[str] = frozenset()
    system: bool = True

    def body(
        self, request: ChatRequest, model: str, seed: int, extra: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the JSON body of a request; ``extra`` goes over what is sent anyway."""
        messages = request.messages if self.system else without_system(request.messages)
        body: dict[str, Any] = {
            "model": model,
            "messages": [{"role": m["role"], "content": sendable(m["content"])} for m in messages],
            "seed": seed,
            "temperature": request.temperature,
            self.limits[0]: request.max_tokens,
        }
        for name in self.dropped:
            del body[name]
        if request.schema is not None and self.schema:
            body["response_format"] = self.schema[0](request.schema)
        return {**body, **extra}

    def after(self, refusal: Refusal, body: Mapping[str, Any]) -> tuple[Forms, str] | None:
        """Return the forms after a refusal of ``body``, and what is to be said of the change.

        None where the refusal is about nothing that could be asked in another way.
        """
        refused = self._refused(refusal, body)
        if refused == "response_format":
            rest = self.schema[1:]
            return replace(self, schema=rest), "" if rest else "takes no JSON schema: asked without"
        if refused == "limit":
            return replace(self, limits=self.limits[1:]), ""
        if refused == "system":
            told = "takes no system role: the instruction goes into the first message"
            return replace(self, system=False), told
        if refused is not None:
            told = f"takes no {refused}: asked without"
            return replace(self, dropped=self.dropped | {refused}), told
        return None

    def _refused(self, refusal: Refusal, body: Mapping[str, Any]) -> str | None:
        """Return the part of the request that is refused: the one that is named best."""
        sent = {
            "response_format": "response_format" in body and bool(self.schema),
            "limit": len(self.limits) > 1,
            "temperature": "temperature" in body and "temperature" not in self.dropped,
            "seed": "seed" in body and "seed" not in self.dropped,
            "system": self.system and any(m["role"] == "system" for m in body["messages"]),
        }
        words = {name: _WORDS[name] for name, there in sent.items() if there}
        for name, pattern in words.items():
            if pattern.search(refusal.fields):
                return name
        if not _COMPLAINT.search(refusal.text):
            return None
        mentions = [
            (refusal.text[: match.start()][-1:] not in ("'", '"', "`"), match.start(), name)
            for name, pattern in words.items()
            if (match := pattern.search(refusal.text))
        ]
        return min(mentions)[2] if mentions else None


def without_system(messages: Sequence[ChatMessage]) -> tuple[ChatMessage, ...]:
    """Return a chat with its instruction at the head of the first user's message."""
    instruction = "\n\n".join(m["content"] for m in messages if m["role"] == "system")
    rest = [message for message in messages if message["role"] != "system"]
    if not instruction:
        return tuple(rest)
    if rest and rest[0]["role"] == "user":
        first = f"{instruction}\n\n{rest[0]['content']}"
        return ({"role": "user", "content": first}, *rest[1:])
    return ({"role": "user", "content": instruction}, *rest)


def sendable(text: str) -> str:
    """Return a text that can be sent: lone surrogates become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")

"""Sellers that a chat model speaks for, through the same backends as customers.

Each turn the model is given the system message (``convgym.sellers.prompt``) and the conversation,
in which the customer is the user and the seller the assistant; it sees no hidden state. All
conversations of a batch are asked together. Where the model gives no words, after the backend's
retries, that conversation fails (``Response.failure``) and the others go on; what nobody could get,
such as a wrong key or a used-up budget, is one ``ConvgymError``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from convgym.contracts import described, require
from convgym.conversation import Response
from convgym.errors import InfrastructureError
from convgym.llm import ChatBackend, ChatRequest, ChatResult, make_backend
from convgym.llm.base import ChatMessage, check_sampling
from convgym.llm.endpoint import OpenAIConfig
from convgym.options import takes_fields_of
from convgym.policy import Conversation
from convgym.reasoning import heard
from convgym.sellers.prompt import seller_prompt
from convgym.shop.catalog import Catalog

_SILENCE = "..."
"""In place of a message without words, which many endpoints refuse."""


class ChatSeller:
    """A policy that a chat model speaks for.

    Equal conversations are asked with equal seeds: each draws the seed of every turn from its own
    stream (``Conversation.rng``), for endpoints that sample by one.

    Args:
        backend: the chat model.
        catalog: what it sells; must be the customers' catalogue.
        name: the policy's name; None is the backend's fingerprint.
        prompt: the system message, see ``convgym.sellers.prompt.seller_prompt``.
        temperature: of sampling.
        max_tokens: the longest answer; models that reason need room for that as well.
        law: by which its customers buy (``convgym.customers.customer_law``).

    Raises:
        ConvgymError: for a value that cannot be, or what is no backend.
    """

    def __init__(
        self,
        backend: ChatBackend,
        catalog: str | Path | Catalog = "laptops",
        *,
        name: str | None = None,
        prompt: str | None = None,
        temperature: float = 0.7,
        max_tokens: int = 200,
        law: str | None = None,
    ) -> None:
        require(backend, ChatBackend, f"{described(backend)} is no chat backend")
        check_sampling(temperature, max_tokens)
        self.backend = backend
        self.system_message = seller_prompt(catalog, prompt, law)
        self._name = backend.fingerprint if name is None else name
        self._temperature, self._max_tokens = temperature, max_tokens

    @property
    def name(self) -> str:
        return self._name

    def reset(self, seed: int) -> None:
        """Do nothing: all randomness comes from each conversation's own stream."""

    def act(self, conversations: Sequence[Conversation]) -> list[Response]:
        """Ask for all conversations together; those without an answer hold the reason."""
        requests = [self._request(conversation) for conversation in conversations]
        return [_response(result) for result in self.backend.complete(requests)]

    def _request(self, conversation: Conversation) -> ChatRequest:
        system: ChatMessage = {"role": "system", "content": self.system_message}
        said: list[ChatMessage] = [
            {"role": message["role"], "content": message["content"] or _SILENCE}
            for message in conversation.messages
        ]
        return ChatRequest(
            (system, *said),
            conversation.rng.getrandbits(31),
            self._max_tokens,
            self._temperature,
        )


def _response(result: ChatResult) -> Response:
    if isinstance(result, InfrastructureError):
        return Response("", failure=str(result))
    if not heard(result.text):
        return Response("", failure="empty answer: nothing that a customer could hear")
    return Response(result.text)


@takes_fields_of(OpenAIConfig)
def openai_seller(
    model: str,
    catalog: str | Path | Catalog = "laptops",
    *,
    prompt: str | None = None,
    temperature: float = 0.7,
    max_tokens: int = 200,
    law: str | None = None,
    **backend_options: Any,
) -> ChatSeller:
    """Return the seller ``"openai:MODEL"``: a chat model behind an OpenAI-compatible endpoint.

    Args:
        model: as the endpoint calls it.
        catalog: what it sells; must be the customers' catalogue.
        prompt: the system message, see ``convgym.sellers.prompt.seller_prompt``.
        temperature: of sampling.
        max_tokens: the longest answer.
        law: by which its customers buy (``convgym.customers.customer_law``).
        **backend_options: as for ``convgym.llm.make_backend``: ``base_url``, ``record``,
            ``replay``, ``budget``, ``extra_body`` and so on.

    Raises:
        ConvgymError: for an unknown option or a value that cannot be.
    """
    backend = make_backend("openai", model=model, **backend_options)
    return ChatSeller(
        backend,
        catalog,
        name=f"openai:{model}",
        prompt=prompt,
        temperature=temperature,
        max_tokens=max_tokens,
        law=law,
    )

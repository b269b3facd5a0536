"""Chat models that customers and sellers speak with: endpoints, local models and recordings."""

from convgym.llm.base import ChatAnswer, ChatBackend, ChatRequest, ChatResult
from convgym.llm.registry import make_backend, register_backend

__all__ = [
    "ChatAnswer",
    "ChatBackend",
    "ChatRequest",
    "ChatResult",
    "make_backend",
    "register_backend",
]

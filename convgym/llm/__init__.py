"""Chat models that customers speak with: endpoints, local models and recordings."""

from convgym.llm.base import ChatAnswer, ChatBackend, ChatRequest, ChatResult

__all__ = ["ChatAnswer", "ChatBackend", "ChatRequest", "ChatResult"]

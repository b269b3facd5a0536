"""Conversations that people take part in or follow: where they are held, advice, hindsight."""

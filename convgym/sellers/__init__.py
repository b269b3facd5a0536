"""Reference sellers, from the floor to the ceiling."""

from __future__ import annotations

from convgym.sellers.scripted import SELLERS, ScriptedSeller, make_seller

__all__ = ["SELLERS", "ScriptedSeller", "make_seller"]

"""Reference sellers, from the floor to the ceiling, and sellers of one's own by name."""

from __future__ import annotations

from convgym.sellers.registry import REFERENCE_SELLERS, SELLERS, SellerFactory, make_seller
from convgym.sellers.scripted import ScriptedSeller

__all__ = ["REFERENCE_SELLERS", "SELLERS", "ScriptedSeller", "SellerFactory", "make_seller"]

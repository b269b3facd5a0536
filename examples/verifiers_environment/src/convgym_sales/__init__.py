"""Customers for verifiers, by the name ``convgym-sales``."""

from convgym.integrations.verifiers import SalesHarness, SalesTaskset, SalesVerifiersEnv

__all__ = ["SalesHarness", "SalesTaskset", "SalesVerifiersEnv"]

"""How real a customer is, measured: ``convgym validate CUSTOMER --realism`` (docs/realism.md)."""

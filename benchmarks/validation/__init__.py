"""Validation: a suite of checks that any customer goes through, ``convgym validate``."""

"""Customers that are language models trained here: imitations of others, with their original."""

"""The scripted customer: its ear, its words, its law of buying."""

"""The shopper: the customer of ``convgym/Sales-v1``: its ear, its words, its law of buying."""

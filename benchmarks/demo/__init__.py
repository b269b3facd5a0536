"""The web page of ``convgym demo``: sell to a customer, or watch two sellers side by side."""

"""Customers that a chat model plays or words."""

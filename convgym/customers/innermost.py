"""Who stands inside: the customer that somebody wrote, behind those of ours that pass words on."""

from __future__ import annotations

from convgym.customers.suggested import SuggestedResponse
from convgym.customers.threaded import ThreadedCustomer


def innermost(customer: object) -> object:
    """Return the customer itself, where it is asked in threads or behind a business."""
    while isinstance(customer, (ThreadedCustomer, SuggestedResponse)):
        customer = customer.inner
    return customer


def kind_of(customer: object) -> str:
    """Return the name of the class that gives openings and replies, for messages to its author."""
    return type(innermost(customer)).__name__


def kind_that_raises(customer: object) -> str:
    """Return the name of the class from which errors come: a business may raise its own."""
    while isinstance(customer, ThreadedCustomer):
        customer = customer.inner
    return type(customer).__name__

"""The page as an application: behind its guard, and silent towards everybody but its visitors."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

from convgym.benchmarks.demo.guard import Guard
from convgym.benchmarks.demo.house import House
from convgym.benchmarks.demo.page import looks, make_page
from convgym.packages import load

_VISITORS = 1000
"""Visitors whose conversations are kept, the last ones to have come."""
_SILENT = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # Its own statistics of events, which nobody looks at here.
    "GRADIO_ANALYTICS_CACHE_FREQUENCY": str(2**31),
}


def load_gradio() -> Any:
    """Return the library, told to report to nobody; ConvgymError where it is not installed."""
    os.environ.update(_SILENT)  # it reads them when it is imported
    return load("gradio", "convgym demo", "demo")


def make_app(
    house: House,
    *,
    seed: int = 0,
    curve: str = "",
    hosts: frozenset[str] | None = None,
) -> tuple[Guard, Callable[[], None]]:
    """Return the application, and what tells its open connections to end.

    Args:
        house: what visitors come to.
        seed: of the first customer.
        curve: a learning curve as HTML (``curve_page``).
        hosts: as in ``Guard``.
    """
    gradio = load_gradio()

    async def mounted() -> Any:
        return _mounted(gradio, house, seed, curve)

    # The library opens an event loop where none runs, and never closes it.
    app = asyncio.run(mounted())
    inner = app.routes[-1].app

    def end() -> None:
        """End the connections on which browsers wait for news: they would stay open for ever."""
        inner.stop_event.set()

    return Guard(app, hosts), end


def _mounted(gradio: Any, house: House, seed: int, curve: str) -> Any:
    from fastapi import FastAPI

    page = make_page(gradio, house, seed=seed, curve=curve)
    page.state_session_capacity = _VISITORS
    shut: dict[str, None] = dict.fromkeys(("docs_url", "redoc_url", "openapi_url"))
    return gradio.mount_gradio_app(
        FastAPI(**shut),
        page,
        path="/",
        footer_links=[],
        run_history=False,
        app_kwargs=shut,
        show_error=False,
        ssr_mode=False,
        enable_monitoring=False,
        mcp_server=False,
        pwa=False,
        **looks(gradio),
    )

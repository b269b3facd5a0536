"""The process that serves: a socket, and uvicorn on it until it is told to stop."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from convgym.errors import ConvgymError

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.types import ASGIApp

LOOPBACK = "127.0.0.1"


def listening(host: str = LOOPBACK, port: int = 0) -> socket.socket:
    """Return a socket that is bound; port 0 is any that is free. ConvgymError if it cannot be."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, OverflowError, UnicodeError) as error:
        raise ConvgymError(f"cannot listen at {host!r}, port {port}: {error}") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)
    except (OSError, OverflowError) as error:
        listener.close()
        raise ConvgymError(
            f"cannot listen at {host!r}, port {port}: {error}; give another --port, or 0 for any"
        ) from None
    return listener


def url_of(listener: socket.socket) -> str:
    """Return the URL of a bound socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_loopback(listener: socket.socket) -> bool:
    """Tell whether a bound socket is reached from this machine alone."""
    return ipaddress.ip_address(listener.getsockname()[0].partition("%")[0]).is_loopback


def serve(
    app: Starlette | ASGIApp,
    listener: socket.socket,
    *,
    ending: Callable[[], None] = lambda: None,
    patience: int | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM; what is under way then is answered first.

    Whatever handlers the signals had are called after that.

    Args:
        app: the application.
        listener: a bound socket.
        ending: called in the server's event loop once it is to end: it ends connections that would
            stay open for ever.
        patience: seconds that what is under way may take then; None for as long as it takes.
    """
    import uvicorn

    config = uvicorn.Config(
        app,
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=patience,
    )
    server = uvicorn.Server(config)
    shutdown = server.shutdown

    async def shut(sockets: list[socket.socket] | None = None) -> None:
        ending()
        await shutdown(sockets)

    server.shutdown = shut
    server.run(sockets=[listener])

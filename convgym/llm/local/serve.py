"""An OpenAI-compatible server on this machine, started, waited for and stopped with its user.

    with serve("smollm2") as url:
        backend = make_backend("openai", model="smollm2", base_url=url)

It is llama-cpp-python's, in a process of its own, and runs any chat model in GGUF format. It
answers one request at a time.
"""

from __future__ import annotations

import http.client
import importlib.util
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from convgym.errors import ConvgymError, InfrastructureError
from convgym.installing import install_command
from convgym.llm.local.smollm2 import NAME, gguf_file

HOST = "127.0.0.1"
CONTEXT = 4096
"""Tokens of a request and its answer; a long conversation with an LLM customer has 2,500."""

# What the server imports beside llama_cpp; importing that to ask would load the library.
_MODULES = ("llama_cpp", "uvicorn", "fastapi", "sse_starlette", "starlette_context")
_POLL = 0.1
_LAST_WORDS = 300


class Server:
    """A server process that answers ``GET /v1/models`` once it is ready.

    As a context manager it is ready inside and gone outside.

    Args:
        command: what to run; it must listen at ``port`` of the loopback address.
        port: where it will listen.
        ready_within: seconds.
        stop_within: seconds from being asked to stop until it is ended by force.

    Raises:
        ConvgymError: if the command cannot be run at all.
        InfrastructureError: from entering: if it ends or is not ready in time; it is gone then,
            and its last words are told.
    """

    def __init__(
        self,
        command: Sequence[str],
        port: int,
        *,
        ready_within: float = 60.0,
        stop_within: float = 5.0,
    ) -> None:
        self._command, self._port = list(command), port
        self._ready_within, self._stop_within = ready_within, stop_within

    @property
    def url(self) -> str:
        """The ``base_url`` for clients."""
        return f"http://{HOST}:{self._port}/v1"

    def __enter__(self) -> Self:
        # A file and no pipe, which would fill up and hold the server.
        self._output = tempfile.TemporaryFile()
        try:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us, who then stop it in good order
            )
        except OSError as error:
            self._output.close()
            raise ConvgymError(f"cannot run {self._command[0]!r}: {error.strerror}") from None
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self._ready_within
        while not self._is_ready():
            if self._process.poll() is not None:
                raise self._ended("before it was ready")
            if time.monotonic() > deadline:
                raise InfrastructureError(
                    f"the server was not ready within {self._ready_within:g} s:"
                    f" {self._last_words()}"
                )
            time.sleep(_POLL)

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection(HOST, self._port, timeout=1)
        try:
            connection.request("GET", "/v1/models")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def wait(self) -> None:
        """Wait until the server ends by itself, and raise the InfrastructureError for that."""
        self._process.wait()
        raise self._ended("by itself")

    def stop(self) -> None:
        """End the server, by force if it does not listen; stopping twice does no harm."""
        self._process.terminate()
        try:
            self._process.wait(self._stop_within)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()

    def _ended(self, when: str) -> InfrastructureError:
        code = self._process.returncode
        return InfrastructureError(
            f"the server ended {when}, with code {code}: {self._last_words()}"
        )

    def _last_words(self) -> str:
        self._output.seek(0)
        words = self._output.read().decode(errors="replace").split()
        return " ".join(words)[-_LAST_WORDS:] or "it said nothing"


@contextmanager
def serve(model: str | Path = NAME, *, port: int = 0, ready_within: float = 60.0) -> Iterator[str]:
    """Serve a model within the ``with`` block, and give its ``base_url``.

    Args:
        model: ``"smollm2"`` or a GGUF file; clients call it by ``model_name``.
        port: 0 for any that is free.
        ready_within: seconds that loading may take.

    Raises:
        ConvgymError: where the extra ``local`` or the model is missing, or the port is taken.
        InfrastructureError: when the server ends or is not ready in time.
    """
    with llama_server(model, port=port, ready_within=ready_within) as server:
        yield server.url


def llama_server(model: str | Path = NAME, *, port: int = 0, ready_within: float = 60.0) -> Server:
    """Return the server that ``serve`` starts, not started yet; raises as that does."""
    missing = [name for name in _MODULES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConvgymError(
            f"the local server needs {', '.join(missing)}: {install_command('local')}, which"
            " compiles llama.cpp and wants a C++ compiler"
        )
    path = gguf_file() if model == NAME else Path(model)
    if not _is_gguf(path):
        raise ConvgymError(f"no model at {str(model)!r}: expected {NAME!r} or a GGUF file")
    port = _free_port(port)
    options = {
        "model": path,
        "model_alias": model_name(model),
        "host": HOST,
        "port": port,
        "n_ctx": CONTEXT,
        "interrupt_requests": "false",  # for the next one that comes
        "verbose": "false",
    }
    arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "llama_cpp.server", *arguments]
    return Server(command, port, ready_within=ready_within)


def model_name(model: str | Path) -> str:
    """Return what clients call a served model: a file's name without its ending."""
    return NAME if model == NAME else Path(model).stem


def _is_gguf(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == b"GGUF"
    except OSError:
        return False


def _free_port(port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError):
            raise ConvgymError(f"port {port} is not free: give another, or 0 for any") from None
        free_port: int = probe.getsockname()[1]
        return free_port

"""Errors as data: an error that happened in another process is told here as it would be there."""

from __future__ import annotations

import pickle
import traceback
from dataclasses import dataclass

from convgym.benchmarks.runs.executor import Outcome, Task, execute
from convgym.benchmarks.runs.workers import who
from convgym.errors import ConvgymError, InfrastructureError, OwnError, whose
from convgym.progress import ProgressCallback

_TOLD = (ConvgymError, InfrastructureError, OwnError)


class Remote(Exception):
    """The traceback of an error in another process, as text: it stands before the error itself."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


@dataclass(frozen=True)
class Failure:
    """How a job failed: plain data that can be pickled, whatever was raised.

    ``cause`` is what somebody's own code raised, of an ``OwnError`` alone, and ``trace`` its
    traceback.
    """

    kind: type[ConvgymError] | type[InfrastructureError] | type[OwnError]
    message: str
    cause: BaseException | None = None
    trace: str = ""

    @classmethod
    def of(cls, error: ConvgymError | InfrastructureError | OwnError) -> Failure:
        """Return an error as data; a cause that cannot be pickled is told in words."""
        kind = next(kind for kind in _TOLD if isinstance(error, kind))
        cause = error.__cause__ if kind is OwnError else None
        if cause is None:
            return cls(kind, str(error))
        trace = "".join(traceback.format_exception(cause))
        return cls(kind, str(error), _portable(cause), trace)

    def error(self) -> ConvgymError | InfrastructureError | OwnError:
        """Return the error, to be raised here."""
        error = self.kind(self.message)
        if self.cause is not None:
            self.cause.__cause__ = Remote(self.trace)
            error.__cause__ = self.cause
        return error


def attempt(task: Task, progress: ProgressCallback) -> Outcome | Failure:
    """Do a job in a process of its own: what comes back is data, whatever happens."""
    try:
        with whose(who(task)):
            outcome = execute(task, progress)
            pickle.dumps(outcome)  # here, where it is known whose it is
            return outcome
    except _TOLD as error:
        return Failure.of(error)


def _portable(cause: BaseException) -> BaseException:
    """Return an error that can be pickled: the same, or one that says the same."""
    try:
        copy = pickle.loads(pickle.dumps(cause))
    except Exception:  # whatever an error of somebody's own does when it is copied
        copy = None
    if type(copy) is type(cause):
        return cause
    return RuntimeError(f"{type(cause).__name__}: {cause}")

"""Why an attempt to ask a chat model gave no answer."""

from __future__ import annotations


class NoAnswer(Exception):
    """An attempt that may go better next time.

    Attributes:
        wait: seconds that the server asked to wait, if it did.
        reseed: whether a server that samples by seed would do the same again.
        doubtful: whether it is the user's mistake if this endpoint never answers anybody.
    """

    def __init__(
        self,
        reason: str,
        wait: float | None = None,
        reseed: bool = False,
        doubtful: bool = False,
    ) -> None:
        super().__init__(reason)
        self.wait, self.reseed, self.doubtful = wait, reseed, doubtful

"""The entry of ``convgym``: a mistake is one line on stderr, never a traceback."""

from __future__ import annotations

import os
from collections.abc import Sequence

from convgym.benchmarks.cli.app import make_app
from convgym.benchmarks.cli.loading import loading_told
from convgym.benchmarks.terminal import errors_in_one_line
from convgym.terminal import tolerate_consoles


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; a user's mistake is one line on stderr and exit code 2."""
    # Before anything loads torch or transformers. Threads that wait must sleep: spinning, they
    # make small models five times slower as soon as another process wants a core. And bars of
    # others would tear ours apart.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    tolerate_consoles()
    with errors_in_one_line(), loading_told():
        make_app()(args=None if arguments is None else list(arguments))


if __name__ == "__main__":  # for launchers that start modules
    main()

"""What the script ``convgym`` calls: the command line loads within, so that Ctrl-C is told."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run the command line; an interruption is one line on stderr, and exit code 130."""
    try:
        from convgym.benchmarks.cli.main import main as run

        run()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    finally:
        # From here on there is nothing to put in order: Ctrl-C ends Python at once.
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)

"""The entry of ``convgym``: a mistake is one line on stderr, never a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from convgym.benchmarks.cli.app import make_app
from convgym.benchmarks.terminal import say, show_any_text
from convgym.errors import ConvgymError, InfrastructureError

# The packages that only learning and pictures need, all installed by the extra "train".
_TRAIN = {
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "trl",
    "peft",
    "accelerate",
    "matplotlib",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; a user's mistake is one line on stderr and exit code 2."""
    # Before anything loads torch or transformers. Threads that wait must sleep: spinning, they
    # make small models five times slower as soon as another process wants a core. And bars of
    # others would tear ours apart.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    show_any_text()
    try:
        make_app()(args=None if arguments is None else list(arguments))
    except ConvgymError as error:
        _fail(str(error))
    except InfrastructureError as error:  # nobody's mistake: the customer's backend is down
        _fail(str(error), code=1)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _TRAIN:
            raise
        _fail(f"this needs {missing}, which is not installed: pip install 'convgym[train]'")
    except BrokenPipeError:  # the reader of our output, `head` say, went away
        sys.stdout = None
        raise SystemExit(0) from None


def _fail(message: str, code: int = 2) -> None:
    say(f"convgym: error: {' '.join(message.split())}", error=True)
    raise SystemExit(code)

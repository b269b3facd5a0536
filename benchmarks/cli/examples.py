"""What stands at the end of a command's ``--help``: lines to copy."""

from __future__ import annotations


def examples(*lines: str) -> str:
    """Return the epilog of a command. ``tests/unit/benchmarks/cli/test_examples.py`` parses all."""
    return "\n".join(["Examples:", *(f"  {line}" for line in lines)])

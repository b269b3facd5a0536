"""A round by single commands: to the bit what a training makes, restartable, a line a mistake."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from convgym.agents.model.format import compact_format
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.pretrain import PretrainConfig, build_model, build_tokenizer
from convgym.agents.training.checkpoint import load_checkpoint, save_checkpoint
from convgym.benchmarks.cli import main
from convgym.conversation import Episode, Response
from convgym.logs import read_log, write_log
from convgym.rollout import rollout
from convgym.seeds import evaluation_seeds
from convgym.sellers import make_seller

torch.set_num_threads(1)

Run = Callable[..., tuple[int, str, str]]

POLICY = ("--set", "policy.max_new_tokens=4")
Q = ("epochs=1", "first_steps=2", "replies=1", "max_reply_tokens=4")
SOLVER = ("fresh_steps=1", "fresh_conversations=4", "fresh_samples=2")
GATE = ("min_sales=0", "min_conversations=1", "standard_errors=100", "min_coverage=0")
SEED = ("--seed", "3")


def sets(prefix: str, settings: tuple[str, ...]) -> list[str]:
    return [word for setting in settings for word in ("--set", prefix + setting)]


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    make_model: Callable[..., LanguageModel],
) -> Run:
    """Call the command line in a folder that holds a tiny policy."""
    monkeypatch.chdir(tmp_path)
    LanguageModelPolicy(make_model(layers=1, context=768)).save(Path("start"))

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main.main(arguments)
        captured = capsys.readouterr()
        code = end.value.code
        return (code if isinstance(code, int) else 0), captured.out, captured.err

    return call


def collected(run: Run, *more: str) -> tuple[int, str, str]:
    command = ("collect", "log.jsonl", "--policy", "start", "--conversations", "12", *SEED)
    return run(*command, *POLICY, *more)


def fitted(run: Run, log: str = "log.jsonl", *more: str) -> tuple[int, str, str]:
    command = ("fit-q", log, "--policy", "start", "--output", "q", "--held-out", "0.25", *SEED)
    return run(*command, *POLICY, *sets("", Q), *more)


def improved(run: Run, log: str = "log.jsonl", *more: str) -> tuple[int, str, str]:
    command = ("improve", "start", "--q", "q", "--log", log, "--output", "new")
    return run(*command, *sets("", SOLVER), *more)


def judged(run: Run, log: str = "log.jsonl", *more: str) -> tuple[int, str, str]:
    command = ("gate", "new", "--policy", "start", "--q", "q", "--log", log, "--json")
    return run(*command, *sets("", GATE), *more)


def report(folder: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((Path(folder) / "report.json").read_text())
    return read


def test_commands_one_by_one_are_a_round_of_training_to_the_bit(run: Run) -> None:
    code, out, _ = collected(run)
    assert code == 0 and "12 conversations of start" in out
    assert fitted(run)[0] == 0
    assert improved(run)[0] == 0
    code, out, _ = judged(run)
    assert code == 0
    verdict = json.loads(out)
    settings = [
        *("--set", "rounds=1", "--set", "policy.model=start", *POLICY),
        *sets("q_function.", Q),
        *sets("improvement.", SOLVER),
        *sets("gate.", ("held_out=0.25", *GATE)),
    ]
    budget = ("--conversations", "12", *SEED)
    code, out, _ = run("train", "iterative-ppo", "--output", "trained", *budget, *settings)
    assert code == 0 and "after" in out

    again = run("train", "iterative-ppo", "--output", "trained", *budget, *settings)
    assert again[:2] == (code, out)
    code, out, _ = run("evaluate", "trained/policy", "--customers", "3", "--json")
    assert code == 0 and json.loads(out)["range"]["customers"] == 3

    (row,) = report("trained")["rows"]
    assert row["passed_gate"] == 1.0
    before, new, trained = (
        load_file(Path(folder) / "model.safetensors")
        for folder in ("start", "new", "trained/policy")
    )
    assert all(torch.equal(new[name], trained[name]) for name in new.keys() | trained.keys())
    assert any(not torch.equal(new[name], before[name]) for name in new)
    assert report("q")["diagnostics"] == {name: row[name] for name in report("q")["diagnostics"]}
    assert report("q")["behaviour_gap"] < 1e-3
    doubt, too_few = report("q")["notes"]  # of two steps of a fit
    assert doubt.startswith("the conversations kept apart all ended alike")
    assert "conversations are kept for the gate, which judges by 20 or more" in too_few
    assert report("new")["notes"][:2] == [f"of Q: {note}" for note in (doubt, too_few)]
    assert verdict["gain"] == row["predicted_gain"] and verdict["kl"] > 0
    kept = read_log("trained/conversations/deployment-000.jsonl.gz").episodes
    assert [each.turns for each in kept] == [each.turns for each in read_log("log.jsonl").episodes]

    card = (Path("new") / "README.md").read_text()
    for part in ("token-ppo", "log.jsonl", report("q")["made_from"]["log_sha256"], "torch"):
        assert part in card


def test_what_is_finished_is_shown_and_never_made_again(run: Run) -> None:
    steps = (collected, fitted, improved)
    first = [step(run) for step in steps]
    files = {path: path.stat().st_mtime_ns for path in Path().rglob("*") if path.is_file()}
    assert [step(run)[:2] for step in steps] == [(code, out) for code, out, _ in first]
    assert {path: path.stat().st_mtime_ns for path in Path().rglob("*") if path.is_file()} == files
    # Made from something else.
    for code, _, err in (
        collected(run, "--catalog", "mobile"),
        fitted(run, "log.jsonl", "--set", "learning_rate=0.1"),
        improved(run, "log.jsonl", "--no-imitate"),
    ):
        assert code == 2 and "never overwritten" in err and err.count("\n") == 1


def test_an_evaluation_is_kept_and_compared_customer_by_customer(run: Run) -> None:
    """The same customers: of the competent seller, they are those that bought of neither alone."""
    seen = ("--customers", "20", "--output")
    first = run("evaluate", "mediocre", *seen, "mediocre.json")
    assert run("evaluate", "mediocre", *seen, "mediocre.json")[:2] == first[:2]
    kept = Path("mediocre.json").read_bytes()
    code, out, _ = run(
        "evaluate", "competent", *seen, "competent.json", "--against", "mediocre.json", "--json"
    )
    assert code == 0 and Path("mediocre.json").read_bytes() == kept
    shown = json.loads(out)
    bought = [
        json.loads(Path(f"{name}.json").read_text())["bought"] for name in ("competent", "mediocre")
    ]
    rates = [sum(each) / 20 for each in bought]
    gain = shown["gain"]["difference"]
    assert gain["value"] == pytest.approx(rates[0] - rates[1]) and gain["low"] < gain["value"]
    assert shown["conversion"]["value"] == rates[0] and shown["gain"]["customers"] == 20
    code, out, _ = run("evaluate", "competent", "--customers", "20", "--against", "mediocre.json")
    assert f"{100 * gain['value']:+.1f} points" in out


def test_what_was_interrupted_starts_over_cleanly(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    collected(run)

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr("convgym.agents.pipeline.fitting.write_json", interrupted)
        code, _, err = fitted(run)
        assert code == 130 and "the same command" in err
    assert not Path("q").exists()
    assert fitted(run)[0] == 0
    assert not [path for path in Path().iterdir() if path.name.endswith(".part")]


def stripped(episode: Episode) -> Episode:
    turns = tuple(type(turn)(Response(turn.response.text), turn.reply) for turn in episode.turns)
    return Episode(episode.seed, episode.opening, turns, episode.outcome, "imported", "imported")


def test_logs_of_others_are_learned_from_and_do_not_judge(run: Run) -> None:
    episodes = rollout(make_seller("mediocre"), range(12))
    write_log("chats.jsonl", map(stripped, episodes))
    code, out, _ = fitted(run, "chats.jsonl")
    assert code == 0 and "12 of 12 conversations hold no log-probabilities" in out
    code, _, err = improved(run, "chats.jsonl", "--set", "epochs=1")
    assert code == 2 and "set epochs=0" in err
    assert improved(run, "chats.jsonl")[0] == 0
    code, out, _ = judged(run, "chats.jsonl")
    verdict = json.loads(out)
    assert (code, verdict["verdict"]) == (1, "cannot judge")
    (reason,) = verdict["reasons"]
    assert "3 of 3 conversations hold no log-probabilities: --estimate-behaviour" in reason
    code, out, _ = judged(run, "chats.jsonl", "--estimate-behaviour")
    verdict = json.loads(out)
    assert code == 0 and verdict["behaviour_estimated"] and verdict["kl"] > 0


def test_the_gate_that_was_told_to_keep_nothing_cannot_judge(run: Run) -> None:
    collected(run)
    hotter = ("--set", "policy.temperature=2")  # than the log was
    code, out, _ = fitted(run, "log.jsonl", "--held-out", "0", *hotter)
    assert code == 0 and "note: the log's log-probabilities differ from the policy's by" in out
    improved(run)
    code, out, _ = judged(run)
    assert code == 1 and "no conversation was held out" in out


def test_a_small_model_as_q_of_another(run: Run) -> None:
    """It has tokens of its own; the steps after the fit find it in the folder of Q."""
    tokenizer = build_tokenizer(["What is your budget?", "It is $700."] * 3, vocabulary=290)
    shape = PretrainConfig(hidden=8, layers=1, heads=2, intermediate=12, context=768)
    network = build_model(shape, tokenizer, 1)
    LanguageModelPolicy(LanguageModel.of(network, compact_format(tokenizer))).save(Path("small"))
    collected(run)
    # Long enough for heads that were zeros to tell responses apart.
    settings = ("epochs=1", "first_steps=64", "replies=1", "max_reply_tokens=4", "trunk=small")
    command = ("fit-q", "log.jsonl", "--policy", "start", "--output", "q", "--held-out", "0.25")
    assert run(*command, *SEED, *POLICY, *sets("", settings))[0] == 0
    assert report("q")["made_from"]["q_function"]["trunk"] == "small"
    assert improved(run)[0] == 0
    assert report("new")["metrics"]["fresh_score_scale"] > 0
    code, out, _ = judged(run)
    assert code == 0 and json.loads(out)["verdict"] == "passed"


MISTAKES = [
    ("collect a.jsonl", "either --policy FOLDER or --seller SELLER"),
    ("collect a.jsonl --policy nowhere", "no model at 'nowhere'"),
    ("collect a.jsonl --seller nobody", "unknown seller"),
    ("collect a.jsonl --seller mediocre --set wit=3", "wit"),
    ("collect nowhere/a.jsonl --seller silent", "cannot write to"),
    ("fit-q missing.jsonl --policy start --output a", "cannot read the log missing.jsonl"),
    ("fit-q log.jsonl --policy log.jsonl --output a", "no model at 'log.jsonl'"),
    ("fit-q log.jsonl --policy start --output a --set epoch=1", "did you mean 'epochs'"),
    ("fit-q log.jsonl --policy start --output a --set trunk=nowhere", "no model at 'nowhere'"),
    ("fit-q log.jsonl --policy start --output a --held-out 1", "must be in [0, 1), got 1"),
    ("fit-q log.jsonl --policy start --output start", "start exists and is never overwritten"),
    ("fit-q test.jsonl --policy start --output a", "reserved for evaluation"),
    ("improve start --q start --log log.jsonl --output a", "no Q at start"),
    ("improve start --q q --log log.jsonl --output a --solver x", "unknown improvement 'x'"),
    ("improve wide --q q --log log.jsonl --output a", "fitted to another model"),
    ("improve twin --q q --log log.jsonl --output a", "fitted to another policy than twin"),
    ("improve start --q q --log short.jsonl --output a", "fitted to another log"),
    ("improve start --q q --log log.jsonl --output a --set fresh_samples=1", "at least 2"),
    ("improve default --q q --log log.jsonl --output a", "fitted to another model"),
    ("gate default --policy start --q q --log log.jsonl", "default has another vocabulary"),
    ("gate start --policy start --q q --log log.jsonl --set x=1", "unknown setting"),
    ("evaluate nobody", "unknown policy or seller 'nobody'"),
    ("evaluate ./q", "is a Q, which judges what a policy says, and no policy"),
    ("evaluate ./q", "the policy that it is of (start); convgym serve-q ./q serves it"),
    ("improve start --q . --log log.jsonl --output a", "did you mean cut, lone, moved, q?"),
    (
        "serve-q start --port 0",
        "it is a policy; fit a Q to its log by convgym fit-q LOG --policy s",
    ),
    ("serve-q moved --port 0", "the policy 'elsewhere/start', which is not there"),
    ("serve-q moved --port 0 --policy twin", "fitted to another policy than twin"),
    ("serve-q cut --port 0", "cut/q.safetensors is no Q of convgym, or damaged"),
    ("serve-q spoilt --port 0 --policy start", "spoilt is damaged, its weights are missing: fit"),
    (
        "serve-q lone --port 0",
        "cannot read lone/report.json: No such file or directory; say by",
    ),
    ("evaluate log.jsonl", "log.jsonl is a file: expected the folder of a policy, or a seller"),
    ("evaluate silent --customers 3 --output q", "q is a folder: expected a JSON file for the"),
    ("evaluate silent --temperature 0.5", "is a seller, which has no temperature"),
    ("evaluate start --temperature 0", "temperature"),
    ("train nobody --output a", "unknown agent 'nobody'"),
    ("train bc --output start", "start exists and is never overwritten"),
    ("train bc --output a --set epochs=many", "epochs"),
    ("train bc --output a --policy nowhere", "no model at 'nowhere'"),
    ("train bc --output a --policy start --set policy.model=start", "drop one"),
    ("evaluate silent --customers 3 --against silent-2.json", "is not of these customers"),
    ("evaluate silent --customers 3 --output silent-2.json", "never overwritten"),
    ("evaluate silent --customers 3 --against log.jsonl", "is no report"),
]


def test_every_mistake_is_one_line(run: Run, make_model: Callable[..., LanguageModel]) -> None:
    collected(run)
    fitted(run)
    LanguageModelPolicy(make_model(seed=1, layers=1, context=768)).save(Path("twin"))
    LanguageModelPolicy(make_model(layers=1, context=768, hidden=32)).save(Path("wide"))
    run("evaluate", "silent", "--customers", "2", "--output", "silent-2.json")
    q = Path("q/q.safetensors")
    for folder in ("moved", "cut", "spoilt", "lone"):
        Path(folder).mkdir()
    for folder in ("moved", "lone"):
        Path(folder, "q.safetensors").write_bytes(q.read_bytes())
    Path("moved/report.json").write_text('{"policy": "elsewhere/start"}')
    Path("cut/q.safetensors").write_bytes(q.read_bytes()[:-9])
    tree = {**load_checkpoint(q), "weights": 3}
    save_checkpoint(Path("spoilt/q.safetensors"), tree)
    episodes = read_log("log.jsonl").episodes
    write_log("short.jsonl", episodes[:-1])
    write_log("test.jsonl", rollout(make_seller("silent"), evaluation_seeds(0, 2)))
    for arguments, message in MISTAKES:
        code, out, err = run(*arguments.split())
        assert (code, out) == (2, ""), (arguments, out, err)
        assert err.startswith("convgym: error: ") and message in err, (arguments, err)
        assert err.count("\n") == 1, (arguments, err)
        assert not Path("a").exists() and not Path("a.jsonl").exists(), arguments


@pytest.mark.slow
def test_two_processes_share_the_gradients_of_an_improvement(run: Run) -> None:
    pytest.importorskip("accelerate")
    assert collected(run)[0] == fitted(run)[0] == improved(run)[0] == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torchrun = ("torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(port), "-m")
    command = ("improve", "start", "--q", "q", "--log", "log.jsonl", "--output", "shared")
    done = subprocess.run(
        [
            *(sys.executable, "-m", *torchrun, "--", "convgym.benchmarks.cli.main"),
            *(*command, *sets("", SOLVER)),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("shared: start, improved") == 1  # the first one's alone
    assert (report("shared")["processes"], report("new")["processes"]) == (2, 1)
    before, alone, shared = (
        load_file(Path(folder) / "model.safetensors") for folder in ("start", "new", "shared")
    )
    moved = max(float((alone[name] - before[name]).abs().max()) for name in alone)
    apart = max(float((alone[name] - shared[name]).abs().max()) for name in alone)
    assert apart < moved / 20

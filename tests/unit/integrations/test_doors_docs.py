"""The snippets of docs/doors.md run where their packages are, small in place of big."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from convgym.llm.fake_server import Action, ChatServer

TEXT = (Path(__file__).parents[3] / "docs/doors.md").read_text(encoding="utf-8")
SNIPPETS = dict(
    re.findall(r"^## (\w+)\n(?:(?!## ).*\n)*?```python\n((?:(?!```).*\n)*)```", TEXT, re.MULTILINE)
)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ExitStack]:
    monkeypatch.chdir(tmp_path)
    with ExitStack() as stack:
        yield stack


def run(door: str, *instead: tuple[str, str], **names: Any) -> dict[str, Any]:
    """Run a snippet, with other text in places that must be there; return what it defines."""
    source = SNIPPETS[door]
    for text, other in instead:
        assert text in source
        source = source.replace(text, other)
    namespace: dict[str, Any] = {"__name__": "__main__", **names}
    exec(compile(source, f"docs/doors.md, {door}", "exec"), namespace)
    return namespace


def test_every_door_has_its_snippet() -> None:
    doors = re.findall(r"^\| \[(\w+)\]\(#(\w+)\)", TEXT, re.M)
    assert [title for title, _ in doors if title != "messages"] == [
        title for title in SNIPPETS if title != "Messages"
    ]
    assert [anchor for _, anchor in doors] == [title.lower() for title in SNIPPETS]


@pytest.mark.filterwarnings(
    "ignore:You are using 'rollout_func':UserWarning",
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning",  # TRL 1.16's own call
)
def test_trl(tokenizer: Any, network: Any, tmp_path: Path) -> None:
    pytest.importorskip("trl")
    model = tmp_path / "model"
    network.save_pretrained(model)
    tokenizer.save_pretrained(model)
    small = (
        "use_cpu=True, bf16=False, activation_checkpointing=False, report_to='none',"
        " dataloader_pin_memory=False, disable_tqdm=True, save_strategy='no', max_steps=1,"
        " num_generations=2, per_device_train_batch_size=2,"
    )
    trainer = run(
        "TRL",
        ('"Qwen/Qwen3-0.6B"', repr(str(model))),
        ("GRPOConfig(", f"GRPOConfig({small}"),
        ('"max_new_tokens": 60', '"max_new_tokens": 4'),
        ("customers(1000", "customers(1"),
    )["trainer"]
    assert trainer.state.log_history[0]["reward"] == 0.0


def test_messages(capsys: pytest.CaptureFixture[str]) -> None:
    async def my_model(messages: list[Any]) -> str:
        return "Shall I place the order?"

    run("Messages", my_model=my_model)
    assert re.fullmatch(r"\d\.0 sales\n", capsys.readouterr().out)


def test_skyrl() -> None:
    pytest.importorskip("skyrl_gym")
    from skyrl_gym.envs.registration import registry

    try:
        assert run("SkyRL")["step"]["reward"] == 0.0
    finally:
        registry.pop("convgym", None)


def test_minari(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("minari")
    found = run("Minari")
    held, again = found["episodes"], found["again"]
    assert [episode.messages() for episode in again] == [episode.messages() for episode in held]
    assert [episode.outcome for episode in again] == [episode.outcome for episode in held]
    assert capsys.readouterr().out.startswith("20 Customer: ")


@pytest.mark.filterwarnings("default")
def test_verifiers(capsys: pytest.CaptureFixture[str], elsewhere: ExitStack) -> None:
    pytest.importorskip("verifiers.v1")
    server = elsewhere.enter_context(ChatServer(lambda request: Action(text="Hello.")))
    run("verifiers", ("http://localhost:8000/v1", server.url), ("customers=20", "customers=2"))
    assert capsys.readouterr().out.endswith(" sales in 2 of 2 conversations\n\n")


@pytest.mark.filterwarnings("default")
def test_inspect(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("inspect_ai")
    from inspect_ai.model import ModelOutput, ModelUsage, get_model

    def speak(*_: Any) -> ModelOutput:
        output = ModelOutput.from_content("mockllm/model", "Hello.")
        output.usage = ModelUsage()
        return output

    model = get_model("mockllm/model", custom_outputs=speak)
    run("Inspect", ('"openai/gpt-5-nano"', "model, display='none'"), ("=50", "=2"), model=model)
    gc.collect()  # what Inspect leaves open is told here, and not when pytest ends
    assert capsys.readouterr().out.endswith("0.0\n")


@pytest.mark.filterwarnings("default")
def test_tinker() -> None:
    pytest.importorskip("tinker_cookbook.rl.message_env")
    assert run("Tinker")["data"].group_size == 8


@pytest.mark.filterwarnings("default")
def test_openenv(served: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("openenv.core")
    from convgym.integrations.openenv import make_app

    run("OpenEnv", ("http://localhost:8000", served(make_app({}))))
    assert re.fullmatch(r"\w+ [01]\.0\n", capsys.readouterr().out)

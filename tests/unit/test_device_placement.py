"""Everything is computed where the model is: by the source, by the strictest CPU, and on a GPU."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from convgym.agents import make_agent
from convgym.agents.model.batch import tokenise
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.lora import LoRA
from convgym.agents.pretrain import PretrainConfig, build_model, pretrain
from convgym.agents.training.collector import Collector
from convgym.agents.values.q_function import QFunctionConfig
from convgym.conversation import Episode
from convgym.customers import Decision, Reply
from convgym.customers.scripted.customer import ScriptedCustomer
from convgym.errors import ConvgymError
from convgym.llm.base import ChatAnswer, ChatMessage, ChatRequest
from convgym.llm.local.transformers_backend import TransformersBackend
from convgym.rollout import rollout
from convgym.seeds import train_seeds
from convgym.sellers import make_seller

torch.set_num_threads(1)

gpu = pytest.mark.gpu
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is visible")

# By the source.

ROOT = Path(__file__).parents[2]
FACTORIES = set(
    "zeros ones tensor arange full empty rand randn randint randperm eye linspace logspace "
    "as_tensor asarray scalar_tensor empty_strided tril_indices triu_indices".split()
)
"""Functions of torch that make a tensor on the default device unless they are told another."""


def unplaced(source: str) -> list[int]:
    """Return the lines on which a tensor or layer is made without saying where."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        factory = name.startswith("torch.") and name.removeprefix("torch.") in FACTORIES
        layer = name in ("nn.Linear", "torch.nn.Linear", "nn.Embedding")
        placed = any(keyword.arg == "device" for keyword in node.keywords)
        if (factory or layer) and not placed:
            lines.append(node.lineno)
    return sorted(lines)


def test_a_tensor_without_a_place_is_found() -> None:
    source = (
        "a = torch.zeros(3)\n"
        "b = torch.zeros(3, device=x.device)\n"
        "c = torch.zeros_like(a)\n"
        "d = a.new_zeros(3)\n"
        "e = torch.Generator().manual_seed(0)\n"
        "f = [torch.tensor([1]) for _ in y]\n"
        "g = nn.Linear(3, 1)\n"
        "h = nn.Linear(3, 1, device=a.device)\n"
        "i = torch.randperm(3, generator=e)\n"
        "j = torch.stack([a, b])\n"
    )
    assert unplaced(source) == [1, 6, 7, 9]


@pytest.mark.parametrize("folder", ["agents", "convgym/llm/local"])
def test_every_tensor_is_told_its_place(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    lines = {str(path): unplaced(path.read_text(encoding="utf-8")) for path in files}
    assert {path: found for path, found in lines.items() if found} == {}


@pytest.mark.parametrize("folder", ["agents", "convgym/llm/local"])
def test_nobody_names_a_gpu_or_moves_there_unasked(folder: str) -> None:
    for path in sorted((ROOT / folder).rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        assert ".cuda()" not in source and '.to("cuda' not in source, path


# Small rounds of every agent.

Q = {"epochs": 1, "first_steps": 0, "replies": 1, "max_reply_tokens": 4}
STEP = {"name": "token-ppo", "fresh_steps": 2, "fresh_conversations": 4, "fresh_samples": 2}
BUDGET = 8
ROUNDS: dict[str, tuple[str, dict[str, Any]]] = {
    "bc": ("bc", {"minibatch": 4}),
    "filtered-bc": ("filtered-bc", {"minibatch": 4}),
    "online-ppo": ("online-ppo", {"deployment": 4, "minibatch": 2}),
    "turn-level-ppo": ("turn-level-ppo", {"rounds": 2, "minibatch": 2}),
    "trajectory-grpo": ("trajectory-grpo", {"rounds": 2, "minibatch": 2, "group_size": 2}),
    "ilql": ("ilql", {"epochs": 1, "minibatch": 4}),
    "expert-iteration": ("expert-iteration", {"rounds": 1, "imitation": {"minibatch": 4}}),
    "token-ppo": ("iterative-ppo", {"improvement": STEP, "q_function": Q}),
    "token-grpo": (
        "iterative-grpo",
        {
            "improvement": {"name": "token-grpo", "steps": 2, "conversations": 4, "samples": 2},
            "q_function": Q,
        },
    ),
    "logged epochs": ("iterative-ppo", {"improvement": {**STEP, "epochs": 1}, "q_function": Q}),
    "dueling, cross-fitted": (
        "iterative-ppo",
        {
            "improvement": STEP,
            "q_function": {**Q, "form": "dueling", "folds": 2, "return_lambda": 0.5},
        },
    ),
    "pessimism, reuse": (
        "iterative-ppo",
        {
            "improvement": STEP,
            "q_function": {**Q, "folds": 2, "combine": "lower-bound", "reuse": "importance"},
        },
    ),
    "squared error": ("iterative-ppo", {"improvement": STEP, "q_function": {**Q, "loss": "mse"}}),
    "best-of-n": ("iterative-ppo", {"improvement": "best-of-n", "q_function": Q}),
}
TRL: dict[str, tuple[str, dict[str, Any]]] = {
    name: (
        "iterative-ppo",
        {"rounds": 1, "improvement": {"name": name, "steps": 2, "prompts": 4}, "q_function": Q},
    )
    for name in ("grpo", "rloo")
}
every_round = pytest.mark.parametrize("name", [*ROUNDS])
every_lora = pytest.mark.parametrize("lora", [None, LoRA(rank=2)], ids=["whole", "adapters"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that has heard the mediocre seller."""
    folder = tmp_path_factory.mktemp("model")
    shape = PretrainConfig(
        vocabulary=400, hidden=16, layers=1, heads=2, intermediate=24, learning_rate=1e-2
    )
    pretrain(folder, conversations=60, config=shape)
    return folder


def agent_of(
    name: str, folder: Path, *, device: str = "cpu", lora: LoRA | None = None, **policy: Any
) -> Any:
    agent, settings = {**ROUNDS, **TRL}[name]
    settings = dict(settings)
    if "q_function" in settings:
        settings.setdefault("rounds", 2)
        settings["q_function"] = QFunctionConfig(**settings["q_function"])
        # Whatever the gate says of so small a log is deployed.
        lenient = {"min_coverage": 0.0, "max_kl": math.inf, "min_conversations": 0, "min_sales": 0}
        settings["gate"] = {"standard_errors": 1e9, **lenient}
    chosen = {"model": str(folder), "max_new_tokens": 6, "device": device, "lora": lora, **policy}
    return make_agent(agent, policy={"dtype": "float32", **chosen}, **settings)


class Fickle(ScriptedCustomer):
    """Buys at once what it is offered in an odd number of letters."""

    def respond(self, utterance: str) -> Reply:
        reply = super().respond(utterance)
        return Reply("I will take it.", Decision.BUY) if len(utterance) % 2 else reply


def train_and_speak(agent: Any) -> tuple[dict[str, Tensor], list[Episode], Any]:
    # Some need customers who buy.
    long = getattr(agent.config, "filter_converted", False) or agent.name == "ilql"
    environment: dict[str, Any] = {"max_turns": 12 if long else 3}
    if agent.name in ("expert-iteration", "trajectory-grpo"):  # their own sales teach them
        environment["customer"] = Fickle
    report = agent.train(Collector(BUDGET, seed=0, environment=environment))
    said = rollout(agent, train_seeds(1, 4), environment=environment, policy_seed=1)
    return agent.model.weights(), said, report


@contextmanager
def nowhere() -> Iterator[None]:
    """Put every tensor that is not told where to be on the device that holds no numbers."""
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


def test_nowhere_is_no_place_to_compute() -> None:
    with nowhere():
        assert torch.zeros(2).is_meta
        with pytest.raises((RuntimeError, NotImplementedError)):
            torch.zeros(2, device="cpu") + torch.zeros(2)
    assert not torch.zeros(2).is_meta


@every_lora
@every_round
def test_an_agent_makes_no_tensor_nowhere(name: str, folder: Path, lora: LoRA | None) -> None:
    weights, said, report = train_and_speak(agent_of(name, folder, lora=lora))
    agent = agent_of(name, folder, lora=lora)
    start = {key: value.clone() for key, value in agent.model.weights().items()}
    # Loaded before: transformers loads nothing while the default is a device without numbers.
    with nowhere():
        placed, spoken, again = train_and_speak(agent)
    assert all(torch.equal(placed[key], weights[key]) for key in weights | placed)
    assert any(not torch.equal(start[key], placed[key]) for key in start)
    assert (spoken, again.rows, again.usage) == (said, report.rows, report.usage)


@pytest.mark.parametrize("name", TRL)
def test_trl_loads_its_reference_itself_which_nowhere_forbids(name: str, folder: Path) -> None:
    """So TRL's solvers are held by the source, and by a GPU where there is one."""
    with nowhere(), pytest.raises(RuntimeError, match="meta device context manager"):
        train_and_speak(agent_of_loaded(name, folder))


def agent_of_loaded(name: str, folder: Path) -> Any:
    torch.set_default_device(None)
    agent = agent_of(name, folder)
    torch.set_default_device("meta")
    return agent


# Local customers.

TEMPLATE = (
    "{% for m in messages %}<|customer|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|seller|>{% endif %}"
)


@pytest.fixture(scope="module")
def chat_folder(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = TEMPLATE
    path = tmp_path_factory.mktemp("chat")
    tokenizer.save_pretrained(path)
    shape = PretrainConfig(hidden=16, layers=2, heads=2, intermediate=24)
    network = build_model(shape, tokenizer, seed=0)
    for parameter in network.parameters():
        if parameter.ndim == 2:
            parameter.data *= 6
    network.save_pretrained(path)
    return path


SCHEMA = {"type": "object", "properties": {"decision": {"enum": ["buy", "leave"]}}}


def requests(schema: bool = True) -> list[ChatRequest]:
    def ask(content: str, seed: int, **options: Any) -> ChatRequest:
        messages: tuple[ChatMessage, ...] = ({"role": "user", "content": content},)
        return ChatRequest(messages, seed, **{"max_tokens": 16, **options})

    asked = [ask("Hello. " * n, seed=n) for n in (1, 2, 5, 9)] + [ask("Hello. " * 9, seed=1)]
    if schema:
        asked.append(ask("Decide.", seed=3, schema=SCHEMA, max_tokens=24))
    return asked


def test_a_local_customer_makes_no_tensor_nowhere(chat_folder: Path) -> None:
    def answers() -> list[Any]:
        # Twice: the second time prompts begin with what was read.
        return [*backend.complete(requests()), *backend.complete(requests()[::-1])]

    backend = TransformersBackend(chat_folder, device="cpu", dtype="float32")
    expected = answers()
    _forget()
    backend = TransformersBackend(chat_folder, device="cpu", dtype="float32")
    with nowhere():
        assert answers() == expected
    assert all(isinstance(answer, ChatAnswer) and answer.text for answer in expected)


def _forget() -> None:
    from convgym.llm.local.transformers_backend import _load

    _load.cache_clear()


def test_a_local_customer_in_bfloat16(chat_folder: Path) -> None:
    plain = TransformersBackend(chat_folder, device="cpu")
    short = TransformersBackend(chat_folder, device="cpu", dtype="bfloat16")
    assert "bfloat16" not in plain.fingerprint
    assert short.fingerprint == f"{plain.fingerprint}/bfloat16"
    assert {p.dtype for p in short._model._sampler._model.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in plain._model._sampler._model.parameters()} == {torch.float32}
    answers = short.complete(requests())
    assert all(isinstance(answer, ChatAnswer) for answer in answers)
    assert short.complete(requests()) == answers


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "gpu"}, "unknown device 'gpu'"),
        ({"device": "cuda:99"}, "'cuda:99' is not there"),
        ({"dtype": "float16"}, "dtype.* (must|should) be .*bfloat16.*, got 'float16'"),
    ],
)
def test_what_cannot_be_is_one_line(
    chat_folder: Path, folder: Path, options: dict[str, Any], message: str
) -> None:
    makers: list[Callable[[], Any]] = [
        lambda: TransformersBackend(chat_folder, **options),
        lambda: make_agent("bc", policy={"model": str(folder), **options}),
    ]
    for make in makers:
        with pytest.raises(ConvgymError, match=message) as caught:
            make()
        assert "\n" not in str(caught.value)


# Mixed precision.


def log_of(model: LanguageModel, n: int = 8) -> Any:
    seller = make_seller("mediocre")
    episodes = rollout(seller, train_seeds(3, n), environment={"max_turns": 3})
    return model.collate([tokenise(episode, model.format) for episode in episodes])


@torch.no_grad()
def logprobs(model: LanguageModel) -> Tensor:
    return model.logprobs(log_of(model)).cpu()


def test_mixed_precision_keeps_weights_in_float32_and_is_near(folder: Path) -> None:
    plain, mixed = (agent_of("bc", folder, dtype=dtype).model for dtype in ("float32", "bfloat16"))
    assert {p.dtype for p in mixed.network.parameters()} == {torch.float32}
    difference = (logprobs(plain) - logprobs(mixed)).abs()
    assert 0 < difference.mean() < 0.03  # 8 bits of precision, and it is not float32
    assert logprobs(mixed).dtype == torch.float32


@pytest.mark.parametrize("name", ["bc", "online-ppo", "token-ppo", "dueling, cross-fitted", *TRL])
def test_agents_train_in_mixed_precision(name: str, folder: Path) -> None:
    agent = agent_of(name, folder, dtype="bfloat16")
    start = {key: value.clone() for key, value in agent.model.weights().items()}
    weights, said, report = train_and_speak(agent)
    assert {value.dtype for value in weights.values()} == {torch.float32}
    assert all(value.isfinite().all() for value in weights.values())
    assert any(not torch.equal(start[key], weights[key]) for key in start)
    assert report.usage.conversations == BUDGET
    # What training reads is what was sampled, but for sums in another order at 8 bits.
    model = agent.model
    batch = model.collate([tokenise(episode, model.format) for episode in said])
    with torch.no_grad():
        difference = (model.logprobs(batch) - batch.logprobs[batch.response]).abs()
    assert difference.mean() < 0.03
    # Copies, critics and Q compute as the original does.
    assert model.copy().network.dtype == torch.float32
    with torch.no_grad():
        assert torch.equal(model.copy().logprobs(batch), model.logprobs(batch))


# On a GPU.


@gpu
@needs_gpu
@every_lora
@pytest.mark.parametrize("name", [*ROUNDS, *TRL])
def test_an_agent_on_a_gpu_is_the_one_on_the_cpu(
    name: str, folder: Path, lora: LoRA | None
) -> None:
    agents = {
        device: agent_of(name, folder, device=device, lora=lora) for device in ("cpu", "cuda")
    }
    start = {device: logprobs(agent.model) for device, agent in agents.items()}
    torch.testing.assert_close(start["cuda"], start["cpu"], atol=1e-3, rtol=0)
    for agent in agents.values():
        train_and_speak(agent)
    model = agents["cuda"].model
    assert {p.device.type for p in model.network.parameters()} == {"cuda"}
    assert all(value.isfinite().all() for value in model.weights().values())
    # Samples part ways at the first rounding that matters, so trained weights are not compared:
    # the same weights on the CPU say the same.
    back = agent_of(name, folder, lora=lora).model
    back.load_weights({key: value.cpu() for key, value in model.weights().items()})
    torch.testing.assert_close(logprobs(model), logprobs(back), atol=1e-3, rtol=0)
    assert (logprobs(model) - start["cuda"]).abs().max() > 0


@gpu
@needs_gpu
def test_cloning_on_a_gpu_learns_the_same_weights(folder: Path) -> None:
    """The log is the scripted seller's: nothing is sampled that rounding could change."""
    cpu, cuda = (train_and_speak(agent_of("bc", folder, device=d))[0] for d in ("cpu", "cuda"))
    for key, value in cpu.items():
        torch.testing.assert_close(cuda[key].cpu(), value, atol=1e-3, rtol=1e-3)


@gpu
@needs_gpu
def test_a_local_customer_on_a_gpu(chat_folder: Path) -> None:
    cpu, cuda = (
        TransformersBackend(chat_folder, device=device, dtype="float32")
        for device in ("cpu", "cuda")
    )
    greedy = [replace(request, temperature=0.0) for request in requests(schema=False)]
    assert cuda.complete(greedy) == cpu.complete(greedy)
    assert cuda.fingerprint == cpu.fingerprint

"""TRL's trainer holds conversations through our doors: what it sees, masks and is rewarded for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from convgym.customers import Decision, Reply
from convgym.errors import ConvgymError, InfrastructureError
from convgym.integrations.trl import (
    SellerRollout,
    customers,
    purchase_reward,
    seller_environment,
)
from convgym.seeds import EVALUATION_BASE, evaluation_seeds, train_seeds
from convgym.sellers.prompt import seller_prompt

torch = pytest.importorskip("torch")
trl = pytest.importorskip("trl")
torch.set_num_threads(1)

pytestmark = pytest.mark.filterwarnings(
    "ignore:You are using '(rollout_func|environment_factory)':UserWarning",
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning",  # TRL 1.16's own call
)


class Patron:
    """Says its seed, buys in the second turn if that is even, and fails if it is divisible by 5."""

    fingerprint, briefing = "patron", "We sell strings."
    latent: dict[str, Any] = {}  # noqa: RUF012

    def reset(self, seed: int) -> str:
        self.seed, self.turns = seed, 0
        return f"I am {seed}."

    def respond(self, utterance: str) -> Reply:
        self.turns += 1
        if self.seed % 5 == 0:
            raise InfrastructureError("no connection")
        buys = self.turns == 2 and self.seed % 2 == 0
        return Reply(f"Turn {self.turns}.", Decision.BUY if buys else Decision.CONTINUE)


SEEDS = [12, 13, 15]  # buys, does not, fails


def data(seeds: Sequence[int] = SEEDS) -> Any:
    """Return what ``customers`` makes, of these customers."""
    made = customers(len(seeds), customer=Patron).to_list()
    for row, seed in zip(made, seeds, strict=True):
        for message in row["prompt"]:
            message["episode_seed"] = seed
    from datasets import Dataset  # type: ignore[import-untyped]

    return Dataset.from_list(made)


def config(folder: Path, **settings: Any) -> Any:
    return trl.GRPOConfig(
        output_dir=str(folder),
        max_steps=1,
        per_device_train_batch_size=2 * len(SEEDS),
        num_generations=2,
        shuffle_dataset=False,
        generation_kwargs={"max_new_tokens": 6},
        learning_rate=1e-2,
        use_cpu=True,
        bf16=False,
        activation_checkpointing=False,
        report_to="none",
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
        dataloader_pin_memory=False,
        **settings,
    )


def test_data_are_customers_of_the_product() -> None:
    rows = customers(3, seed=4)["prompt"]
    assert [row[-1]["episode_seed"] for row in rows] == train_seeds(4, 3)
    assert rows[0][0]["content"] == seller_prompt("laptops")
    assert "insurance" in customers(1, catalog="insurance")["prompt"][0][0]["content"]
    reserved = customers(2, evaluation=True, prompt="Sell.")["prompt"]
    assert [row[-1]["episode_seed"] for row in reserved] == evaluation_seeds(0, 2)
    assert reserved[0][0]["content"] == "Sell."
    with pytest.raises(ConvgymError, match="unknown environment option 'shop'"):
        customers(1, shop="laptops")


@pytest.fixture
def trained(tokenizer: Any, network: Any, tmp_path: Path) -> dict[str, Any]:
    """Train for a step and return what the trainer made of the conversations."""
    seen: dict[str, Any] = {}
    rollout = SellerRollout(customer=Patron, max_turns=3)

    def watched(prompts: Any, trainer: Any) -> Any:
        seen["rows"] = rollout(prompts, trainer)
        return seen["rows"]

    trainer = trl.GRPOTrainer(
        model=network,
        reward_funcs=purchase_reward,
        args=config(tmp_path, max_completion_length=400),
        train_dataset=data(),
        processing_class=tokenizer,
        rollout_func=watched,
    )
    score = trainer._generate_and_score_completions
    trainer._generate_and_score_completions = lambda inputs: seen.setdefault("batch", score(inputs))
    before = network.get_input_embeddings().weight.detach().clone()
    trainer.train()
    seen["moved"] = not torch.equal(before, network.get_input_embeddings().weight)
    seen["reward"] = trainer.state.log_history[0]["reward"]
    return seen


def test_a_model_is_trained_on_conversations(trained: dict[str, Any], tokenizer: Any) -> None:
    rows = trained["rows"]
    assert rows["outcome"] == [
        *["purchase"] * 2,
        *["turn_limit"] * 2,
        *["infrastructure_failure"] * 2,
    ]
    assert rows["purchase"] == [1.0, 1.0, 0.0, 0.0, None, None]
    prompt = tokenizer.decode(rows["prompt_ids"][0])
    assert "We sell strings." in prompt
    assert prompt.endswith("<|im_start|>user\nI am 12.<|im_end|>\n<|im_start|>assistant\n")
    for ids, mask in zip(rows["completion_ids"], rows["env_mask"], strict=True):
        assert len(ids) == len(mask)
    heard = [
        tokenizer.decode([token for token, own in zip(ids, mask, strict=True) if not own])
        for ids, mask in zip(rows["completion_ids"], rows["env_mask"], strict=True)
    ]
    # The mark that ends an utterance is the model's own where it said it.
    assert heard[0].removeprefix("<|im_end|>") == (
        "\n<|im_start|>user\nTurn 1.<|im_end|>\n<|im_start|>assistant\n"
    )
    assert heard[2].count("Turn") == 2
    assert sum(rows["env_mask"][4]) == 0
    assert math.isclose(trained["reward"], 0.5)
    assert trained["moved"] is False  # within each group all rewards are equal


def test_a_group_that_differs_moves_the_model(tokenizer: Any, network: Any, tmp_path: Path) -> None:
    rows: dict[str, Any] = {}

    def by_chance(purchase: list[float | None], **_: Any) -> list[float | None]:
        return [None if each is None else each + place for place, each in enumerate(purchase)]

    trainer = trl.GRPOTrainer(
        model=network,
        reward_funcs=by_chance,
        args=config(tmp_path, max_completion_length=20),
        train_dataset=data(),
        processing_class=tokenizer,
        rollout_func=lambda prompts, trainer: (
            rows.update(SellerRollout(customer=Patron)(prompts, trainer)) or rows
        ),
    )
    before = network.get_input_embeddings().weight.detach().clone()
    trainer.train()
    assert not torch.equal(before, network.get_input_embeddings().weight)
    # Longer than may be: the conversation ends, and has sold nothing.
    assert all(20 <= len(ids) <= 20 + 6 + 40 for ids in rows["completion_ids"][:4])
    assert rows["outcome"][2] == "turn_limit" and rows["purchase"][2] == 0.0


def test_the_customers_words_are_written_as_the_template_writes_them(tokenizer: Any) -> None:
    class Trainer:
        processing_class, chat_template = tokenizer, None
        chat_template_kwargs: dict[str, Any] = {}  # noqa: RUF012
        max_completion_length, use_vllm = 1000, True
        said = iter([["Hi.", "Hi."], ["Ho.<|im_end|>", "Ho."], ["Well."]])

        def _generate_single_turn(
            self,
            prompts: list[list[int]],
            images: None,
            fields: dict[str, Any],
            num_generations: int,
        ) -> tuple[list[list[int]], list[list[float]]]:
            ids = [tokenizer(text)["input_ids"] for text in next(self.said)]
            return ids, [[-0.5] * len(each) for each in ids]

    rollout = SellerRollout(customer=Patron, max_turns=3)
    prompts = data([12, 13])["prompt"]
    rows: Any = rollout(prompts, Trainer())
    for ids, mask, logprobs in zip(
        rows["completion_ids"], rows["env_mask"], rows["logprobs"], strict=True
    ):
        assert len(ids) == len(mask)
        assert [logprob != 0 for logprob in logprobs] == [bool(own) for own in mask]
    said = {"role": "assistant", "content": ""}
    for place, (seed, utterances) in enumerate(
        [(12, ["Hi.", "Ho."]), (13, ["Hi.", "Ho.", "Well."])]
    ):
        messages = [prompts[place][0], {"role": "user", "content": f"I am {seed}."}]
        for turn, utterance in enumerate(utterances, 1):
            messages += [
                {**said, "content": utterance},
                {"role": "user", "content": f"Turn {turn}."},
            ]
        written = tokenizer.apply_chat_template(messages[:-1], tokenize=False)
        tokens = rows["prompt_ids"][place] + rows["completion_ids"][place]
        assert written.startswith(tokenizer.decode(tokens))
    end = tokenizer.eos_token_id
    assert rows["completion_ids"][0][-1] == end and rows["env_mask"][0][-1] == 1
    assert not any(
        mask
        for token, mask in zip(rows["completion_ids"][1], rows["env_mask"][1], strict=True)
        if token == end
    )


def test_where_every_customer_fails_nothing_is_learnt(tokenizer: Any) -> None:
    class Mute(Patron):
        def reset(self, seed: int) -> str:
            raise InfrastructureError("no connection")

    class Trainer:
        processing_class, chat_template = tokenizer, None
        chat_template_kwargs: dict[str, Any] = {}  # noqa: RUF012

    with pytest.raises(InfrastructureError, match="in all of 2 conversations: no connection"):
        SellerRollout(customer=Mute)(data([12, 13])["prompt"], Trainer())


def test_a_prompt_of_somebody_else_is_refused(tokenizer: Any) -> None:
    with pytest.raises(ConvgymError, match="must name its customer"):
        SellerRollout()([[{"role": "user", "content": "Hi."}]], None)


def test_a_template_that_forgets_is_refused(tokenizer: Any) -> None:
    class Trainer:
        processing_class = tokenizer
        chat_template_kwargs: dict[str, Any] = {}  # noqa: RUF012
        chat_template = "{{ messages[-1].content }}"
        max_completion_length, use_vllm = 1000, False

        def _generate_single_turn(self, *_: Any, **__: Any) -> tuple[list[list[int]], None]:
            return [[9, 9]], None

    with pytest.raises(ConvgymError, match="leaves out what the assistant said"):
        SellerRollout(customer=Patron)(data([12])["prompt"], Trainer())


def test_the_environment_is_spoken_to_by_a_tool() -> None:
    environment = seller_environment(customer=Patron, max_turns=3)()
    prompt = data([12])["prompt"][0]
    assert environment.reset(prompt=prompt, other="column") == "I am 12."
    assert environment.get_reward() == 0.0
    assert environment.say("Hi.") == "Turn 1."
    assert environment.say("Hi.") == "Turn 2. [The conversation is over.]"
    assert environment.say("Hello?") == "[The conversation is over.]"
    assert environment.get_reward() == 1.0
    environment.reset(prompt=data([15])["prompt"][0])
    assert environment.say("Hi.") == "[The conversation is over.]"
    assert environment.get_reward() is None
    environment.reset()  # nobody named
    seed = environment._dialogue.seed
    assert seed is not None and 0 <= seed < EVALUATION_BASE
    with pytest.raises(ConvgymError, match="unknown environment option"):
        seller_environment(shop="laptops")


def test_a_model_is_trained_through_the_tool(
    tokenizer: Any, network: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    templates = Path(trl.__file__).parent / "chat_templates"
    monkeypatch.setattr(tokenizer, "chat_template", (templates / "qwen2_5.jinja").read_text())
    trainer = trl.GRPOTrainer(
        model=network,
        args=config(tmp_path, max_completion_length=1000),
        train_dataset=data(),
        processing_class=tokenizer,
        environment_factory=seller_environment(customer=Patron, max_turns=3),
    )
    call = '<tool_call>\n{"name": "say", "arguments": {"utterance": "Hi."}}\n</tool_call><|im_end|>'
    script = iter([call, call, "Goodbye.<|im_end|>"])
    shown: list[str] = []

    def speak(prompts: list[list[int]], *_: Any, **__: Any) -> tuple[list[list[int]], None]:
        shown.append(tokenizer.decode(prompts[0]))
        return [
            tokenizer(next_words)["input_ids"] for next_words in [next(script)] * len(prompts)
        ], None

    monkeypatch.setattr(trainer, "_generate_single_turn", speak)
    trainer.train()
    assert "What you say, one or two short sentences." in shown[0]  # the tool, as the model sees it
    assert shown[1].count("Turn 1.") == 1 and shown[2].count("[The conversation is over.]") == 1
    assert trainer.state.log_history[0]["rewards/SellerEnvironment/mean"] == 0.5
    assert trainer.state.log_history[0]["tools/failure_frequency"] == 0

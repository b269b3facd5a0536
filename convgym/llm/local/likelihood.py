"""How likely texts are to a causal language model, in batches."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from convgym.llm.local.sampling import Tokens


@torch.inference_mode()
def mean_log_probabilities(
    model: PreTrainedModel, pairs: Sequence[tuple[Tokens, Tokens]], batch_size: int = 16
) -> list[float]:
    """Return the mean log-probability of a text's tokens, in nats, for each pair.

    Args:
        model: in evaluation mode.
        pairs: token ids of what comes before (at least one) and of the text (at least one).
        batch_size: pairs that are read together; changes the means by no more than rounding.
    """
    means = [0.0] * len(pairs)
    order = sorted(range(len(pairs)), key=lambda i: sum(map(len, pairs[i])))  # few pads
    for start in range(0, len(order), batch_size):
        places = order[start : start + batch_size]
        batch = _means(model, [pairs[i] for i in places])
        for i, mean in zip(places, batch, strict=True):
            means[i] = mean
    return means


def _means(model: PreTrainedModel, pairs: Sequence[tuple[Tokens, Tokens]]) -> list[float]:
    longest = max(len(text) for _, text in pairs)
    width = max(len(before) + len(text) for before, text in pairs)
    # Aligned at the right, where texts end.
    pads = [width - len(before) - len(text) for before, text in pairs]
    rows = [[0] * pad + [*before, *text] for pad, (before, text) in zip(pads, pairs, strict=True)]
    ids = torch.tensor(rows, device=model.device)
    mask = torch.tensor([[0] * pad + [1] * (width - pad) for pad in pads], device=model.device)
    output = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
        use_cache=False,
        logits_to_keep=longest + 1,
    )
    logits = output.logits[:, :-1].float()
    chosen = logits.gather(-1, ids[:, -longest:, None])[..., 0]
    logprobs = chosen - logits.logsumexp(-1)
    return [float(row[-len(text) :].mean()) for row, (_, text) in zip(logprobs, pairs, strict=True)]

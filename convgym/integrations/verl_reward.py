"""A reward function for verl: asks a server of Q (``convgym serve-q``).

    reward.custom_reward_function.path=.../verl_reward.py
    reward.custom_reward_function.name=compute_score
    +reward.custom_reward_function.reward_kwargs.url=http://127.0.0.1:8000

Needs nothing but Python: where convgym is not installed, a copy of this file does. Rows come from
``convgym logs prompts``, whose ``extra_info`` holds the state. A token is taken from the
environment variable ``CONVGYM_REWARD_TOKEN``.
"""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

URL = "http://127.0.0.1:8000"
TOKEN_VARIABLE = "CONVGYM_REWARD_TOKEN"
TRIES = 5
"""Of a request that finds no server, a second apart and more."""
CONNECTIONS = 32
_CLIENT_ERRORS = range(400, 500)

# Proxies of the environment are for the world outside, and a reward server stands beside.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any],
    *,
    url: str = URL,
    score: str = "q",
    timeout: float = 180.0,
    **_: Any,
) -> dict[str, float]:
    """Return the reward of one response, as verl's reward managers call it.

    Args:
        data_source: not looked at.
        solution_str: what the policy said.
        ground_truth: not looked at; there is none.
        extra_info: holds ``state``, a transcript or chat messages.
        url: of the server.
        score: ``"q"`` or ``"advantage"``.
        timeout: seconds for an answer.

    Returns:
        ``score``, which verl trains on, and ``q``, ``value`` and ``advantage`` for its logs.

    Raises:
        RuntimeError: when the server refuses, with its reason, or does not answer.
    """
    return _scores(_state(extra_info), [solution_str], url, score, timeout)[0]


def compute_score_batch(
    data_sources: Sequence[str],
    solution_strs: Sequence[str],
    ground_truths: Sequence[Any],
    extra_infos: Sequence[Mapping[str, Any]],
    *,
    url: str = URL,
    score: str = "q",
    timeout: float = 180.0,
    **_: Any,
) -> list[dict[str, float]]:
    """Return the rewards of many responses, for reward managers that score whole batches.

    Responses to one state travel together; arguments and errors are as ``compute_score``'s.
    """
    places: dict[str, list[int]] = {}
    for place, extra_info in enumerate(extra_infos):
        places.setdefault(json.dumps(_state(extra_info)), []).append(place)

    def ask(state: str) -> list[dict[str, float]]:
        said = [solution_strs[place] for place in places[state]]
        return _scores(json.loads(state), said, url, score, timeout)

    scores: dict[int, dict[str, float]] = {}
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        for state, answers in zip(places, threads.map(ask, places), strict=True):
            scores.update(zip(places[state], answers, strict=True))
    return [scores[place] for place in range(len(solution_strs))]


def _state(extra_info: Mapping[str, Any]) -> Any:
    try:
        state = extra_info["state"]
    except (KeyError, TypeError):
        raise RuntimeError(
            "extra_info holds no 'state': make the prompts with `convgym logs prompts`"
        ) from None
    # Messages that went through pandas are an array.
    return state.tolist() if hasattr(state, "tolist") else state


def _scores(
    state: Any, responses: Sequence[str], url: str, score: str, timeout: float
) -> list[dict[str, float]]:
    query = urllib.parse.urlencode({"score": score})
    headers = {"Content-Type": "application/json"}
    if token := os.environ.get(TOKEN_VARIABLE):
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(
        f"{url.rstrip('/')}/score?{query}",
        json.dumps({"messages": state, "responses": list(responses)}).encode(),
        headers,
    )
    answer = _answer(request, timeout)
    names = {"score": "scores", "q": "q", "value": "value", "advantage": "advantage"}
    return [
        {name: float(answer[field][place]) for name, field in names.items()}
        for place in range(len(responses))
    ]


def _answer(request: urllib.request.Request, timeout: float) -> dict[str, Any]:
    for attempt in range(TRIES):
        if attempt:
            time.sleep(attempt)
        try:
            with _OPENER.open(request, timeout=timeout) as response:
                answer: dict[str, Any] = json.load(response)
                return answer
        except urllib.error.HTTPError as error:
            reason = f"{error.code}: {error.read(1000).decode(errors='replace')}"
            if error.code in _CLIENT_ERRORS:  # it would be the same again
                break
        except OSError as error:
            reason = str(error)
    raise RuntimeError(f"no reward from {request.full_url.split('?')[0]}: {reason}")

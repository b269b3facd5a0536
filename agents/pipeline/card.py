"""The model card of an improved policy: what it is, and what it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_CARD = """---
library_name: transformers
pipeline_tag: text-generation
tags: [convgym, dialogue, reinforcement-learning]
---

# A seller, improved once

A language model that sells in conversations, made by one improvement step of Iterative PPO
(arXiv 2511.21638) with convgym {convgym}: a copy of the policy below learned from its log and from
a Q fitted to it. No customer was met meanwhile. How well it sells is not known before it has been
judged:

```sh
convgym evaluate FOLDER
```

```python
from convgym.agents.model.policy import LanguageModelPolicy

policy = LanguageModelPolicy.from_pretrained("FOLDER")
```

## Made from

| | | digest (SHA-256) |
|---|---|---|
| policy | `{policy}` | `{policy_sha256}` |
| log | `{log}`, {conversations} conversations beside those kept for the gate | `{log_sha256}` |
| Q | `{q}` | `{q_sha256}` |

## Settings

{settings}

## What came out

{metrics}

## Versions

{versions}
"""


def model_card(report: Mapping[str, Any]) -> str:
    """Return the card of a policy from the report of its improvement step."""
    made_from, versions = report["made_from"], report["versions"]
    groups = {
        "solver": made_from["solver"],
        "imitation": made_from["imitation"],
        "policy": report["policy_settings"],
    }
    settings = {
        f"{group}.{name}": value
        for group, values in groups.items()
        for name, value in values.items()
    }
    return _CARD.format(
        convgym=versions.get("convgym", ""),
        policy=report["policy"],
        log=report["log"],
        q=report["q"],
        policy_sha256=made_from["policy_sha256"],
        log_sha256=made_from["log_sha256"],
        q_sha256=made_from["q_sha256"],
        conversations=report["conversations"],
        settings=_table(settings),
        metrics=_table(report["metrics"]),
        versions=_table(versions),
    )


def _table(values: Mapping[str, Any]) -> str:
    rows = "\n".join(f"| `{name}` | {value} |" for name, value in values.items())
    return f"| | |\n|---|---|\n{rows}"

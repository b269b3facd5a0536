"""The study of who, trained with which customers, sells to which others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from convgym.benchmarks.studies import customer_matrix
from convgym.benchmarks.studies.customer_matrix import KINDS, START, Matrix, Piece, Sizes
from convgym.errors import ConvgymError
from convgym.seeds import evaluation_seeds
from convgym.shop.catalog import held_out_names


def test_held_out_shops_judge_and_train_nobody() -> None:
    assert {kind.shop for kind in KINDS.values() if not kind.trains} >= held_out_names()
    assert not {kind.shop for kind in KINDS.values() if kind.trains} & held_out_names()


def test_every_shop_has_a_start_and_every_seed_all_trainings() -> None:
    made = customer_matrix.pieces(["bc", "online-ppo"], ["v0", "v1", "mobile"], range(2))
    starts = [piece for piece in made if piece.agent == START]
    assert [piece.trained_on for piece in starts] == ["v0", "mobile"]
    assert len(made) == len(set(made)) == 2 + 2 * 3 * 2
    assert made[2:8] == [piece for piece in made[2:] if piece.seed == 0]


def judgement(seed: int, judged_by: str, purchases: int) -> dict[str, object]:
    return {
        "agent": "bc",
        "trained_on": "v0",
        "seed": seed,
        "judged_by": judged_by,
        "purchases": purchases,
        "customers": 100,
    }


def test_a_cell_is_the_mean_over_training_seeds() -> None:
    found = list(
        customer_matrix.cells(
            [judgement(0, "v0", 40), judgement(0, "v1", 3), judgement(1, "v0", 50)]
        )
    )
    assert [(cell["judged_by"], cell["seeds"]) for cell in found] == [("v0", 2), ("v1", 1)]
    value, low, high = found[0]["conversion"]
    assert value == pytest.approx(0.45)
    assert low < value < high
    head, _, line = customer_matrix.table(found, "bc")
    assert head == "| bc, trained with | v0 | v1 |"
    assert line.startswith("| v0 | 45.0 [")
    assert customer_matrix.picture(found).startswith(b"\x89PNG")


def study(path: Path, **more: str | int) -> None:
    customer_matrix.main(
        path,
        **{  # type: ignore[arg-type]
            "agents": "filtered-bc",
            "train_on": "v0",
            "judge_on": "v0,v1",
            "seeds": 1,
            "conversations": 16,
            "customers": 4,
            **more,
        },
    )


def test_it_goes_on_where_it_was_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "matrix.json"
    study(path, judge_on="v0")
    made = (tmp_path / "matrix.json.parts" / "filtered-bc-v0-0" / "training.json").read_text()
    path.unlink()
    study(path)  # another judge, and no new training
    kept = tmp_path / "matrix.json.parts" / "filtered-bc-v0-0" / "training.json"
    assert kept.read_text() == made
    found = json.loads(path.read_text())
    told = [(cell["agent"], cell["judged_by"]) for cell in found["cells"]]
    assert told == [(who, kind) for who in (START, "filtered-bc") for kind in ("v0", "v1")]
    assert [training["piece"] for training in found["trainings"]] == ["filtered-bc-v0-0"]
    assert found["trainings"][0]["processor_seconds"] > 0
    assert path.with_suffix(".png").stat().st_size > 1000
    assert "| filtered-bc, trained with | v0 | v1 |" in capsys.readouterr().out
    path.unlink()
    with pytest.raises(ConvgymError, match="other settings"):
        study(path, conversations=17)


def test_everybody_is_judged_on_the_same_customers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[int]] = []

    def rollout(policy: object, seeds: list[int], **options: object) -> list[object]:
        asked.append(list(seeds))
        return []

    monkeypatch.setattr(customer_matrix, "rollout", rollout)
    monkeypatch.setattr(customer_matrix, "_fingerprint", str)
    matrix = Matrix(tmp_path, Sizes(customers=300, evaluation_seed=8))
    for kind in ("v0", "smollm2"):
        assert matrix.judged(Piece(START, "v0", 0), kind)["customers"] == 0
    assert asked == [list(evaluation_seeds(8, 300)), list(evaluation_seeds(8, 86))]


def test_what_another_version_of_the_customers_said_does_not_count(tmp_path: Path) -> None:
    matrix, piece = Matrix(tmp_path, Sizes(customers=4)), Piece(START, "v0", 0)
    first = matrix.judged(piece, "v0")
    assert first["customer"].startswith("scripted-v0")
    path = tmp_path / "judged" / f"{piece.name}-v0.json"
    path.write_text(json.dumps({**first, "purchases": 77}))
    assert matrix.judged(piece, "v0")["purchases"] == 77  # kept
    path.write_text(json.dumps({**first, "purchases": 77, "customer": "scripted-v-1"}))
    assert matrix.judged(piece, "v0") == first


def test_what_is_unknown_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConvgymError, match="kind of customers to train with"):
        study(tmp_path / "m.json", train_on="bicycles")

"""Logs of others and for others, against the packages that they themselves use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from convgym.conversation import Episode, Response, Turn, render
from convgym.errors import ConvgymError
from convgym.exchange import Imported, ImportSettings, export_log, import_log
from convgym.rollout import rollout
from convgym.sellers import make_seller

MESSAGES = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "What for?"},
    {"role": "user", "content": "Games"},
]
EPISODE = Episode(3, "Hi", (Turn(Response("What for?"), "Games"),), "purchase", "c", "p")
LOST = Episode(4, "سلام", (Turn(Response("🙂?"), ""),), "turn_limit", "c", "p")


def said(imported: Imported) -> list[list[str]]:
    return [[m["content"] for m in episode.messages()] for episode in imported.episodes]


class TestParquet:
    @pytest.fixture
    def pyarrow(self) -> Any:
        return pytest.importorskip("pyarrow")

    def write(self, pyarrow: Any, path: Path, rows: list[dict[str, Any]]) -> Path:
        import pyarrow.parquet as parquet  # type: ignore[import-untyped]

        path.parent.mkdir(exist_ok=True)
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        return path

    def test_a_conversation_a_row(self, pyarrow: Any, tmp_path: Path) -> None:
        rows = [{"id": n, "messages": MESSAGES, "converted": n == 1} for n in range(3)]
        imported = import_log(self.write(pyarrow, tmp_path / "chats", rows))
        assert said(imported) == [["Hi", "What for?", "Games"]] * 3
        assert [episode.converted for episode in imported.episodes] == [False, True, False]
        assert imported.report.format == "parquet"

    def test_a_message_a_row_in_several_files(self, pyarrow: Any, tmp_path: Path) -> None:
        from datetime import UTC, datetime

        rows = [
            {"chat": 9.0, **message, "at": datetime(2025, 1, 9 - n, tzinfo=UTC), "sold": 1}
            for n, message in enumerate(reversed(MESSAGES))
        ]
        self.write(pyarrow, tmp_path / "year/a.parquet", rows[:2])
        self.write(pyarrow, tmp_path / "year/b.parquet", rows[2:])
        settings = ImportSettings(order="at")
        imported = import_log(tmp_path / "year", settings)
        assert said(imported) == [["Hi", "What for?", "Games"]]
        assert imported.episodes[0].metadata["original_id"] == "9"

    def test_a_damaged_file_is_one_line(self, pyarrow: Any, tmp_path: Path) -> None:
        path = self.write(pyarrow, tmp_path / "a.parquet", [{"messages": MESSAGES}])
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(ConvgymError, match=r"cannot read .* as Parquet"):
            import_log(path)
        (tmp_path / "empty").mkdir()
        with pytest.raises(ConvgymError, match="there is no Parquet file"):
            import_log(tmp_path / "empty", ImportSettings(format="parquet"))

    def test_pyarrow_reads_what_is_written(self, pyarrow: Any, tmp_path: Path) -> None:
        import pyarrow.parquet as parquet

        export_log([EPISODE], tmp_path / "a.parquet")
        assert parquet.read_table(tmp_path / "a.parquet").to_pylist() == [
            {"id": "1", "messages": MESSAGES, "outcome": "purchase", "policy": "p"}
        ]


class TestDatasets:
    @pytest.fixture
    def datasets(self) -> Any:
        return pytest.importorskip("datasets")

    def test_splits_and_messages(self, datasets: Any, tmp_path: Path) -> None:
        rows = [{"id": n, "messages": MESSAGES, "outcome": "yes"} for n in range(2)]
        dataset = datasets.Dataset.from_list(rows)
        dataset.save_to_disk(tmp_path / "plain")
        assert len(import_log(tmp_path / "plain").episodes) == 2
        other = datasets.Dataset.from_list([{**rows[0], "id": 7}])
        datasets.DatasetDict(train=dataset, test=other).save_to_disk(tmp_path / "splits")
        imported = import_log(tmp_path / "splits")
        assert [e.metadata["original_id"] for e in imported.episodes] == ["0", "1", "7"]
        assert imported.report.format == "datasets"

    def test_sharegpt_rows(self, datasets: Any, tmp_path: Path) -> None:
        chat = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hm?"}]
        rows = [{"conversations": chat, "outcome": 0}]
        datasets.Dataset.from_list(rows).save_to_disk(tmp_path / "chats")
        assert said(import_log(tmp_path / "chats")) == [["Hi", "Hm?", ""]]

    def test_it_loads_what_is_written(self, datasets: Any, tmp_path: Path) -> None:
        export_log([EPISODE, LOST], tmp_path / "chats", "datasets")
        loaded = datasets.load_from_disk(tmp_path / "chats")
        assert loaded[0]["messages"] == MESSAGES
        assert loaded["outcome"][:] == ["purchase", "turn_limit"]

    def test_a_damaged_folder_is_one_line(self, datasets: Any, tmp_path: Path) -> None:
        export_log([EPISODE], tmp_path / "chats", "datasets")
        (tmp_path / "chats/state.json").write_text("{}")
        with pytest.raises(ConvgymError, match="as a datasets folder"):
            import_log(tmp_path / "chats")


class TestMinari:
    @pytest.fixture
    def minari(self) -> Any:
        pytest.importorskip("pyarrow")
        pytest.importorskip("PIL")
        return pytest.importorskip("minari")

    def test_it_loads_what_is_written(
        self, minari: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert export_log([EPISODE, LOST], "chats-v0", "minari").written == 2
        monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
        dataset = minari.load_dataset("chats-v0")
        assert (dataset.total_episodes, dataset.total_steps) == (2, 2)
        first, second = dataset.iterate_episodes()
        assert first.observations == ["Customer: Hi", render(EPISODE.messages())]
        assert first.actions == ["What for?"]
        assert (first.rewards.tolist(), second.rewards.tolist()) == ([1.0], [0.0])
        assert (first.terminations.tolist(), first.truncations.tolist()) == ([True], [False])
        assert (second.terminations.tolist(), second.truncations.tolist()) == ([False], [True])
        for episode in (first, second):
            assert all(text in dataset.observation_space for text in episode.observations)
            assert all(text in dataset.action_space for text in episode.actions)
        assert dataset.storage.metadata["dataset_size"] >= 0

    def test_observations_are_those_of_the_environment(self, minari: Any, tmp_path: Path) -> None:
        (episode,) = rollout(make_seller("competent"), [5])
        export_log([episode], tmp_path / "chats-v0", "minari")
        (stored,) = minari.MinariDataset(tmp_path / "chats-v0/data").iterate_episodes()
        env = gymnasium.make("convgym/Sales-v0")
        observation, _ = env.reset(options={"episode_seed": 5})
        assert stored.observations[0] == observation
        for action, expected in zip(stored.actions, stored.observations[1:], strict=True):
            observation, *_ = env.step(action)
            assert observation == expected

    def make(self, minari: Any, path: Path, space: gymnasium.Space[Any], said: Any) -> Path:
        path.mkdir()
        storage = minari.dataset.minari_storage.MinariStorage.new(
            path, observation_space=space, action_space=space, data_format="arrow"
        )
        about = {"dataset_id": "foreign-v0", "minari_version": minari.__version__}
        storage.update_metadata(about)
        observations, actions = said[::2], said[1::2]
        ends = [False] * (len(actions) - 1) + [True]
        storage.update_episodes(
            [
                minari.data_collector.episode_buffer.EpisodeBuffer(
                    observations=observations,
                    actions=actions,
                    rewards=[float(end) for end in ends],
                    terminations=ends,
                    truncations=[False] * len(actions),
                )
            ]
        )
        return path

    def test_texts_of_others(self, minari: Any, tmp_path: Path) -> None:
        space = gymnasium.spaces.Text(50, min_length=0)
        words = ["Hi", "What for", "Games", "Buy it", "Yes"]
        imported = import_log(self.make(minari, tmp_path / "foreign", space, words))
        assert said(imported) == [words]
        assert imported.episodes[0].converted
        assert imported.report.outcome == "field 'converted'"

    def test_other_kinds_are_refused_and_not_made(self, minari: Any, tmp_path: Path) -> None:
        space = gymnasium.spaces.Box(0, 1, (2,), np.float32)
        arrays = [np.zeros(2, np.float32)] * 3
        path = self.make(minari, tmp_path / "boxes", space, arrays)
        with pytest.raises(ConvgymError, match="observation space is Box"):
            import_log(path)
        about = json.loads((path / "metadata.json").read_text())
        del about["observation_space"]
        about["env_spec"] = '{"entry_point": "os:system"}'
        (path / "metadata.json").write_text(json.dumps(about))
        with pytest.raises(ConvgymError, match="observation space is not named"):
            import_log(path)

    def test_a_damaged_dataset_is_one_line(self, minari: Any, tmp_path: Path) -> None:
        export_log([EPISODE], tmp_path / "chats-v0", "minari")
        (tmp_path / "chats-v0/data/0/part-0.arrow").write_bytes(b"ARROW1")
        with pytest.raises(ConvgymError, match="as a Minari dataset"):
            import_log(tmp_path / "chats-v0")

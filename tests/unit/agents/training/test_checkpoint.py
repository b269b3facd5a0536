"""Checkpoints: whatever goes in comes out, and nothing in a file is ever executed."""

from __future__ import annotations

import ast
import json
import math
import os
import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from convgym.agents import make_agent
from convgym.agents.model.config import PolicyConfig
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.training.checkpoint import load_checkpoint, save_checkpoint
from convgym.agents.training.collector import Collector
from convgym.errors import ConvgymError

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.uint8, torch.bool)


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 9)))
    tensor = (torch.randn(shape, generator=generator) * 100).to(draw(st.sampled_from(DTYPES)))
    return tensor.transpose(0, -1) if len(shape) > 1 and draw(st.booleans()) else tensor


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
keys = st.one_of(
    st.text(max_size=5),
    st.sampled_from(["$tensor", "$pairs", "$tuple", "$", ""]),
    st.integers(),
    st.booleans(),
    st.tuples(st.integers(), st.text(max_size=3)),
)
trees = st.recursive(
    scalars | tensors(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(keys, inner, max_size=3)
    ),
    max_leaves=12,
)


def same(value: Any, other: Any) -> bool:
    """Tell whether two trees are equal to the last bit, types, order and NaN included."""
    if type(value) is not type(other):
        return False
    if isinstance(value, torch.Tensor):
        return (value.dtype, value.shape) == (other.dtype, other.shape) and torch.equal(
            value.nan_to_num(7), other.nan_to_num(7)
        )
    if isinstance(value, Mapping):
        return same(list(value), list(other)) and same([*value.values()], [*other.values()])
    if isinstance(value, list | tuple):
        return len(value) == len(other) and all(map(same, value, other))
    return bool(value == other) or (value != value and other != other)


@given(st.dictionaries(keys, trees, max_size=4))
def test_any_tree_comes_back(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[Any, Any]
) -> None:
    path = tmp_path_factory.mktemp("tree") / "checkpoint.safetensors"
    save_checkpoint(path, tree)
    assert same(load_checkpoint(path), tree)


def test_tied_weights_and_the_state_of_an_optimiser_come_back(tmp_path: Path) -> None:
    layer = torch.nn.Linear(3, 2)
    optimiser = torch.optim.AdamW(layer.parameters(), lr=0.1)
    layer(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    tree = {"a": layer.weight, "b": layer.weight, "optimiser": optimiser.state_dict()}
    save_checkpoint(tmp_path / "c", tree)
    loaded = load_checkpoint(tmp_path / "c")
    assert not loaded["a"].requires_grad
    assert torch.equal(loaded["a"], layer.weight) and torch.equal(loaded["b"], layer.weight)
    assert same(loaded["optimiser"], optimiser.state_dict())


@pytest.mark.parametrize("thing", [object(), {1, 2}, 1j, b"bytes", Path("x"), print])
def test_what_is_no_plain_data_is_refused(tmp_path: Path, thing: object) -> None:
    with pytest.raises(TypeError, match=f"plain data only, got {type(thing).__name__}"):
        save_checkpoint(tmp_path / "c", {"thing": thing})
    assert not list(tmp_path.iterdir())


def test_a_reader_finds_the_old_file_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "folder" / "checkpoint.safetensors"
    save_checkpoint(path, {"step": 1})

    def interrupted(descriptor: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "fsync", interrupted)
        save_checkpoint(path, {"step": 2})
    assert load_checkpoint(path) == {"step": 1}
    save_checkpoint(path, {"step": 3})
    assert load_checkpoint(path) == {"step": 3}
    assert [file.name for file in path.parent.iterdir()] == [path.name]


# Files that are damaged, somebody else's, or hostile.


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.folder,)


def whole() -> bytes:
    tree = {"model": {"w": torch.arange(8.0)}, "rows": [{"loss": 0.5}]}
    path = Path("whole")
    save_checkpoint(path, tree)
    return path.read_bytes()


def forged(plain: object) -> bytes:
    """Return a file in our format whose tree is what nobody would write."""
    content: bytes = save({"0": torch.zeros(1)}, metadata={"convgym": json.dumps(plain)})
    return content


FOREIGN: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "zeros": lambda: bytes(64),
    "text": lambda: b"not a checkpoint at all, but long enough to have a header",
    "cut in the header": lambda: whole()[:20],
    "cut in the tensors": lambda: whole()[:-4],
    "longer": lambda: whole() + b"more",
    "somebody's weights": lambda: save({"w": torch.zeros(2)}),
    "somebody's metadata": lambda: save({"w": torch.zeros(2)}, metadata={"format": "pt"}),
    "no JSON": lambda: save({"w": torch.zeros(2)}, metadata={"convgym": "{"}),
    "a list": lambda: forged([1, 2]),
    "a tensor that is not there": lambda: forged({"a": {"$tensor": "7"}}),
    "a tensor without a name": lambda: forged({"a": {"$tensor": [1]}}),
    "no pairs": lambda: forged({"a": {"$pairs": 3}}),
    "half a pair": lambda: forged({"a": {"$pairs": [[1]]}}),
    "a key that cannot be": lambda: forged({"a": {"$pairs": [[[1], 2]]}}),
    "no tuple": lambda: forged({"a": {"$tuple": None}}),
    "too deep": lambda: save(
        {"0": torch.zeros(1)}, metadata={"convgym": "[" * 10**5 + "]" * 10**5}
    ),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_other_files_are_one_line_of_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(FOREIGN[name]())
    with pytest.raises(ConvgymError, match="is no checkpoint of convgym, or damaged") as caught:
        load_checkpoint(path)
    [line] = str(caught.value).splitlines()
    assert line.startswith(str(path))
    assert line.endswith("delete it to start its run anew")


def hostile(path: Path, how: str, trap: Path) -> None:
    if how == "pickle":
        path.write_bytes(pickle.dumps({"identity": "x", "state": Payload(trap)}))
    else:
        torch.save({"identity": "x", "state": Payload(trap)}, path)


@pytest.mark.parametrize("how", ["pickle", "torch.save"])
def test_the_trap_works(tmp_path: Path, how: str) -> None:
    """Or the next tests would show nothing."""
    hostile(tmp_path / "file", how, tmp_path / "trap")
    if how == "pickle":
        pickle.loads((tmp_path / "file").read_bytes())
    else:
        torch.load(tmp_path / "file", weights_only=False)
    assert (tmp_path / "trap").exists()


@pytest.mark.parametrize("how", ["pickle", "torch.save"])
@pytest.mark.parametrize("name", ["bc", "online-ppo", "iterative-ppo"])
def test_a_hostile_run_folder_executes_nothing(tmp_path: Path, how: str, name: str) -> None:
    trap, folder = tmp_path / "trap", tmp_path / "run"
    folder.mkdir()
    hostile(folder / "checkpoint.safetensors", how, trap)
    hostile(folder / "checkpoint.pt", how, trap)  # as earlier versions called it
    with pytest.raises(ConvgymError, match="is no checkpoint of convgym"):
        make_agent(name).train(Collector(4, seed=0), folder=folder)
    assert not trap.exists()


@pytest.mark.parametrize("how", ["pickle", "torch.save"])
@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.safetensors"])
def test_a_hostile_model_executes_nothing(
    policy: LanguageModelPolicy, tmp_path: Path, how: str, file: str
) -> None:
    trap, folder = tmp_path / "trap", tmp_path / "policy"
    policy.save(folder)
    (folder / "model.safetensors").unlink()
    hostile(folder / file, how, trap)
    with pytest.raises(ConvgymError, match=r"the model in .*policy' cannot be loaded") as caught:
        LanguageModelPolicy.from_pretrained(folder)
    assert "\n" not in str(caught.value)
    assert not trap.exists()


def test_code_that_comes_with_a_model_is_not_run(
    policy: LanguageModelPolicy, tmp_path: Path
) -> None:
    trap, folder = tmp_path / "trap", tmp_path / "policy"
    policy.save(folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "own",
        "auto_map": {"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text(f"import os\nos.mkdir({str(trap)!r})\n")
    with pytest.raises(ConvgymError, match=r"the model in .* cannot be loaded"):
        LanguageModelPolicy.from_pretrained(folder, config=PolicyConfig())
    assert not trap.exists()


ROOT = Path(__file__).parents[4]
UNPICKLERS = {"dill", "cloudpickle", "joblib", "marshal", "shelve"}
CALLS = ("torch.load", "torch.save", "pickle.load", "pickle.loads", "pickle.Unpickler")


def unsafe_calls(source: str) -> list[str]:
    """Return what a module's code could execute out of a file.

    Who unpickles what it has just pickled itself reads no file.
    """
    unsafe = []
    source = re.sub(r"pickle\.loads\(pickle\.dumps\(\w+\)\)", "copied", source)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            unsafe += [a.name for a in node.names if a.name.split(".")[0] in UNPICKLERS]
        elif isinstance(node, ast.ImportFrom):
            module = str(node.module).split(".")[0]
            unsafe += [module] * (module in UNPICKLERS or module == "pickle")
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in CALLS:
            unsafe.append(ast.unparse(node))
        elif isinstance(node, ast.Name) and node.id in ("eval", "exec"):
            unsafe.append(node.id)
        elif isinstance(node, ast.keyword) and (node.arg, ast.unparse(node.value)) in (
            ("weights_only", "False"),
            ("allow_pickle", "True"),
            ("trust_remote_code", "True"),
        ):
            unsafe.append(f"{node.arg}={ast.unparse(node.value)}")
    return unsafe


def test_unsafe_calls_are_found() -> None:
    source = (
        "import pickle, dill\nfrom pickle import load\npickle.load(f)\npickle.loads(b)\n"
        "pickle.loads(pickle.dumps(own))\ntorch.load(f, weights_only=False)\n"
        "np.load(f, allow_pickle=True)\neval(x)\ntorch.optim.load(f)\nmodel.eval()\n"
    )
    expected = ["pickle", "dill", "pickle.load", "pickle.loads"]
    expected += ["torch.load", "weights_only=False", "allow_pickle=True", "eval"]
    assert sorted(unsafe_calls(source)) == sorted(expected)


@pytest.mark.parametrize("folder", ["convgym", "agents", "benchmarks"])
def test_nothing_in_the_package_unpickles(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    unsafe = {str(path): unsafe_calls(path.read_text(encoding="utf-8")) for path in files}
    assert {path: calls for path, calls in unsafe.items() if calls} == {}


def test_numbers_keep_all_their_digits(tmp_path: Path) -> None:
    tree = {"third": 1 / 3, "inf": math.inf, "big": 2**80, "row": {"loss": 0.1 + 0.2}}
    save_checkpoint(tmp_path / "c", tree)
    assert load_checkpoint(tmp_path / "c") == tree

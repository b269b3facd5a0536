"""The arrows between the parts: convgym <- agents <- benchmarks, read from the sources."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {"convgym": "convgym", "convgym.agents": "agents", "convgym.benchmarks": "benchmarks"}
ALGORITHMS = {
    f"convgym.agents.algorithms.{name}"
    for name in ("behaviour_cloning", "online_ppo", "iterative_ppo")
}

# A chat model in this process is the one thing of the environment's that runs on torch.
LOCAL_MODELS = {
    f"convgym.llm.local.{name}"
    for name in ("sampling", "schema", "smollm2", "transformers_backend")
}


def imported(source: str, module: str, is_package: bool) -> Iterator[str]:
    """Yield the dotted name of all that ``source`` imports, at any depth, also for types only."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package[: len(package) - node.level + 1] if node.level else []
            base = [*parents, *(node.module or "").split(".")]
            # `from a import b` may import the module a.b as well as a name of a.
            yield from (".".join(filter(None, [*base, alias.name])) for alias in node.names)


def within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def sources() -> Iterator[tuple[str, set[str]]]:
    for package, folder in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            is_package = path.name == "__init__.py"
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            module = ".".join([package, *(parts[:-1] if is_package else parts)])
            yield module, set(imported(path.read_text(encoding="utf-8"), module, is_package))


IMPORTS = dict(sources())


@pytest.mark.parametrize(
    ("importer", "forbidden"),
    [
        ("convgym.agents", ["convgym.benchmarks"]),
        ("convgym.customers", ["convgym.envs", "convgym.agents", "convgym.benchmarks"]),
    ],
)
def test_arrows_point_one_way(importer: str, forbidden: list[str]) -> None:
    modules = [module for module in IMPORTS if within(module, importer)]
    assert modules
    assert not breaches(modules, forbidden)


def test_the_environment_knows_no_agent_and_loads_no_torch() -> None:
    modules = [
        module for module in IMPORTS if not within(module, "convgym.agents", "convgym.benchmarks")
    ]
    assert "convgym.conversation" in modules
    assert not breaches(modules, ["convgym.agents", "convgym.benchmarks"])
    heavy = ["torch", "transformers", "tokenizers", "trl", "peft", "accelerate"]
    assert not breaches([m for m in modules if m not in LOCAL_MODELS], heavy)


def test_chat_models_in_this_process_are_loaded_only_when_asked_for() -> None:
    assert set(IMPORTS) >= LOCAL_MODELS
    code = (
        "import sys, convgym.llm.local.smollm2, convgym.llm.local.serve; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_nothing_imports_tests_or_examples() -> None:
    assert not breaches(list(IMPORTS), ["tests", "examples"])


def test_mapped_folders_are_imported_by_their_installed_names() -> None:
    assert not breaches(list(IMPORTS), ["agents", "benchmarks"])


def test_algorithms_do_not_import_each_other() -> None:
    assert set(IMPORTS) >= ALGORITHMS
    for algorithm in ALGORITHMS:
        assert not breaches([algorithm], sorted(ALGORITHMS - {algorithm}))


def test_trl_stays_behind_one_module() -> None:
    users = {module for module, names in IMPORTS.items() if any(within(n, "trl") for n in names)}
    assert len(users) <= 1, users


def breaches(modules: list[str], forbidden: list[str]) -> list[str]:
    return [
        f"{module} imports {name}"
        for module in modules
        for name in sorted(IMPORTS[module])
        if within(name, *forbidden)
    ]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import a.b as c, d", {"a.b", "d"}),
        ("from a import b", {"a.b"}),
        ("from . import b", {"p.q.b"}),
        ("from .x import y", {"p.q.x.y"}),
        ("from ..x import y", {"p.x.y"}),
        ("def f():\n    import late", {"late"}),
    ],
)
def test_imports_are_read_at_every_level(source: str, expected: set[str]) -> None:
    assert set(imported(source, "p.q.module", is_package=False)) == expected
    assert set(imported(source, "p.q", is_package=True)) == expected


VAGUE = {"one", "ones", "some", "met", "found"}


def test_variables_of_the_benchmark_say_what_they_hold() -> None:
    vague = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted((ROOT / "benchmarks").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Name) and node.id in VAGUE)
        or (isinstance(node, ast.arg) and node.arg in VAGUE)
    ]
    assert not vague


def code_lines(source: str) -> Iterator[tuple[str, int]]:
    """Yield the functions of a module with their lines of code: no blanks, comments, docstring."""
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if ast.get_docstring(node) is not None else None
            text = range(first.lineno, (first.end_lineno or 0) + 1) if first else range(0)
            count = sum(
                bool(line) and not line.startswith("#") and number not in text
                for number in range(node.lineno, (node.end_lineno or 0) + 1)
                for line in [lines[number - 1].strip()]
            )
            yield node.name, count


@pytest.mark.parametrize("folder", ["convgym", "benchmarks"])
def test_functions_and_modules_are_short_enough_to_read(folder: str) -> None:
    for path in sorted((ROOT / folder).rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        assert len(source.splitlines()) <= 500, path
        long = {name: count for name, count in code_lines(source) if count > 60}
        assert not long, (path, long)


def test_lines_of_code_are_counted() -> None:
    source = 'def f():\n    """Text\n    here.\n    """\n\n    # why\n    x = 1\n    return x\n'
    assert list(code_lines(source)) == [("f", 3)]

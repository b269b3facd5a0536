"""The house: which folder may import which, read from the sources; and sizes and names in it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {"convgym": "convgym", "convgym.agents": "agents", "convgym.benchmarks": "benchmarks"}

# Folder -> the folders that it may import. Modules that lie directly in a package's folder are that
# package's ground, but for those that are named here.
GROUND = "convgym"
ENVIRONMENT = {
    "convgym.shop": {GROUND},
    "convgym.llm": {GROUND},
    "convgym.sellers": {GROUND, "convgym.shop", "convgym.llm"},
    "convgym.customers": {GROUND, "convgym.shop", "convgym.sellers", "convgym.llm"},
    "convgym.envs": {GROUND, "convgym.shop", "convgym.customers"},
    "convgym.exchange": {GROUND},
    "convgym.rollout": {GROUND, "convgym.envs"},
    "convgym.talk": {GROUND, "convgym.envs", "convgym.rollout"},
    "convgym.true_values": {GROUND, "convgym.envs", "convgym.customers", "convgym.rollout"},
}
DOORS = "convgym.integrations"
ALL_OF_THE_ENVIRONMENT = {GROUND, *ENVIRONMENT}
AGENTS = "convgym.agents"
MODEL, TRAINING = {f"{AGENTS}.model"}, {f"{AGENTS}.model", f"{AGENTS}.training"}
MECHANISMS = TRAINING | {
    f"{AGENTS}.values",
    f"{AGENTS}.improvement",
    f"{AGENTS}.off_policy",
}
BENCHMARKS = "convgym.benchmarks"
ARROWS: dict[str, set[str]] = {
    GROUND: {GROUND},
    **ENVIRONMENT,
    DOORS: ALL_OF_THE_ENVIRONMENT,
    AGENTS: ALL_OF_THE_ENVIRONMENT | {AGENTS},
    f"{AGENTS}.model": ALL_OF_THE_ENVIRONMENT | {AGENTS},
    f"{AGENTS}.training": ALL_OF_THE_ENVIRONMENT | {AGENTS} | MODEL,
    f"{AGENTS}.values": ALL_OF_THE_ENVIRONMENT | {AGENTS} | TRAINING,
    f"{AGENTS}.improvement": ALL_OF_THE_ENVIRONMENT | {AGENTS} | TRAINING,
    f"{AGENTS}.off_policy": ALL_OF_THE_ENVIRONMENT
    | {AGENTS, f"{AGENTS}.values", f"{AGENTS}.improvement"}
    | TRAINING,
    f"{AGENTS}.algorithms": ALL_OF_THE_ENVIRONMENT | {AGENTS} | MECHANISMS,
    # The steps of an algorithm, one by one.
    f"{AGENTS}.pipeline": ALL_OF_THE_ENVIRONMENT | {AGENTS, f"{AGENTS}.algorithms"} | MECHANISMS,
    f"{AGENTS}.serving": ALL_OF_THE_ENVIRONMENT
    | {AGENTS, f"{AGENTS}.algorithms", f"{AGENTS}.pipeline"}
    | MECHANISMS,
    f"{AGENTS}.customers": ALL_OF_THE_ENVIRONMENT | {AGENTS} | MODEL,
    # Make a model, as an algorithm does.
    f"{AGENTS}.pretrain": ALL_OF_THE_ENVIRONMENT | {AGENTS} | TRAINING,
    f"{AGENTS}.pretrain_reading": ALL_OF_THE_ENVIRONMENT
    | {AGENTS, f"{AGENTS}.reading_drills", f"{AGENTS}.reading_vocabulary"}
    | TRAINING,
    f"{AGENTS}.reading_drills": ALL_OF_THE_ENVIRONMENT
    | {AGENTS, f"{AGENTS}.reading_vocabulary"}
    | MODEL,
    f"{AGENTS}.reading_vocabulary": ALL_OF_THE_ENVIRONMENT | {AGENTS} | MODEL,
    f"{AGENTS}.pretrain_customer": ALL_OF_THE_ENVIRONMENT
    | {AGENTS, f"{AGENTS}.customers", f"{AGENTS}.pretrain"}
    | TRAINING,
    f"{AGENTS}.pretrain_adapter": ALL_OF_THE_ENVIRONMENT
    | {AGENTS, f"{AGENTS}.customers", f"{AGENTS}.pretrain_customer"}
    | TRAINING,
}
EVERYTHING_BELOW = set(ARROWS) - {DOORS}
ARROWS |= {
    BENCHMARKS: EVERYTHING_BELOW | {BENCHMARKS},
    f"{BENCHMARKS}.runs": EVERYTHING_BELOW | {BENCHMARKS},
    f"{BENCHMARKS}.report": EVERYTHING_BELOW | {BENCHMARKS, f"{BENCHMARKS}.runs"},
    f"{BENCHMARKS}.validation": EVERYTHING_BELOW
    | {BENCHMARKS, f"{BENCHMARKS}.runs", f"{BENCHMARKS}.report"},
    f"{BENCHMARKS}.studies": EVERYTHING_BELOW
    | {BENCHMARKS, f"{BENCHMARKS}.report", f"{BENCHMARKS}.validation"},
    f"{BENCHMARKS}.talks": EVERYTHING_BELOW | {BENCHMARKS},
    f"{BENCHMARKS}.demo": EVERYTHING_BELOW
    | {BENCHMARKS}
    | {f"{BENCHMARKS}.{name}" for name in ("runs", "report", "talks")},
    f"{BENCHMARKS}.cli": EVERYTHING_BELOW
    | {BENCHMARKS}
    | {
        f"{BENCHMARKS}.{name}"
        for name in ("runs", "report", "studies", "validation", "talks", "demo")
    },
}
# Doors that must be found from below: names, which are resolved when somebody asks.
EXCEPTIONS = {
    ("convgym", "convgym.envs.registration"),  # importing convgym registers the environments
    (AGENTS, f"{AGENTS}.training.collector"),  # the agents' face exports it, late
    (f"{AGENTS}.protocol", f"{AGENTS}.training.collector"),  # for type checkers alone
    (f"{AGENTS}.settings", f"{AGENTS}.improvement.registry"),  # settings name solvers, late
}
HEAVY = ("torch", "transformers", "tokenizers", "trl", "peft", "accelerate", "safetensors")


def folder_of(module: str) -> str:
    """Return the most special folder, of those that have arrows, in which a module lies."""
    return max((folder for folder in ARROWS if within(module, folder)), key=len)


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


@pytest.mark.parametrize("folder", ARROWS)
def test_arrows_point_one_way(folder: str) -> None:
    modules = [module for module in IMPORTS if folder_of(module) == folder]
    assert modules, f"there is no {folder}"
    wrong = [
        f"{module} imports {name}"
        for module in modules
        for name in sorted(imported_modules(module))
        if folder_of(name) not in ARROWS[folder] | {folder}
        and not any(module == importer and within(name, door) for importer, door in EXCEPTIONS)
    ]
    assert not wrong, "\n".join(wrong)


def imported_modules(module: str) -> set[str]:
    """Return our modules that a module imports: itself, or the one that a name is of."""
    names = IMPORTS[module]
    parents = {name.rpartition(".")[0] for name in names - set(IMPORTS)}
    return (names | parents) & set(IMPORTS) - {module}


def test_every_folder_has_its_arrows() -> None:
    packages = {
        module
        for module in IMPORTS
        if (
            ROOT
            / module.replace("convgym.agents", "agents", 1)
            .replace("convgym.benchmarks", "benchmarks", 1)
            .replace(".", "/")
        ).is_dir()
    }
    top = {
        package
        for package in packages
        if package.count(".") <= 1 + package.startswith((f"{AGENTS}.", f"{BENCHMARKS}."))
    }
    assert top <= set(ARROWS), sorted(top - set(ARROWS))


def test_only_local_chat_models_load_torch_in_the_environment() -> None:
    modules = [
        module for module in IMPORTS if not within(module, AGENTS, BENCHMARKS, "convgym.llm.local")
    ]
    assert "convgym.conversation" in modules
    assert not breaches(modules, list(HEAVY))


def test_chat_models_in_this_process_are_loaded_only_when_asked_for() -> None:
    code = (
        "import sys, convgym.llm.local.smollm2, convgym.llm.local.serve; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_convgym_costs_numpy_and_gymnasium_alone() -> None:
    code = "import sys, convgym; assert not {'pydantic', 'scipy', 'torch', 'rich'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_nothing_imports_tests_or_examples() -> None:
    assert not breaches(list(IMPORTS), ["tests", "examples"])


def test_doors_are_opened_by_nobody_here() -> None:
    assert not breaches([module for module in IMPORTS if not within(module, DOORS)], [DOORS])


def test_mapped_folders_are_imported_by_their_installed_names() -> None:
    assert not breaches(list(IMPORTS), ["agents", "benchmarks"])


def test_algorithms_do_not_import_each_other() -> None:
    algorithms = [module for module in IMPORTS if within(module, f"{AGENTS}.algorithms")]
    assert len(algorithms) >= 4
    for algorithm in algorithms:
        others = [other for other in algorithms if other != algorithm]
        assert not breaches([algorithm], others)


def test_algorithms_read_from_top_to_bottom() -> None:
    for path in (ROOT / "agents" / "algorithms").glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 300, path


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


@pytest.mark.parametrize("folder", ["convgym", "agents", "benchmarks"])
def test_variables_say_what_they_hold(folder: str) -> None:
    vague = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted((ROOT / folder).rglob("*.py"))
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


@pytest.mark.parametrize("folder", ["convgym", "agents", "benchmarks"])
def test_functions_and_modules_are_short_enough_to_read(folder: str) -> None:
    for path in sorted((ROOT / folder).rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        assert len(source.splitlines()) <= 500, path
        long = {name: count for name, count in code_lines(source) if count > 60}
        assert not long, (path, long)


def test_lines_of_code_are_counted() -> None:
    source = 'def f():\n    """Text\n    here.\n    """\n\n    # why\n    x = 1\n    return x\n'
    assert list(code_lines(source)) == [("f", 3)]

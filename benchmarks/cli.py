"""The command line: ``convgym``."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import convgym
from convgym.errors import ConvgymError, InfrastructureError
from convgym.terminal import tolerate_consoles

if TYPE_CHECKING:
    from rich.console import Console

    from convgym.conversation import Response
    from convgym.policy import Conversation, Policy

app = typer.Typer(
    name="convgym",
    help="Conversations with customers: train and compare agents that sell.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
logs = typer.Typer(help="Write and check logs of conversations.", no_args_is_help=True)
app.add_typer(logs, name="logs")

# The packages that only learning needs, all installed by the extra "train".
_TRAIN = {
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "trl",
    "peft",
    "accelerate",
    "scipy",
}

_LINES = 20
"""Damaged lines of a log that are shown."""


def _findable(customer: str | None) -> str | None:
    """Let Python find the module of a customer in the present folder, after all other places."""
    if customer and ":" in customer and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    return customer


Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random.")]
Customer = Annotated[
    str | None,
    typer.Option(help="A customer by name, or package.module:factory.", callback=_findable),
]
Catalog = Annotated[str | None, typer.Option(help="Product catalogue: a name or a JSON file.")]
CustomerOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--customer-option",
        metavar="NAME=VALUE",
        help="Option of the customer, as often as wanted: backend=transformers, say.",
    ),
]
Personas = Annotated[str | None, typer.Option(help="Personas: default, difficult or a JSON file.")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; a user's mistake is one line on stderr and exit code 2."""
    # Before anything loads torch or transformers. Threads that wait must sleep: spinning, they
    # make small models five times slower as soon as another process wants a core. And bars of
    # others would tear ours apart.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    if "" not in sys.path:  # customers of one's own are found in the folder one stands in
        sys.path.append("")
    if "" not in sys.path:  # customers of one's own are found in the folder one stands in
        sys.path.append("")
    tolerate_consoles()
    try:
        app(args=None if arguments is None else list(arguments))
    except ConvgymError as error:
        _fail(str(error))
    except InfrastructureError as error:  # nobody's mistake: the customer's backend is down
        _fail(str(error), code=1)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _TRAIN | {"matplotlib"}:
            raise
        _fail(f"this needs {missing}, which is not installed: pip install 'convgym[train]'")
    except BrokenPipeError:  # the reader of our output, `head` say, went away
        sys.stdout = None
        raise SystemExit(0) from None


def _fail(message: str, code: int = 2) -> None:
    line = " ".join(message.split())
    print(f"convgym: error: {line}", file=sys.stderr)
    raise SystemExit(code)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"convgym {convgym.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    pass


@app.command()
def bench(
    suite: Annotated[str, typer.Argument(help="smoke, quick, standard or ladder.")] = "quick",
    seed: Seed = 0,
    agents: Annotated[
        str | None, typer.Option(help="Agents in place of the suite's: a,b or none.")
    ] = None,
    sellers: Annotated[
        str | None, typer.Option(help="Reference sellers in place of the suite's: a,b or none.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Results folder.", show_default="results/<suite>-seed<seed>"),
    ] = None,
    customer: Customer = None,
    customer_option: CustomerOptions = None,
    catalog: Catalog = None,
    personas: Personas = None,
    evaluate_on: Annotated[
        str | None,
        typer.Option(help="Catalogue to judge everybody on, if not the one that agents train on."),
    ] = None,
) -> None:
    """Compare agents and reference sellers on conversion at an equal budget of conversations.

    Interrupt it at any time: the same command goes on where it stopped.
    """
    from convgym.benchmarks.display import Display
    from convgym.benchmarks.runner import run_suite
    from convgym.benchmarks.suites import get_suite, select

    chosen = select(
        get_suite(suite),
        agents=_names(agents),
        sellers=_names(sellers),
        environment=_environment(customer, catalog, personas, customer_option),
        evaluation=_environment(None, evaluate_on),
    )
    folder = output or Path("results") / f"{suite}-seed{seed}"
    if customer_option:
        _try_customer(chosen.evaluation_environment)
    try:
        with Display(_console(stderr=True), chosen, seed) as display:
            run_suite(chosen, folder, seed=seed, progress=display.update)
    except KeyboardInterrupt:
        print(f"interrupted; the same command resumes {folder}", file=sys.stderr)
        raise SystemExit(130) from None
    _show_report(folder)


@app.command()
def ladder(
    seed: Seed = 0,
    output: Path | None = None,
    customer: Customer = None,
    customer_option: CustomerOptions = None,
    catalog: Catalog = None,
    personas: Personas = None,
) -> None:
    """Measure the reference sellers alone; short for `convgym bench ladder`."""
    bench(
        "ladder",
        seed=seed,
        output=output,
        customer=customer,
        customer_option=customer_option,
        catalog=catalog,
        personas=personas,
    )


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="A results folder.")]) -> None:
    """Show a run's table and write its picture and page anew, from the stored files alone."""
    _show_report(folder)


def _show_report(folder: Path) -> None:
    from convgym.benchmarks.report import table, write_report

    written = write_report(folder)
    console = _console()
    console.print(table(written.scores))
    for note in written.notes:
        print(note)
    print(f"\nresults   {folder}\npage      {written.page}")
    if written.picture:
        print(f"picture   {written.picture}")
    else:
        print("picture   none, matplotlib is not installed: pip install 'convgym[train]'")


@logs.command("write")
def write_logs(
    path: Annotated[Path, typer.Argument(help="JSONL file to write; never overwritten.")],
    seller: Annotated[str, typer.Option(help="Who speaks.")] = "mediocre",
    epsilon: Annotated[
        float, typer.Option(help="Share of random acts of the mediocre seller.")
    ] = 0.1,
    conversations: Annotated[int, typer.Option(min=1)] = 1000,
    seed: Seed = 0,
    customer: Customer = None,
    customer_option: CustomerOptions = None,
    catalog: Catalog = None,
) -> None:
    """Write conversations of a scripted seller with customers of the training range."""
    from convgym.catalog import refuse_held_out
    from convgym.logs import write_log
    from convgym.rollout import rollout
    from convgym.seeds import train_seeds
    from convgym.sellers import make_seller

    if path.exists():
        raise ConvgymError(f"{path} exists and is never overwritten; give another path")
    environment = _environment(customer, catalog, customer_option=customer_option)
    refuse_held_out(environment)  # logs are what behaviour cloning learns from
    policy = make_seller(seller, epsilon=epsilon, **_shop(environment))
    if seller == "oracle":
        environment["reveal_latent"] = True
    episodes = rollout(
        policy, train_seeds(seed, conversations), policy_seed=seed, environment=environment
    )
    write_log(path, episodes)
    sold = sum(episode.converted for episode in episodes)
    failed = sum(not episode.valid for episode in episodes)
    failures = f", {failed} broken off: the customer failed" if failed else ""
    print(f"wrote {len(episodes)} conversations to {path}, {sold} of them sales{failures}")


@logs.command("validate")
def validate_logs(path: Annotated[Path, typer.Argument(help="JSONL file to check.")]) -> None:
    """Check a log line by line and sum it up; exit code 2 if any line is damaged."""
    from convgym.logs import read_log, validate_log

    found = validate_log(path)
    for problem in found.problems[:_LINES]:
        print(f"line {problem.line}: {problem.message}")
    if len(found.problems) > _LINES:
        print(f"... and {len(found.problems) - _LINES} more lines")
    outcomes = [f"{count} {name.replace('_', ' ')}" for name, count in found.outcomes.items()]
    print(f"{path}: {found.n} whole conversations ({', '.join(outcomes) or 'none'})")
    read_log(path)  # knows which problems are errors: not a last line that was cut off


@app.command()
def pretrain(
    output: Annotated[Path, typer.Argument(help="Folder for the model; never overwritten.")],
    conversations: Annotated[int, typer.Option(min=20, help="Logged conversations.")] = 8000,
    seed: Seed = 0,
    customer: Customer = None,
    catalog: Catalog = None,
) -> None:
    """Train the small seller, a language model, from scratch on the mediocre seller's logs."""
    from convgym.agents.pretrain import pretrain as train
    from convgym.benchmarks.display import stages

    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ConvgymError(f"{output} exists and is never overwritten; give another folder")
    with stages(_console(stderr=True)) as report:
        recipe = train(
            output,
            conversations=conversations,
            seed=seed,
            environment=_environment(customer, catalog),
            report=report,
        )
    print(f"wrote {recipe['parameters']:,} parameters to {output}; its recipe is in recipe.json")


@app.command()
def validate(
    customer: Annotated[
        str, typer.Argument(help="A name, or package.module:factory.", callback=_findable)
    ],
    conversations: Annotated[
        int, typer.Option(min=1, help="Customers that each of about 30 sellers meets.")
    ] = 400,
    checks: Annotated[str | None, typer.Option(help="Some of the checks: a,b.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Folder; never overwritten.", show_default="validation/<customer>"),
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Show conversations here as well.")] = False,
    seed: Seed = 0,
    customer_option: CustomerOptions = None,
    catalog: Catalog = None,
    personas: Personas = None,
) -> None:
    """Put a customer, ours or your own, to a suite of checks; exit code 1 if it fails one."""
    from convgym.benchmarks.validation.report import failed
    from convgym.benchmarks.validation.run import run
    from convgym.benchmarks.validation.subject import Subject

    environment = _environment(None, catalog, personas, customer_option)
    subject = Subject(customer, environment, conversations=conversations, seed=seed)
    folder = output or Path("validation") / customer.replace(":", ".")
    findings = run(subject, folder, _names(checks), _console(), _console(stderr=True), show=show)
    if failed(findings):
        raise SystemExit(1)


@app.command()
def chat(
    seller: Annotated[
        str, typer.Option(help="human (you), a scripted seller, or the folder of a trained policy.")
    ] = "human",
    seed: Seed = 0,
    customer: Customer = None,
    customer_option: CustomerOptions = None,
    catalog: Catalog = None,
    personas: Personas = None,
) -> None:
    """Hold one conversation: sell to a customer yourself, be the customer, or watch two others."""
    from convgym.catalog import load_catalog
    from convgym.conversation import render
    from convgym.rollout import rollout
    from convgym.sellers import make_seller

    environment = _environment(customer, catalog, personas, customer_option)
    if seller == customer == "human":
        raise ConvgymError("seller and customer cannot both be you: give --seller competent, say")
    policy: Policy
    if seller == "human":
        print(load_catalog(environment.get("catalog", "laptops")).briefing(), end="\n\n")
        policy = Human()
    elif Path(seller).is_dir() or len(Path(seller).parts) > 1:
        from convgym.agents.language_model import LanguageModelPolicy

        policy = LanguageModelPolicy.from_pretrained(seller)
    else:
        policy = make_seller(seller, **_shop(environment))
        if seller == "oracle":
            environment["reveal_latent"] = True
    (episode,) = rollout(policy, [seed], policy_seed=seed, environment=environment)
    if not episode.valid:
        raise InfrastructureError(f"the customer failed: {episode.metadata['failure']}")
    messages = episode.messages()
    if customer != "human":  # they have read it all
        print(render(messages[-1:] if seller == "human" else messages))
    print(f"({episode.outcome.replace('_', ' ')})")


@app.command()
def serve_customer(
    model: Annotated[str, typer.Option(help="smollm2, or a GGUF file.")] = "smollm2",
    port: Annotated[int, typer.Option(min=0, help="0 for any that is free.")] = 0,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds that loading may take.")] = 120.0,
) -> None:
    """Serve a local chat model for customers, without key or network, until Ctrl-C."""
    from convgym.llm.serve import llama_server, model_name

    server = llama_server(model, port=port, ready_within=timeout)
    options = {"backend": "openai", "model": model_name(model), "base_url": server.url}
    given = [f"--customer-option {name}={value}" for name, value in options.items()]
    try:
        with _interrupted_by_signals(), server:
            print(f"ready: convgym chat --customer hybrid {' '.join(given)}", file=sys.stderr)
            print(server.url, flush=True)
            server.wait()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)


@contextmanager
def _interrupted_by_signals() -> Iterator[None]:
    """Let the signals that end a program do so as Ctrl-C does, so that nothing is left running."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    numbers = [number for name in ("SIGTERM", "SIGHUP") if (number := getattr(signal, name, None))]
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Human:
    """A policy that asks at the terminal."""

    name = "human"

    def reset(self, seed: int) -> None:
        """Do nothing: people are not seeded."""

    def act(self, conversations: Sequence[Conversation]) -> list[Response]:
        """Show each customer's last words and read the answer; ConvgymError at the input's end."""
        from convgym.conversation import Response, render

        answers = []
        for conversation in conversations:
            print(render(conversation.messages[-1:]))
            try:
                answers.append(Response(input("Seller: ")))
            except EOFError:
                raise ConvgymError("the input ended before the conversation did") from None
        return answers


def _names(option: str | None) -> list[str] | None:
    if option is None:
        return None
    names = [name.strip() for name in option.split(",") if name.strip()]
    return [] if names == ["none"] else names


def _environment(
    customer: str | None,
    catalog: str | None,
    personas: str | None = None,
    customer_option: Sequence[str] | None = None,
) -> dict[str, Any]:
    given: dict[str, Any] = {"customer": customer, "catalog": catalog, "personas": personas}
    if customer_option:
        from convgym.benchmarks.options import read_options

        given["customer_options"] = read_options(customer_option)
    return {key: value for key, value in given.items() if value is not None}


def _try_customer(environment: Mapping[str, Any]) -> None:
    """Make a customer, so that a mistake in its options is told before a run begins."""
    from convgym.envs.scenario import Scenario

    for dialogue in Scenario.of(environment).dialogues(1):
        dialogue.close()


def _shop(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a scripted seller must know of the environment: its catalogue."""
    return {key: value for key, value in environment.items() if key == "catalog"}


def _console(stderr: bool = False) -> Console:
    """Return a console that is wide enough for the table where there is no terminal."""
    from rich.console import Console

    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=140)

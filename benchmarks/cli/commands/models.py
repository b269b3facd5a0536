"""``convgym models``: chat models as folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convgym.benchmarks.cli.examples import examples
from convgym.benchmarks.terminal import say


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    group = typer.Typer(help="Chat models as folders.", no_args_is_help=True)
    convert_examples = examples(
        "convgym models convert smollm2 smollm2-folder",
        "convgym models convert smollm2 model --short --system-message ''",
    )
    merge_examples = examples(
        "convgym models merge smollm2-shopper customer-folder",
        "convgym models merge my-shopper customer.gguf",
    )
    group.callback(epilog=convert_examples)(_group)
    group.command("convert", epilog=convert_examples)(convert)
    group.command("merge", epilog=merge_examples)(merge)
    app.add_typer(group, name="models")


def _group() -> None:
    pass


def convert(
    model: Annotated[str, typer.Argument(help="smollm2, a GGUF file, or a folder.")],
    folder: Annotated[Path, typer.Argument(help="Folder to write; never overwritten.")],
    short: Annotated[
        bool,
        typer.Option("--short", help="A chat template of one token an utterance, for training."),
    ] = False,
    system_message: Annotated[
        str | None,
        typer.Option(help="What a policy of this folder is told first; '' for nothing."),
    ] = None,
) -> None:
    """Write a chat model as a folder in Hugging Face format, which any --policy or hf: takes."""
    from convgym.agents.pipeline.folders import convert_to_folder

    report = convert_to_folder(model, folder, short=short, system_message=system_message)
    say(
        f"{folder}: {model}, {report['parameters']:,} parameters; its frames take"
        f" {report['tokens_of_an_opening']} tokens at the beginning and"
        f" {report['tokens_of_a_turn']} a turn"
    )


def merge(
    model: Annotated[
        str, typer.Argument(help="smollm2-shopper, or a folder of convgym pretrain --base.")
    ],
    folder: Annotated[
        Path, typer.Argument(help="Folder to write, or a file FILE.gguf; never overwritten.")
    ],
) -> None:
    """Write a customer's adapters and their chat model as one model, for any server of chat models.

    Served, it is the customer llm-fitted; in this process, smollm2-customer with the option model.
    """
    from convgym.agents.customers.voice import merge as write
    from convgym.datafiles import check_new_file, check_new_folder

    if folder.suffix == ".gguf":
        check_new_file(folder)
    else:
        check_new_folder(folder)
    parameters = write(model, folder)
    say(f"{folder}: {model}, {parameters:,} parameters")
    say(
        "serve it, and talk to it: convgym chat --customer llm-fitted --customer-option"
        " base_url=http://localhost:8080/v1 --customer-option model=NAME"
    )
    if folder.suffix != ".gguf":
        say(
            "or talk to it in this process: convgym chat --customer smollm2-customer"
            f" --customer-option model={folder}"
        )

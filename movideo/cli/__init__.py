"""The `movideo` command."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Sequence
from contextvars import copy_context
from importlib import import_module

from movideo.cli.allocation import keep_freed_memory
from movideo.cli.configs import OPTIONS, shipped_configs, with_config_paths
from movideo.errors import UserError
from movideo.lazy import many_imports
from movideo.storage.atomic import FULL

STAGE_COMMANDS = {
    "fit": "train a stage",
    "validate": "measure a stage's validation loss",
    "test": "measure what a stage or the whole chain makes",
    "predict": "make videos from a data set",
}
TOOLS = {
    "scenes": "render synthetic clips with exact depth and flow",
    "index": "list the clips of a disk of videos",
    "precompute": "estimate depth and flow labels of videos",
    "generate": "make a video from an image",
    "export": "turn stage checkpoints into one model folder",
    "compare": "put reports of tests side by side",
    "doctor": "show what is installed, and which weights a config needs and lacks",
}
INTERRUPTED = 130  # as shells report a program that Ctrl-C ended


def main(args: Sequence[str] | None = None) -> None:
    """Runs the command; a mistake of the user ends it with one line on stderr and status 2."""
    arguments = list(sys.argv[1:] if args is None else args)
    try:
        copy_context().run(_run, arguments)  # what a command trusts ends with it
    except UserError as error:
        _fail(_one_line(str(error)))
    except OSError as error:
        if error.filename is None and error.errno in FULL:
            _fail(f"{error.strerror}; free some space and run it again: what is finished is kept")
        if error.filename is None:
            raise
        _fail(f"{error.filename}: {error.strerror}; check the path")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except SystemExit as error:
        # Lightning turns Ctrl-C into status 1.
        sys.exit(INTERRUPTED if isinstance(error.__context__, KeyboardInterrupt) else error.code)


def _fail(message: str) -> None:
    print(f"movideo: {message}", file=sys.stderr)
    sys.exit(2)


def _one_line(message: str) -> str:
    """The message itself, where torch wrapped it into the traceback of a data loader's worker."""
    if message.startswith("Caught ") and "Traceback" in message:
        message = message.strip().splitlines()[-1].partition(": ")[2]
    return " ".join(message.split())


def _run(arguments: list[str]) -> None:
    keep_freed_memory()
    name = arguments[0] if arguments else "--help"
    rest = arguments[1:]
    if name in ("-h", "--help"):
        print(_help())
    elif name == "--version":
        print(import_module("movideo").__version__)
    elif name in STAGE_COMMANDS:
        _run_stage([name, *with_config_paths(rest)])
    elif name in TOOLS:
        _run_tool(name, list(with_config_paths(rest)))
    else:
        choices = ", ".join([*STAGE_COMMANDS, *TOOLS])
        raise UserError(f"{name}: no such command; choose one of {choices}")


def _help() -> str:
    lines = [f"  {name:<11} {does}" for name, does in {**STAGE_COMMANDS, **TOOLS}.items()]
    return "\n".join(
        [
            "usage: movideo COMMAND [options]    (movideo COMMAND --help shows them)",
            "",
            *lines,
            "",
            "A config that is not found beside you is taken from those shipped:",
            textwrap.indent(textwrap.fill(" ".join(shipped_configs()), 90), "  "),
        ]
    )


def _run_stage(arguments: list[str]) -> None:
    # Lightning takes seconds to import; help does not wait for it.
    with many_imports():
        from movideo.cli.stages import run_stage

    run_stage(arguments)


def _run_tool(name: str, arguments: list[str]) -> None:
    if name == "precompute":
        from movideo.cli.precompute import run_precompute

        return run_precompute(arguments)
    if name == "doctor":
        from movideo.cli.doctor import run_doctor

        return run_doctor(arguments)
    if name == "compare":
        from movideo.cli.compare import run_compare

        return run_compare(arguments)
    from movideo.cli.parser import UserArgumentParser

    module = "movideo.cli.index" if name == "index" else "movideo.cli.tools"
    tool: Callable[..., None] = getattr(import_module(module), name)
    parser = UserArgumentParser(prog=f"movideo {name}", description=TOOLS[name])
    parser.add_argument(*reversed(OPTIONS), action="config", help="A file with these options.")
    parser.add_function_arguments(tool)
    options = parser.build(arguments)
    options.pop("config", None)
    return tool(**options)

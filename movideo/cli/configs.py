"""Where configs are found: beside the user, or among those that are shipped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml

from movideo.errors import UserError

PACKAGE = Path(__file__).resolve().parents[1]
# Inside the package in a wheel, beside it in a checkout.
FOLDERS = (PACKAGE / "configs", PACKAGE.parent / "configs")
GROUPS = (".", "paper", "variants", "eval", "cluster")
OPTIONS = ("--config", "-c")


def shipped_configs() -> list[str]:
    """Names of the configs that are meant for users, group by group."""
    found: dict[str, None] = {}
    for folder in FOLDERS:
        for group in GROUPS:
            paths = sorted((folder / group).glob("*.yaml"))
            found |= dict.fromkeys(path.relative_to(folder).as_posix() for path in paths)
    return list(found)


def shipped_config(name: str) -> Path:
    """The file of a shipped config.

    Raises:
        UserError: there is none of that name.
    """
    for folder in FOLDERS:
        if (folder / name).is_file():
            return folder / name
    raise UserError(
        f"{name}: no such config here, nor among those shipped: {', '.join(shipped_configs())}"
    )


def find_config(name: str) -> str:
    """A config file: as named, or among those shipped.

    Raises:
        UserError: it is in neither place, or is no config.
    """
    path = Path(name) if Path(name).is_file() else shipped_config(name)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{name}: cannot be read as text; give a YAML file") from error
    except yaml.YAMLError as error:
        where = " ".join(str(getattr(error, "problem_mark", "")).split())
        raise UserError(f"{name}: not YAML ({where}); mend it") from error
    if not isinstance(content, dict):
        raise UserError(f"{name}: no config, it holds no keys; give a YAML file of options")
    return str(path)


def with_config_paths(arguments: list[str]) -> Iterator[str]:
    """The arguments, with the value of every `--config` replaced by the files it means.

    A config that names another as its `base` says only what differs: the base goes before it.
    """
    expects_name = False
    for argument in arguments:
        option, equals, name = argument.partition("=")
        if expects_name:
            yield from (f"--config={path}" for path in _with_base(argument))
        elif option in OPTIONS and equals:
            yield from (f"--config={path}" for path in _with_base(name))
        elif argument not in OPTIONS:
            yield argument
        expects_name = not expects_name and argument in OPTIONS
    if expects_name:
        yield OPTIONS[0]  # without a value; the parser says so


def _with_base(name: str) -> list[str]:
    path = find_config(name)
    base = yaml.safe_load(Path(path).read_text(encoding="utf-8")).get("base")
    return [path] if base is None else [find_config(str(base)), path]

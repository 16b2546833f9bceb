"""Argument parsing whose mistakes are told in one line."""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any, NoReturn

from jsonargparse import ArgumentParser

from movideo.errors import UserError

_UNKNOWN = re.compile(
    r"(?:Subcommand '.*' does not accept option|Group '(?P<group>.*)' does not accept option"
    r"|Option|unrecognized arguments:) '?(?P<key>[^\s'=]+)"
)
_KEY = re.compile(r'Parser key "(.*)":')
_NESTED = re.compile(r"NestedArg\(key='(?P<key>[^']*)'")
_UNION = "Does not validate against any of the Union"
_HINT = "; see the command's --help"
# Options of earlier versions, by what they are called now beside them; CHANGELOG.md has all names.
_RENAMED = {
    "augmentations": "training.augmentations",
    "buckets": "training.buckets",
    "depth_estimator": "labels.depth_estimator",
    "exact_colours": "training.exact_colours",
    "figures": "metrics",
    "flow_estimator": "labels.flow_estimator",
    "label_grid": "labels.grid",
    "perceptual_score": "metrics",
    "pictures": "visualized_clips",
    "rivals": "baselines",
    "sheet": "visualization",
    "test_fraction": "split.test",
    "val_fraction": "split.val",
    "with_labels": "labels.enabled",
}


class UserArgumentParser(ArgumentParser):
    """jsonargparse's parser, with errors for the person who typed the arguments."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Ends parsing.

        Raises:
            UserError: always; it says in one line what jsonargparse says in many.
        """
        raise UserError(explain(message, option_names(self))) from ex

    def build(self, arguments: list[str]) -> dict[str, Any]:
        """Parses the arguments and builds the objects they describe.

        Raises:
            UserError: an argument is wrong, or a part refuses its settings.
        """
        options = telling(self.instantiate, self.parse_args(arguments))
        return {name: value for name, value in options.items(branches=True) if "." not in name}


def telling(build: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Calls what builds objects; the refusal of a part comes out as its own one line.

    Raises:
        UserError: a part refuses its settings.
    """
    try:
        return build(*args, **kwargs)
    except ValueError as error:
        raise UserError(explain(str(error))) from error


def option_names(parser: argparse.ArgumentParser) -> list[str]:
    """The dotted names of all options, those of subcommands too."""
    names = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                names += option_names(inner)
        else:
            names.append(action.dest)
    return names


def explain(message: str, known: Iterable[str] = ()) -> str:
    """What matters of a message of jsonargparse: the key and the reason, in one line.

    It reports a key that failed inside a key inside a key, and for each type that the value could
    have had what is wrong with it; the first type is the one that was meant.

    Args:
        message: its message.
        known: the names that exist, to find the one that was meant.
    """
    keys, reason = _unfold(message)
    unknown = _UNKNOWN.match(reason)
    if unknown:
        keys += [part.lstrip("-") for part in (unknown["group"], unknown["key"]) if part]
        return _unknown_option(".".join(keys), known)
    if "; " in reason:  # explained already, by the parser of a part
        parents = [*keys, *_parents(message, reason.partition(":")[0])]
        prefix = "".join(f"{key}." for key in parents)
        return prefix + reason.replace("did you mean ", f"did you mean {prefix}")
    reason = re.sub(r"<class '(?:[^']*\.)?(.*?)'>", r"\1", reason.removeprefix("argument "))
    reason = reason.replace("Expected a ", "expected ").replace(". Got value:", ", got")
    return f"{'.'.join(keys)}: {reason}{_HINT}" if keys else f"{reason}{_HINT}"


def _parents(message: str, key: str) -> list[str]:
    """Where in the value given a key stands that a part did not know: the keys above it.

    jsonargparse tells the part's own key alone, and ends its message with the value.
    """
    _, _, given = message.rpartition("Given value: ")
    nested = _NESTED.match(given)
    if nested:
        path = nested["key"].split(".")
    else:
        try:
            path = _path(ast.literal_eval(given), key.split(".")) or []
        except (ValueError, SyntaxError):  # cut short, or no plain value
            return []
    above = path[: -len(key.split("."))]
    return [part for part in above if part != "init_args"]


def _path(value: Any, key: list[str]) -> list[str] | None:
    """The keys that lead to a nested key in a mapping, itself last; None if it is not there."""
    if not isinstance(value, dict):
        return None
    if key[0] in value and (len(key) == 1 or _path(value[key[0]], key[1:])):
        return key
    for name, inner in value.items():
        found = _path(inner, key)
        if found is not None:
            return [name, *found]
    return None


def _unknown_option(key: str, known: Iterable[str]) -> str:
    """Names the nearest of the options beside it, where one is near."""
    parent, _, leaf = key.rpartition(".")
    parts = key.split(".")
    for index, part in enumerate(parts):
        if part in _RENAMED:
            now = ".".join([*parts[:index], _RENAMED[part]])
            return f"{key}: no such option any more; did you mean {now}?"
    beside = {name.rpartition(".")[2]: name for name in known if name.rpartition(".")[0] == parent}
    nearest = get_close_matches(leaf, beside, n=1)
    hint = f"; did you mean {beside[nearest[0]]}?" if nearest else _HINT
    return f"{key}: no such option{hint}"


def _unfold(message: str) -> tuple[list[str], str]:
    """The nested keys and the innermost reason."""
    keys: list[str] = []
    words: list[str] = []
    lines = iter(line.strip(" -") for line in message.splitlines())
    for line in lines:
        key = _KEY.match(line)
        if key:
            keys.append(key[1])
            line = line[key.end() :].strip()
        if line.startswith(_UNION):
            while next(lines, "Errors:") != "Errors:":
                pass
            continue
        if not line or line.startswith("Expected a path but"):  # of a file of options: not meant
            continue
        words.append(line)
        if not line.endswith(":"):
            break
    return keys, " ".join(words)

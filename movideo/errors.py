"""The one exception that speaks to the person at the keyboard."""

from collections.abc import Mapping

Range = tuple[bool, str]
"""Whether a value lies in its range, and the range in words."""


class UserError(Exception):
    """Something the user can mend: one line that names the thing, its value and what to do.

    The command prints the message alone, without a traceback, and exits with status 2.
    """


class VideoError(UserError):
    """A video or picture that cannot be used; one line, `PATH: reason; what to do`."""


def check_ranges(option: str, values: Mapping[str, object], ranges: Mapping[str, Range]) -> None:
    """Refuses a value out of its range.

    Args:
        option: how users give a value, `{}` standing for its name.
        values: by name.
        ranges: by name.

    Raises:
        UserError: for the first one.
    """
    for name, (is_right, allowed) in ranges.items():
        if not is_right:
            given = option.format(name)
            raise UserError(f"{given}: {values[name]} is out of range; give {allowed}")

"""The one exception that speaks to the person at the keyboard."""


class UserError(Exception):
    """Something the user can mend: one line that names the thing, its value and what to do.

    The command prints the message alone, without a traceback, and exits with status 2.
    """

"""`movideo compare`: several reports of `movideo test` side by side."""

from __future__ import annotations

from movideo.cli.parser import UserArgumentParser
from movideo.errors import UserError
from movideo.evaluation.compare import Labelled, compare
from movideo.evaluation.report import read_report
from movideo.storage.atomic import whole_file


def run_compare(arguments: list[str]) -> None:
    """Prints a table of reports.

    Raises:
        UserError: an argument is wrong, a report cannot be read, or their protocols differ.
    """
    parser = UserArgumentParser(
        prog="movideo compare",
        description="Reports of movideo test in one table, with the differences to the first. "
        "Refuses reports that did not measure the same in the same way.",
    )
    parser.add_argument(
        "reports", nargs="+", type=str, help="Each a report.json, or a folder that holds one."
    )
    parser.add_argument("--out", type=str | None, default=None, help="Write the table here too.")
    parser.add_argument(
        "--any_protocol",
        type=bool,
        default=False,
        help="Compare different protocols all the same; the differences are listed.",
    )
    options = parser.parse_args(arguments)
    if len(options.reports) < 2:
        raise UserError(f"{options.reports[0]}: one report; give two or more to compare")
    labelled = [Labelled(path, read_report(path)) for path in options.reports]
    found = compare(labelled, options.any_protocol)
    print(found, end="")
    if options.out is not None:
        with whole_file(options.out) as temporary:
            temporary.write_text(found, encoding="utf-8")

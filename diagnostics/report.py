"""``python -m diagnostics.report``: what a run found, as one page, two tables and figures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from causal.cli import EXIT_CODES, add_format, run_command

if TYPE_CHECKING:
    from diagnostics.diagnosis import Diagnosis
    from diagnostics.drawing import Drawing
    from diagnostics.inputs import Inputs

WIDE = 180
"""Characters of the widest table; a narrow terminal wraps its lines, none is cut."""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and write the report; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m diagnostics.report", description="Write a run's diagnosis and report.", epilog=EXIT_CODES
    )
    parser.add_argument("run", metavar="RUN", help="the run folder")
    parser.add_argument(
        "--compare", metavar="LABEL", nargs="+", help="the labels to show in detail (default: all but the rivals)"
    )
    parser.add_argument(
        "--skip-stale", action="store_true", help="leave out labels to be measured again, instead of refusing"
    )
    add_format(parser)
    parser.add_argument("--quiet", action="store_true", help="print nothing on success")
    arguments = parser.parse_args(argv)
    return run_command(
        lambda: report(arguments.run, arguments.compare, arguments.skip_stale, arguments.quiet, arguments.format)
    )


def report(
    path: str,
    compare: Sequence[str] | None = None,
    skip_stale: bool = False,
    quiet: bool = False,
    form: str = "html",
) -> None:
    """Read a run folder, diagnose, and write diagnosis.parquet, scores.json, figures/ and the page.

    Parameters
    ----------
    path : str
        The run folder.
    compare : sequence of str, optional
        Labels to show in detail; all but the rivals by default. The comparison holds all.
    skip_stale : bool
        Leave out labels whose results no longer belong to the study (the page says so), instead of refusing.
    quiet : bool
        Print nothing.
    form : {"html", "md"}
        Write ``report.html`` or ``report.md``. The other one, if an earlier report left it, is written anew as well, so
        that it never tells of another state of the run.

    Raises
    ------
    InputError
        There is no run, an unknown label, or a stale one. Nothing is written then.
    """
    from causal.files import write_json, write_text
    from diagnostics.diagnosis import diagnose
    from diagnostics.drawing import save
    from diagnostics.inputs import load_inputs
    from diagnostics.render import FORMS
    from diagnostics.scores import scores

    inputs = load_inputs(path, compare, skip_stale)
    found = diagnose(inputs)
    numbers = scores(inputs, found)
    drawings = draw(inputs, found)
    folder = inputs.run.path
    names = [name for name in FORMS if name == form or (folder / f"report.{name}").is_file()]
    pages = {name: FORMS[name](inputs, found, numbers, drawings) for name in names}
    _write_diagnosis(inputs, found)
    write_json(folder / "scores.json", numbers)
    save(drawings, folder / "figures")
    for name, page in pages.items():
        write_text(folder / f"report.{name}", page)
    if not quiet:
        _say_result(inputs, numbers)


def draw(inputs: Inputs, found: Diagnosis) -> list[Drawing]:
    """Draw the figures that the run has data for."""
    from diagnostics.drawing import draw_classes, draw_forest, draw_scatter
    from diagnostics.page import class_shares, largest_effects, model_shifts
    from diagnostics.surveydrawings import draw_attributes, draw_balance, draw_graph, draw_topics

    drawings = [*draw_attributes(inputs), *draw_topics(inputs), *draw_graph(inputs), *draw_balance(inputs)]
    if len(found.models) and inputs.models:
        drawings.append(draw_classes(class_shares(inputs, found)))
        drawings.append(
            draw_scatter(found.models, [model.label for model in inputs.models], inputs.study.diagnosis.tau)
        )
    largest = largest_effects(inputs)
    if len(largest):
        drawings.append(draw_forest(largest, model_shifts(inputs, largest)))
    return drawings


def _write_diagnosis(inputs: Inputs, found: Diagnosis) -> None:
    from causal.files import replace_file

    path = inputs.run.path / "diagnosis.parquet"
    if not len(found.models):
        path.unlink(missing_ok=True)  # of an earlier report with models
        return
    rows = found.models if inputs.splits else found.models.drop(columns="split")
    with replace_file(path) as beside:
        rows.to_parquet(beside, index=False)


def _say_result(inputs: Inputs, numbers: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from diagnostics.comparison import comparison_tables
    from diagnostics.origins import origin_notes

    console = Console(markup=False, highlight=False, width=WIDE)
    for i, table in enumerate(comparison_tables(inputs, numbers["comparison"])):
        console.print(f"{'' if i else inputs.study.name + ', model against survey. '}{table.caption}", soft_wrap=True)
        shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for column, name in enumerate(table.head):
            shown.add_column(name, justify="right" if column else "left", no_wrap=True)
        for row, values in enumerate(table.rows):
            shown.add_row(*values, style="dim" if row in table.quiet else None)
        console.print(shown)
        console.print()
    for note in origin_notes(inputs):
        console.print(note, soft_wrap=True)
    if not numbers["comparison"]:
        console.print(f"{inputs.study.name}: no model measured yet; the report shows the survey alone")
    for label, reason in inputs.left_out.items():
        console.print(f"left out {label}: {reason}", soft_wrap=True)
    for name in ("diagnosis.parquet", "scores.json", "figures", "report.html", "report.md"):
        if (inputs.run.path / name).exists():
            print(inputs.run.path / name)


if __name__ == "__main__":
    sys.exit(main())

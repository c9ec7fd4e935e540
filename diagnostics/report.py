"""``python -m diagnostics.report``: what a run found, as one page, two tables and figures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from causal.cli import EXIT_CODES, run_command

if TYPE_CHECKING:
    from diagnostics.diagnosis import Diagnosis
    from diagnostics.drawing import Drawing
    from diagnostics.inputs import Inputs
    from diagnostics.page import Table


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and write the report; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m diagnostics.report", description="Write a run's diagnosis and report.", epilog=EXIT_CODES
    )
    parser.add_argument("run", metavar="RUN", help="the run folder")
    parser.add_argument(
        "--compare", metavar="LABEL", nargs="+", help="the labels to show (default: all that were measured)"
    )
    parser.add_argument(
        "--skip-stale", action="store_true", help="leave out labels to be measured again, instead of refusing"
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing on success")
    arguments = parser.parse_args(argv)
    return run_command(lambda: report(arguments.run, arguments.compare, arguments.skip_stale, arguments.quiet))


def report(path: str, compare: Sequence[str] | None = None, skip_stale: bool = False, quiet: bool = False) -> None:
    """Read a run folder, diagnose, and write diagnosis.parquet, scores.json, figures/ and report.html.

    Parameters
    ----------
    path : str
        The run folder.
    compare : sequence of str, optional
        Labels to show; all by default.
    skip_stale : bool
        Leave out labels whose results no longer belong to the study (the page says so), instead of refusing.
    quiet : bool
        Print nothing.

    Raises
    ------
    InputError
        There is no run, an unknown label, or a stale one. Nothing is written then.
    """
    from causal.files import write_json, write_text
    from diagnostics.diagnosis import diagnose
    from diagnostics.drawing import save
    from diagnostics.inputs import load_inputs
    from diagnostics.scores import scores

    inputs = load_inputs(path, compare, skip_stale)
    found = diagnose(inputs)
    numbers = scores(inputs, found)
    drawings = draw(inputs, found)
    page = render(inputs, found, numbers, drawings)
    folder = inputs.run.path
    _write_diagnosis(inputs, found)
    write_json(folder / "scores.json", numbers)
    save(drawings, folder / "figures")
    write_text(folder / "report.html", page)
    if not quiet:
        _say_result(inputs, numbers)


def draw(inputs: Inputs, found: Diagnosis) -> list[Drawing]:
    """Draw the figures that the run has data for."""
    from diagnostics.drawing import draw_classes, draw_forest, draw_scatter
    from diagnostics.page import class_shares, largest_effects, model_shifts

    drawings = []
    if len(found.models):
        drawings.append(draw_classes(class_shares(inputs, found)))
        drawings.append(
            draw_scatter(found.models, [model.label for model in inputs.models], inputs.study.diagnosis.tau)
        )
    largest = largest_effects(inputs)
    if len(largest):
        drawings.append(draw_forest(largest, model_shifts(inputs, largest)))
    return drawings


def render(inputs: Inputs, found: Diagnosis, numbers: dict[str, Any], drawings: Sequence[Drawing]) -> str:
    """Fill the page's template; everything that comes from the survey or the model is escaped."""
    from pathlib import Path

    import jinja2
    from markupsafe import Markup

    from diagnostics.drawing import embedded
    from diagnostics.page import attribute_table, effects_table, estimator_table, largest_effects, method
    from diagnostics.verdict import verdict

    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    largest = largest_effects(inputs)
    return environment.get_template("report.html").render(
        study=inputs.study,
        models=inputs.models if len(found.models) else (),
        left_out=inputs.left_out,
        verdict=verdict(inputs, found, numbers),
        figures={drawing.name: Markup(embedded(drawing, _DESCRIPTIONS[drawing.name])) for drawing in drawings},  # noqa: S704
        tables=_tables(inputs, found),
        attributes=attribute_table(inputs),
        estimators=estimator_table(inputs),
        largest=effects_table(inputs, largest) if len(largest) else None,
        checks=inputs.checks,
        method=method(inputs),
        numbers=numbers,
    )


_DESCRIPTIONS = {
    "classes": "Stacked bars: shares of the four classes, for each label and the perfect model",
    "scatter": "Scatter of the survey's shift against the model's shift, one panel per label",
    "forest": "The largest survey effects with their intervals",
}


def _tables(inputs: Inputs, found: Diagnosis) -> dict[str, Table]:
    from diagnostics.page import class_table, granularity_groups, score_table, split_groups, value_groups

    if not len(found.models):
        return {}
    level, effect = (found.cells, "score"), (found.toggles, "distance")
    s = "Alignment score S of answer distributions (100 = equal to the survey's)"
    d = "Effect distance (0 = every attribute moves the answers exactly as in the survey)"
    tables = {"classes": class_table(inputs, found)}
    for key, (rows, measure), text in (("level", level, s), ("effect", effect, d)):
        tables[f"{key}_granularity"] = score_table(
            inputs,
            rows,
            granularity_groups(rows),
            measure,
            f"{text}, by number of attributes that the persona specifies.",
        )
        if inputs.splits:
            tables[f"{key}_split"] = score_table(
                inputs, rows, split_groups(inputs, rows), measure, f"{text}, by part in training."
            )
        for column in ("topic", "country"):
            if rows[column].nunique() > 1:
                tables[f"{key}_{column}"] = score_table(
                    inputs, rows, value_groups(rows, column), measure, f"{text}, by {column}.", transpose=True
                )
    return tables


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

    from diagnostics.classify import CLASSES
    from diagnostics.diagnosis import splits_shown

    console = Console()
    if numbers["labels"]:
        shown = Table(
            title=f"{inputs.study.name}: model against survey",
            title_justify="left",
            box=None,
            pad_edge=False,
            padding=(0, 2, 0, 0),
        )
        for i, name in enumerate(("label", "questions", "S", "distance", *CLASSES)):
            shown.add_column(name, justify="left" if i < 2 else "right", no_wrap=True)
        for split in splits_shown(inputs):
            parts = {label: item["splits"][split] for label, item in numbers["labels"].items()}
            for label, part in parts.items():
                shown.add_row(label, split.replace("_", " "), *_cells(part, ""))
            shown.add_row("(perfect)", split.replace("_", " "), *_cells(part, "_ceiling"), style="dim")
            shown.add_row()
        console.print(shown)
    else:
        console.print(
            f"{inputs.study.name}: no model measured yet; the report shows the survey alone",
            markup=False,
            highlight=False,
        )
    for label, reason in inputs.left_out.items():
        console.print(f"left out {label}: {reason}", markup=False, highlight=False, soft_wrap=True)
    for name in ("diagnosis.parquet", "scores.json", "figures", "report.html"):
        if (inputs.run.path / name).exists():
            print(inputs.run.path / name)


def _cells(part: dict[str, Any], suffix: str) -> list[str]:
    from diagnostics.verdict import distance, percent, score

    shares = part[f"classes{suffix}"].values()
    return [score(part[f"S{suffix}"]), distance(part[f"effect_distance{suffix}"]), *map(percent, shares)]


if __name__ == "__main__":
    sys.exit(main())

"""The page: one template filled from tables and figures, as one HTML file or as Markdown with figures beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from diagnostics.comparison import comparison_tables
from diagnostics.diagnosis import Diagnosis
from diagnostics.drawing import Drawing, embedded
from diagnostics.heat import topic_table
from diagnostics.identified import estimand_table, role_table
from diagnostics.inputs import Inputs
from diagnostics.markdown import markdown
from diagnostics.marks import LEGEND, failures, mark
from diagnostics.methods import methods_paragraph, question_table
from diagnostics.origins import origin_notes
from diagnostics.page import (
    Table,
    attribute_table,
    class_table,
    effects_table,
    estimator_table,
    granularity_groups,
    largest_effects,
    method,
    score_table,
    split_groups,
    value_groups,
)
from diagnostics.verdict import verdict


def html_page(inputs: Inputs, found: Diagnosis, numbers: dict[str, Any], drawings: Sequence[Drawing]) -> str:
    """Return the report as one HTML file, figures inside; what comes from the survey or the model is escaped."""
    return _filled(inputs, found, numbers, drawings, lambda drawing: Markup(embedded(drawing)))  # noqa: S704


def markdown_page(inputs: Inputs, found: Diagnosis, numbers: dict[str, Any], drawings: Sequence[Drawing]) -> str:
    """Return the same page as Markdown that shows the files in ``figures/``."""
    image = Markup('<img src="figures/{}.png" alt="{}">')
    return markdown(
        _filled(inputs, found, numbers, drawings, lambda drawing: image.format(drawing.name, drawing.description))
    )


FORMS = {"html": html_page, "md": markdown_page}


def _filled(
    inputs: Inputs,
    found: Diagnosis,
    numbers: dict[str, Any],
    drawings: Sequence[Drawing],
    picture: Callable[[Drawing], Markup],
) -> str:
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    largest = largest_effects(inputs)
    return environment.get_template("report.html").render(
        study=inputs.study,
        models=inputs.models if len(found.models) else (),
        rivals=inputs.rivals if len(found.models) else (),
        left_out=inputs.left_out,
        verdict=verdict(inputs, found, numbers),
        figures={drawing.name: picture(drawing) for drawing in drawings},
        captions={drawing.name: drawing.caption for drawing in drawings},
        tables=_tables(inputs, found),
        compared=comparison_tables(inputs, numbers["comparison"]),
        origins=origin_notes(inputs),
        attributes=attribute_table(inputs),
        estimators=estimator_table(inputs),
        topics=topic_table(inputs),
        estimands=estimand_table(inputs),
        roles=role_table(inputs),
        questions=question_table(inputs),
        largest=effects_table(inputs, largest) if len(largest) else None,
        checks=inputs.checks,
        failures=failures(inputs.checks),
        legend=LEGEND if len(largest) and mark(largest) else "",
        method=method(inputs),
        paragraph=methods_paragraph(inputs),
        numbers=numbers,
    )


def _tables(inputs: Inputs, found: Diagnosis) -> dict[str, Table]:
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

"""``python -m causal.audit``: a survey's attribute effects, with uncertainty and checks."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from causal.cli import add_format, run_command, study_parser

if TYPE_CHECKING:
    import pandas as pd

    from causal.counttable import AnySurvey
    from causal.grid import Grid
    from causal.ignorability import Check
    from causal.runs import Run
    from causal.study import Study


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run the audit; return its exit code."""
    parser = study_parser(
        "python -m causal.audit", "Estimate how demographic attributes shift a survey's answers.", optional=True
    )
    parser.add_argument("--strict", action="store_true", help="exit 3 if the support or identification check fails")
    parser.add_argument(
        "--dry-run", action="store_true", help="check study and data, say what would be done, write nothing"
    )
    add_format(parser)
    parser.add_argument(
        "--inspect", metavar="FILE", help="print what a survey file holds and a study file to start from, nothing else"
    )
    arguments = parser.parse_args(argv)
    if (arguments.study is None) == (arguments.inspect is None):
        parser.error("give either a STUDY or --inspect FILE")
    return run_command(lambda: audit(arguments) if arguments.study else inspect(arguments.inspect))


def inspect(source: str) -> None:
    """Print a study file to start from, with what was recognised as comments."""
    from causal.inspection import inspect_file
    from causal.presetstarter import labels_wanted, preset_starter
    from causal.starter import starter

    found = inspect_file(source)
    print(preset_starter(found) or labels_wanted(found) + starter(found), end="")


def audit(arguments: argparse.Namespace) -> None:
    """Read, count, estimate, check, write; then have the report written by the diagnostics."""
    from causal.adjusted import require_respondents
    from causal.counttable import read_any
    from causal.halves import require_units
    from causal.runs import Run
    from causal.study import Study

    study = Study.load(arguments.study, arguments.overrides)
    run = Run.for_study(study, arguments.out)
    survey = read_any(study)
    require_respondents(survey)
    if study.fit.held_out.respondents:
        require_units(survey)
    if arguments.dry_run:
        _say_plan(survey, run)
        return
    table, found = audit_survey(survey, run)
    _write_report(run, arguments.format)
    _say_result(study, table, found, run, arguments.format)
    _gate(found, arguments.strict)


def audit_survey(survey: AnySurvey, run: Run) -> tuple[pd.DataFrame, list[Check]]:
    """Write the survey's two tables and checks to a run folder, unless they are there already.

    Where the study halves the respondents, tables and checks are of the evaluation half, and the two tables of the
    training half stand beside them (without the rows of estimators that adjust, from which nothing is learnt).

    Returns
    -------
    tuple of DataFrame and list of Check
        The effects table and the checks.

    Raises
    ------
    InputError
        As by `causal.halves.halve` and `causal.adjusted.adjusted_rows`.
    """
    import pandas as pd

    from causal.adjusted import adjusted_rows
    from causal.gaps import gap_checks
    from causal.gate import gate_checks
    from causal.halves import halve, halves_check
    from causal.ignorability import checks, read_checks, write_checks
    from causal.propensities import Propensities
    from causal.survey import Survey
    from causal.tables import estimated_by, read_effects

    study, inputs = survey.study, audit_inputs(survey)
    if run.is_done("audit", inputs):
        return read_effects(run.survey_effects), read_checks(json.loads(run.checks.read_text(encoding="utf-8")))
    halves = halve(survey) if study.fit.held_out.respondents else None
    shown: AnySurvey = halves.evaluation if halves else survey
    run.claim(study)
    grids, table = _estimated(shown)
    shared = Propensities(shown) if isinstance(shown, Survey) else None
    if study.effects.adjusting:
        table = pd.concat([table, adjusted_rows(shown, estimated_by(table), shared)], ignore_index=True)
    found = [
        *([halves_check(halves)] if halves else []),
        *checks(shown, table, shared),
        *gap_checks(shown, grids),
        *gate_checks(shown, estimated_by(table), shared),
    ]
    learnt = _estimated(halves.training) if halves else None
    run.forget("audit")  # from here on, until all is written, the folder holds no one audit's tables
    files = _write_tables(shown, grids, table, run.survey_distributions, run.survey_effects)
    training = [run.training_distributions, run.training_effects]
    if halves and learnt:
        files += _write_tables(halves.training, *learnt, *training)
    else:
        for path in training:
            path.unlink(missing_ok=True)
    write_checks(found, run.checks)
    run.record(study, "audit", inputs, [*files, run.checks])
    return table, found


def audit_inputs(survey: AnySurvey) -> dict[str, str]:
    """Return what the survey's tables depend on, for the manifest; ``respondents`` only where they are halved."""
    from causal.runs import SURVEY_SECTIONS

    study = survey.study
    halved = study.fit.held_out.respondents
    inputs = {"study": study.fingerprint(*SURVEY_SECTIONS), "data": survey.data_hash}
    return inputs | ({"respondents": halved} if halved else {})


def _estimated(survey: AnySurvey) -> tuple[list[Grid], pd.DataFrame]:
    """Return a survey's grids and its effects by the estimators that need no more than these."""
    from causal.counttable import counter
    from causal.effects import survey_effects
    from causal.grid import grid_from_counts, subsets

    study, counts_for = survey.study, counter(survey)
    grids = [grid_from_counts(counts_for(subset), study, survey.countries, subset) for subset in subsets(study)]
    return grids, survey_effects(grids, study, survey.countries)


def _write_tables(
    survey: AnySurvey, grids: Sequence[Grid], effects: pd.DataFrame, distributions_path: Path, effects_path: Path
) -> list[Path]:
    from causal.distributions import distributions_table
    from causal.tables import distributions_schema, effects_schema, write_table

    attributes = list(survey.study.attributes)
    distributions = distributions_table(grids, survey.study, survey.countries)
    write_table(distributions, distributions_path, distributions_schema(attributes))
    write_table(effects, effects_path, effects_schema(attributes))
    return [distributions_path, effects_path]


def _write_report(run: Run, form: str) -> None:
    """Have the diagnostics draw the page, in a process of its own: this package never imports them."""
    from causal.errors import RunError

    command = [sys.executable, "-m", "diagnostics.report", str(run.path), "--quiet", "--skip-stale", "--format", form]
    if subprocess.run(command, check=False).returncode:  # noqa: S603
        raise RunError(f"the tables in {run.path} are written, but the report is not; its own message stands above")


def _say_plan(survey: AnySurvey, run: Run) -> None:
    from causal.grid import subsets

    study = survey.study
    print(
        f"{study.name}: {survey.respondents} respondents, {len(survey.countries)} countries, "
        f"{len(study.questions)} questions"
    )
    print(
        f"would estimate effects of {', '.join(study.attributes)} in {len(subsets(study))} sets of specified attributes"
    )
    if study.fit.held_out.respondents:
        print("would do so with half of the respondents, and give training the other half")
    print(f"would write to {run.path}; nothing was written (--dry-run)")


def _say_result(study: Study, table: pd.DataFrame, found: Sequence[Check], run: Run, form: str) -> None:
    from rich.console import Console
    from rich.table import Table

    several = len(table["estimator"].unique()) > 1
    halved = bool(study.fit.held_out.respondents)
    title = f"{study.name}: effects of each attribute{', from half of the respondents' if halved else ''}"
    shown = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    words = ("attribute", *(("estimator",) if several else ()), "estimand")
    for name in (*words[:-1], "toggles", "supported", "mean |shift|", "q < .05", "estimand"):
        shown.add_column(name, justify="left" if name in words else "right", no_wrap=name in words)
    for (attribute, estimator, estimand), rows in table.groupby(["attribute", "estimator", "estimand"], sort=False):
        known = rows[rows["supported"]]
        tested = known["q_value"].notna().any()
        shown.add_row(
            str(attribute),
            *((str(estimator),) if several else ()),
            str(len(rows)),
            str(len(known)),
            f"{known['shift'].abs().mean():.3f}" if len(known) else "-",
            str((known["q_value"] < 0.05).sum()) if tested else "-",
            str(estimand),
        )
    console = Console(markup=False, highlight=False)
    console.print(shown)
    for check in found:
        console.print(f"{check.verdict:>4}  {check.name}: {check.meaning}", soft_wrap=True)
    training = (run.training_distributions, run.training_effects) if halved else ()
    for path in (run.survey_distributions, run.survey_effects, *training, run.checks, run.path / f"report.{form}"):
        print(path)


def _gate(found: Sequence[Check], strict: bool) -> None:
    from causal.errors import GateError

    failed = [check for check in found if check.verdict == "fail" and check.name in ("support", "identification")]
    if strict and failed:
        raise GateError("; ".join(f"{check.name}: {check.meaning} {check.advice}" for check in failed))


if __name__ == "__main__":
    sys.exit(main())

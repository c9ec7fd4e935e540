"""``python -m align.measure``: a language model's distributions and effects, as the same two tables."""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from align.memory import memory_ends_in_one_message
from causal.cli import run_command, study_parser

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from align.models import Loaded
    from causal.runs import Run
    from causal.study import Study

TABLES = ("distributions", "effects", "off_options")
"""What a measurement leaves under a label."""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and measure a model; return its exit code."""
    parser = study_parser("python -m align.measure", "Measure how a language model's answers shift with the persona.")
    parser.add_argument("--label", metavar="NAME", required=True, help="name of this model in the run folder")
    parser.add_argument("--model", metavar="M", help="smollm2, a model folder or a hub id (default: the study's)")
    parser.add_argument("--adapter", metavar="DIR", help="a LoRA adapter to put on the model")
    arguments = parser.parse_args(argv)
    return run_command(lambda: measure(arguments))


@memory_ends_in_one_message()
def measure(arguments: argparse.Namespace) -> None:
    """Check, load, measure, write, unless the same inputs were measured under this label before."""
    from align.locks import at_work

    study, run, name = open_run(arguments)
    adapter = _adapter(arguments.adapter)
    with at_work(run, [arguments.label]):
        refuse_trained(run, arguments.label)
        measure_once(study, run, name, arguments.label, adapter)
    say_result(run, arguments.label)


def _adapter(given: str | None) -> Path | None:
    from causal.errors import InputError

    if given == "":
        raise InputError("--adapter is empty; give an adapter's folder, or leave the option out for the model alone")
    return None if given is None else Path(given)


def measure_once(study: Study, run: Run, name: str, label: str, adapter: Path | None = None) -> None:
    """Measure a model under a label, unless that is done.

    Raises
    ------
    InputError
        The model or the adapter is not there or cannot be loaded, or a question cannot be asked.
    """
    from align.models import folder_fingerprint, load_model, model_fingerprint, require_adapter

    fingerprint = model_fingerprint(name)
    if adapter is not None:
        require_adapter(adapter)
        fingerprint += folder_fingerprint(adapter)
    inputs = measure_inputs(study, run, name, fingerprint)
    if run.is_done(f"measure/{label}", inputs):
        print(f"{label}: kept, measured before with the same study, model and prompt")
        shutil.rmtree(run.model(label) / "parts", ignore_errors=True)  # of one that was killed when all was written
    else:
        measure_model(study, run, label, load_model(name, adapter), inputs)


def open_run(arguments: argparse.Namespace) -> tuple[Study, Run, str]:
    """Return the study, the run folder with its survey's effects, and the model's name, or say what is missing.

    Raises
    ------
    InputError
        The packages of the model side, the study, the survey's effects, the label or the model's name are
        missing or wrong.
    """
    from align.models import require_packages
    from causal.runs import Run
    from causal.study import Study

    require_packages()
    study = Study.load(arguments.study, arguments.overrides)
    check_label(arguments.label)
    name = model_name(study, arguments.model)
    run = Run.for_study(study, arguments.out)
    run.require_survey(study)
    return study, run, name


def refuse_trained(run: Run, label: str, instead: str = "choose another --label") -> None:
    """Raise `InputError` if a label is a tuned model's, complete or not, whose tables belong to its adapter."""
    from align.checkpoints import Checkpoint
    from causal.errors import InputError

    if run.inputs(f"fit/{label}"):
        raise InputError(f"label {label} is a model that align.fit trained in {run.path}; {instead}")
    if (state := Checkpoint(run.model(label) / "checkpoint", "").path).is_file():
        raise InputError(f"label {label} is a model that align.fit has begun to train ({state}); {instead}")


def refuse_measured(run: Run, label: str, instead: str = "choose another --label") -> None:
    """Raise `InputError` if a label's tables were made without training, so that a training would replace them.

    A training that was killed before its adapter was measured has no tables, and goes on.
    """
    from causal.errors import InputError

    if run.inputs(f"measure/{label}") and not run.inputs(f"fit/{label}"):
        raise InputError(
            f"label {label} is measured in {run.path}, not trained, and training would overwrite it; {instead}"
        )


def check_label(label: str) -> None:
    """Raise `InputError` unless the label can be a folder's name."""
    from causal.errors import InputError

    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", label):
        raise InputError(f"--label {label!r}: use letters, digits, '.', '_' and '-', beginning with a letter or digit")


def model_name(study: Study, given: str | None) -> str:
    """Return the model to load: the command line's, else the study's.

    Raises
    ------
    InputError
        Neither names one.
    """
    from causal.errors import InputError

    if given:
        return given
    if study.model is None:
        raise InputError("no model: add `model: {name: ...}` to the study or give --model")
    return study.model.name


def measure_inputs(study: Study, run: Run, name: str, fingerprint: str) -> dict[str, Any]:
    """Return what a measurement depends on, for the manifest."""
    from align.prompts import wording_fingerprint
    from causal.runs import TABLE_SECTIONS

    return {
        "tables": study.fingerprint(*TABLE_SECTIONS),
        "granularities": list(study.granularities),
        "countries": {country: study.country_name(country) for country in survey_countries(run)},
        "prompt": study.prompt.model_dump(),
        "wording": wording_fingerprint(study, survey_countries(run)),
        "graph": study.fingerprint("graph"),
        "model": name,
        "weights": fingerprint,
    }


def require_all_askable(studies: Iterable[Study], run: Run, loaded: Loaded) -> None:
    """Raise what `measure_model` would raise of the prompts of some studies, before hours go into something else."""
    from align.prompts import personas
    from align.questions import require_askable

    for study in studies:
        keys = [(country, question) for country in survey_countries(run) for question in study.questions]
        require_askable(study, loaded, keys, personas(study, study.granularities))


def survey_countries(run: Run) -> list[str]:
    """Return the countries of the survey's tables, in their order."""
    from causal.tables import read_distributions

    return list(dict.fromkeys(read_distributions(run.survey_distributions)["country"]))


def measure_model(study: Study, run: Run, label: str, loaded: Loaded, inputs: Mapping[str, Any]) -> None:
    """Measure every persona of every (country, question) and write the tables under a label.

    What is scored is kept in ``parts/`` until the tables are written, so that a measurement killed at any moment goes
    on from there.
    """
    from align.answers import distributions_table, off_options_schema, off_options_table, score_model
    from align.prompts import personas
    from causal.effects import model_effects
    from causal.grid import grid_from_table, subsets
    from causal.tables import distributions_schema, effects_schema, write_table

    attributes = list(study.attributes)
    countries = list(inputs["countries"])
    who = personas(study, study.granularities)
    keys = [(country, question) for country in countries for question in study.questions]
    run.claim(study)
    parts = score_model(study, loaded, keys, who, run.model(label) / "parts", inputs)
    table = distributions_table(study, parts, keys, who)
    grids = [grid_from_table(table, study, countries, subset) for subset in subsets(study)]
    files = [run.model(label) / f"{name}.parquet" for name in TABLES]
    write_table(table, files[0], distributions_schema(attributes))
    write_table(model_effects(grids, study, countries), files[1], effects_schema(attributes))
    _write_parquet(off_options_table(study, parts, keys, who), files[2], off_options_schema(attributes))
    run.record(study, f"measure/{label}", inputs, files)
    parts.remove()


def _write_parquet(table: pd.DataFrame, path: Path, schema: pa.Schema) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from causal.files import replace_file

    with replace_file(path) as beside:
        pq.write_table(pa.Table.from_pandas(table, schema=schema, preserve_index=False), beside)


def say_result(run: Run, label: str) -> None:
    """Print a label's mean absolute shift beside the survey's, its probability off the options, and the paths."""
    from rich.console import Console
    from rich.table import Table

    from causal.tables import estimated_by, read_effects

    survey, model = estimated_by(read_effects(run.survey_effects)), read_effects(run.model(label) / "effects.parquet")
    shown = Table(title="mean |shift|", title_justify="left")
    for name in ("attribute", label, "survey"):
        shown.add_column(name, justify="left" if name == "attribute" else "right")
    for attribute, rows in model.groupby("attribute", sort=False):
        known = survey[(survey["attribute"] == attribute) & survey["supported"]]
        shown.add_row(str(attribute), f"{rows['shift'].abs().mean():.3f}", f"{known['shift'].abs().mean():.3f}")
    Console().print(shown)
    say_off_options(run.model(label) / "off_options.parquet")
    for name in TABLES:
        print(run.model(label) / f"{name}.parquet")


def say_off_options(path: Path) -> None:
    """Print how much probability goes to answers that are none of the options: on average, and in the worst cell."""
    import pandas as pd

    if not path.is_file():  # measured by an earlier version
        return
    off = pd.read_parquet(path)
    worst = off.nlargest(1, "off_option").iloc[0]
    print(
        f"probability off the options: mean {off['off_option'].mean():.3f}, "
        f"worst {worst['off_option']:.3f} ({worst['country']}, {worst['question']})"
    )


if __name__ == "__main__":
    sys.exit(main())

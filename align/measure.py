"""``python -m align.measure``: a language model's distributions and effects, as the same two tables."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from causal.cli import run_command, study_parser

if TYPE_CHECKING:
    import pandas as pd

    from align.models import Loaded
    from causal.runs import Run
    from causal.study import Study


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and measure a model; return its exit code."""
    parser = study_parser("python -m align.measure", "Measure how a language model's answers shift with the persona.")
    parser.add_argument("--label", metavar="NAME", required=True, help="name of this model in the run folder")
    parser.add_argument("--model", metavar="M", help="smollm2, a model folder or a hub id (default: the study's)")
    parser.add_argument("--adapter", metavar="DIR", help="a LoRA adapter to put on the model")
    arguments = parser.parse_args(argv)
    return run_command(lambda: measure(arguments))


def measure(arguments: argparse.Namespace) -> None:
    """Check, load, measure, write, unless the same inputs were measured under this label before."""
    from align.models import folder_fingerprint, load_model, model_fingerprint

    study, run, name = open_run(arguments)
    refuse_trained(run, arguments.label)
    adapter = Path(arguments.adapter) if arguments.adapter else None
    fingerprint = model_fingerprint(name) + (folder_fingerprint(adapter) if adapter and adapter.is_dir() else "")
    inputs = measure_inputs(study, run, name, fingerprint)
    if run.is_done(f"measure/{arguments.label}", inputs):
        print(f"{arguments.label}: kept, measured before with the same study, model and prompt")
    else:
        measure_model(study, run, arguments.label, load_model(name, adapter), inputs)
    say_result(run, arguments.label)


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


def refuse_trained(run: Run, label: str) -> None:
    """Raise `InputError` if a label is a tuned model's, whose tables belong to its adapter."""
    from causal.errors import InputError

    if run.inputs(f"fit/{label}"):
        raise InputError(
            f"--label {label} is a model that align.fit trained and measured in {run.path}; choose another"
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
    from causal.runs import TABLE_SECTIONS

    return {
        "tables": study.fingerprint(*TABLE_SECTIONS),
        "granularities": list(study.granularities),
        "countries": {country: study.country_name(country) for country in survey_countries(run)},
        "prompt": study.prompt.model_dump(),
        "graph": study.fingerprint("graph"),
        "model": name,
        "weights": fingerprint,
    }


def survey_countries(run: Run) -> list[str]:
    """Return the countries of the survey's tables, in their order."""
    from causal.tables import read_distributions

    return list(dict.fromkeys(read_distributions(run.survey_distributions)["country"]))


def measure_model(study: Study, run: Run, label: str, loaded: Loaded, inputs: Mapping[str, Any]) -> None:
    """Measure every persona of every (country, question) and write both tables under a label."""
    from align.prompts import personas
    from causal.effects import model_effects
    from causal.grid import grid_from_table, subsets
    from causal.tables import distributions_schema, effects_schema, write_table

    attributes = list(study.attributes)
    countries = list(inputs["countries"])
    who = personas(study, study.granularities)
    table = model_distributions(study, loaded, countries, list(study.questions), who)
    grids = [grid_from_table(table, study, countries, subset) for subset in subsets(study)]
    files = [run.model(label) / "distributions.parquet", run.model(label) / "effects.parquet"]
    write_table(table, files[0], distributions_schema(attributes))
    write_table(model_effects(grids, study, countries), files[1], effects_schema(attributes))
    run.record(study, f"measure/{label}", inputs, files)


def model_distributions(
    study: Study, loaded: Loaded, countries: Sequence[str], questions: Sequence[str], who: Sequence[dict[str, str]]
) -> pd.DataFrame:
    """Return a model's distributions table for the given personas.

    The first (country, question) is also scored one by one, and any difference is an error.
    """
    import pandas as pd
    import torch

    from align.questions import ask
    from align.scoring import check_trie, option_logprobs
    from causal.cli import progress_bars

    blocks = []
    asked_all = [(country, question) for country in countries for question in questions]
    with progress_bars() as bars, torch.no_grad():
        bar = bars.add_task(f"asking {loaded.name}", total=len(asked_all), note="")
        for i, (country, question) in enumerate(asked_all):
            asked = ask(study, loaded, country, question, who)
            if i == 0:
                check_trie(loaded.model, asked.trie, asked.encoded)
            p = option_logprobs(loaded.model, asked.trie, asked.options).double().exp().cpu().numpy()
            blocks.append(_rows(study, country, question, who, p / p.sum(axis=1, keepdims=True)))
            bars.update(bar, advance=1, note=question)
    return pd.concat(blocks, ignore_index=True)


def _rows(study: Study, country: str, question: str, who: Sequence[dict[str, str]], p: Any) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    options = p.shape[1]
    columns: dict[str, Any] = {"country": country, "question": question}
    for name in study.attributes:
        columns[name] = np.repeat(np.array([persona.get(name) for persona in who], dtype=object), options)
    columns |= {
        "granularity": np.repeat([len(persona) for persona in who], options),
        "option": np.tile(np.arange(1, options + 1), len(who)),
        "p": p.ravel(),
        "std_error": 0.0,
        "n": pd.array([None] * p.size, dtype="Int64"),
        "n_eff": np.nan,
    }
    return pd.DataFrame(columns)


def say_result(run: Run, label: str) -> None:
    """Print a label's mean absolute shift beside the survey's, and the paths."""
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
    for name in ("distributions", "effects"):
        print(run.model(label) / f"{name}.parquet")


if __name__ == "__main__":
    sys.exit(main())

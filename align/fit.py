"""``python -m align.fit``: train a LoRA adapter until the model's effects match the survey's."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from causal.cli import run_command, study_parser

if TYPE_CHECKING:
    from align.models import Loaded
    from align.training import Item, Scores
    from causal.runs import Run
    from causal.study import Study

LORA_TARGETS = "all-linear"
"""Every linear layer but the output head; peft resolves it for each model family."""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and train; return its exit code."""
    parser = study_parser("python -m align.fit", "Train a LoRA adapter so that a model's effects match the survey's.")
    parser.add_argument(
        "--label", metavar="NAME", default="ace", help="name of the tuned model in the run folder (default: ace)"
    )
    parser.add_argument("--model", metavar="M", help="smollm2, a model folder or a hub id (default: the study's)")
    parser.add_argument(
        "--resume",
        choices=["auto", "never"],
        default="auto",
        help="go on from a checkpoint with the same inputs (default: auto)",
    )
    arguments = parser.parse_args(argv)
    return run_command(lambda: fit(arguments))


def fit(arguments: argparse.Namespace) -> None:
    """Check, train, save the adapter, measure the tuned model under its label."""
    from align.measure import measure_inputs, measure_model, open_run, say_result
    from align.models import folder_fingerprint, load_model, model_fingerprint

    study, run, name = open_run(arguments)
    label, adapter = arguments.label, run.model(arguments.label) / "adapter"
    inputs = fit_inputs(study, run, name, model_fingerprint(name))
    tuned = None
    if run.is_done(f"fit/{label}", inputs) and arguments.resume == "auto":
        print(f"{label}: kept, trained before with the same study, survey effects and model")
    else:
        if arguments.resume == "never":
            shutil.rmtree(run.model(label) / "checkpoint", ignore_errors=True)
        tuned = train_adapter(study, run, label, load_model(name), inputs)
    measured = measure_inputs(study, run, name, inputs["weights"] + folder_fingerprint(adapter))
    if not run.is_done(f"measure/{label}", measured):
        measure_model(study, run, label, tuned or load_model(name, adapter), measured)
    shutil.rmtree(run.model(label) / "checkpoint", ignore_errors=True)
    say_result(run, label)
    print(adapter)


def fit_inputs(study: Study, run: Run, name: str, fingerprint: str) -> dict[str, Any]:
    """Return what a training depends on, for the manifest and the checkpoint."""
    from align.measure import survey_countries
    from causal.runs import TABLE_SECTIONS, file_hash

    return {
        "tables": study.fingerprint(*TABLE_SECTIONS),
        "survey_effects": file_hash(run.survey_effects),
        "fit": study.fit.model_dump(mode="json"),
        "countries": {country: study.country_name(country) for country in survey_countries(run)},
        "prompt": study.prompt.model_dump(),
        "model": name,
        "weights": fingerprint,
        "held_out": list(study.fit.held_out.questions),
    }


def train_adapter(study: Study, run: Run, label: str, loaded: Loaded, inputs: Mapping[str, Any]) -> Loaded:
    """Train, write ``adapter/`` with its card and ``train.jsonl``; return the tuned model."""
    import torch
    from peft import LoraConfig, get_peft_model

    from align.models import Loaded
    from align.scoring import check_trie
    from align.training import evaluate, train
    from causal.cli import progress_bars
    from causal.errors import InputError

    held_out = set(inputs["held_out"])
    trained, unseen = (
        prepare(study, run, loaded, [q for q in study.questions if q not in held_out]),
        prepare(study, run, loaded, list(held_out)),
    )
    if not trained:
        raise InputError("no toggle of the questions to train on is supported; lower effects.support or merge levels")
    check_trie(loaded.model, trained[0].asked.trie, trained[0].asked.encoded)
    judged = unseen or trained
    before = evaluate(loaded.model, judged)
    lora = study.fit.lora
    torch.manual_seed(study.fit.seed)
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)  # transformers, of peft's own code
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=LORA_TARGETS,
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(loaded.model, config)
    fingerprint = json.dumps(inputs, sort_keys=True)
    with progress_bars() as bars:
        bar = bars.add_task(f"training {label}", total=study.fit.epochs * len(trained), note="")
        train(
            model,
            trained,
            study.fit,
            run.model(label),
            fingerprint,
            lambda done, loss: bars.update(bar, completed=done, note=f"loss {loss:.4f}"),
        )
    after = evaluate(model, judged)
    run.forget(f"measure/{label}")
    files = save_adapter(study, run, label, model, loaded.name, inputs, (trained, unseen), (before, after))
    run.record(study, f"fit/{label}", inputs, [*files, run.model(label) / "train.jsonl"])
    return Loaded(loaded.name, model, loaded.tokenizer, loaded.fingerprint)


def prepare(study: Study, run: Run, loaded: Loaded, questions: Sequence[str]) -> list[Item]:
    """Pair the survey's targets for some questions with the prompts of exactly their personas."""
    from align.questions import ask
    from align.targets import targets
    from align.training import Item
    from causal.tables import read_effects

    if not questions:
        return []
    found = targets(study, read_effects(run.survey_effects), questions)
    return [Item(ask(study, loaded, target.country, target.question, target.personas), target) for target in found]


def save_adapter(
    study: Study,
    run: Run,
    label: str,
    model: Any,
    base: str,
    inputs: Mapping[str, Any],
    items: tuple[Sequence[Item], Sequence[Item]],
    scores: tuple[Scores, Scores],
) -> list[Path]:
    """Write the adapter folder whole or not at all; return its files."""
    from align.card import Training, model_card

    trained, unseen = items
    training = Training(
        study,
        base,
        inputs["survey_effects"],
        list(dict.fromkeys(item.target.question for item in trained)),
        list(dict.fromkeys(item.target.question for item in unseen)),
        sum(len(item.target.reference) for item in trained),
        *scores,
    )
    folder = run.model(label) / "adapter"
    beside = folder.with_name(".adapter")
    shutil.rmtree(beside, ignore_errors=True)
    model.peft_config["default"].base_model_name_or_path = base
    model.save_pretrained(beside, save_embedding_layers=False)
    (beside / "README.md").write_text(model_card(training), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)
    return sorted(path for path in folder.iterdir() if path.is_file())


if __name__ == "__main__":
    sys.exit(main())

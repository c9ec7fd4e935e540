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
    from align.training import Item
    from causal.fitsettings import FitSettings
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
    parser.add_argument(
        "--baselines",
        metavar="NAMES",
        help="make rivals too, each a label in the run folder: all, or some of base,anthropological,anchor,effect,ace,"
        "level_kl,temperature,marginal,uniform",
    )
    arguments = parser.parse_args(argv)
    return run_command(lambda: fit(arguments))


def fit(arguments: argparse.Namespace) -> None:
    """Train and measure the model, then make the rivals asked for."""
    from align.measure import open_run, say_result
    from align.rivals import make_rivals, rivals_asked

    study, run, name = open_run(arguments)
    label = arguments.label
    rivals = rivals_asked(arguments.baselines, study, label)
    fit_label(study, run, name, label, arguments.resume)
    make_rivals(study, run, name, label, rivals, lambda *of: fit_label(of[0], of[1], name, of[2], arguments.resume))
    say_result(run, label)
    print(run.model(label) / "adapter")


def fit_label(study: Study, run: Run, name: str, label: str, resume: str) -> None:
    """Train, save the adapter and measure the tuned model under its label, as far as that is not done."""
    from align.measure import measure_inputs, measure_model
    from align.models import folder_fingerprint, load_model, model_fingerprint

    adapter = run.model(label) / "adapter"
    inputs = fit_inputs(study, run, name, model_fingerprint(name))
    tuned = None
    if run.is_done(f"fit/{label}", inputs) and resume == "auto":
        print(f"{label}: kept, trained before with the same study, survey effects and model")
    else:
        if resume == "never":
            shutil.rmtree(run.model(label) / "checkpoint", ignore_errors=True)
        tuned = train_adapter(study, run, label, load_model(name), inputs)
    measured = measure_inputs(study, run, name, inputs["weights"] + folder_fingerprint(adapter))
    if not run.is_done(f"measure/{label}", measured):
        measure_model(study, run, label, tuned or load_model(name, adapter), measured)
    shutil.rmtree(run.model(label) / "checkpoint", ignore_errors=True)


def fit_inputs(study: Study, run: Run, name: str, fingerprint: str) -> dict[str, Any]:
    """Return what a training depends on, for the manifest and the checkpoint."""
    from align.measure import survey_countries
    from causal.runs import TABLE_SECTIONS, file_hash

    return {
        "tables": study.fingerprint(*TABLE_SECTIONS),
        "survey_effects": file_hash(run.survey_effects),
        **({"training_effects": file_hash(run.training_effects)} if study.fit.held_out.respondents else {}),
        "fit": study.fit.model_dump(mode="json"),
        "countries": {country: study.country_name(country) for country in survey_countries(run)},
        "prompt": study.prompt.model_dump(),
        "model": name,
        "weights": fingerprint,
    }


def train_adapter(study: Study, run: Run, label: str, loaded: Loaded, inputs: Mapping[str, Any]) -> Loaded:
    """Train, write ``adapter/`` with its card and ``train.jsonl``; return the tuned model."""
    from align.card import Compared, Training, model_card
    from align.models import Loaded
    from align.scoring import check_trie
    from align.targets import RESPONDENTS
    from align.training import evaluate, train
    from causal.cli import progress_bars
    from causal.errors import InputError
    from causal.heldout import HELD_OUT, TRAINED

    items = prepare(study, run, loaded)
    trained = items[TRAINED]
    if not trained:
        raise InputError(
            "no toggle to train on is supported; lower effects.support, merge levels, or hold less out (fit.held_out)"
        )
    check_trie(loaded.model, trained[0].asked.trie, trained[0].asked.encoded)
    judged = {part: items[part] for part in (RESPONDENTS, *HELD_OUT) if items.get(part)} or {TRAINED: trained}
    before = {part: evaluate(loaded.model, unseen) for part, unseen in judged.items()}
    model = _with_lora(loaded.model, study.fit)
    steps = sum(stage.epochs for stage in study.fit.stages) * len(trained)
    with progress_bars() as bars:
        bar = bars.add_task(f"training {label}", total=steps, note="")
        train(
            model,
            trained,
            study.fit,
            run.model(label),
            json.dumps(inputs, sort_keys=True),
            lambda done, loss: bars.update(bar, completed=done, note=f"loss {loss:.4f}"),
        )
    compared = [
        Compared(part, sum(len(item.target.reference) for item in unseen), before[part], evaluate(model, unseen))
        for part, unseen in judged.items()
    ]
    run.forget(f"measure/{label}")
    targets = [item.target for item in trained]
    learnt = inputs.get("training_effects", inputs["survey_effects"])
    card = model_card(Training(study, loaded.name, learnt, targets, compared))
    files = save_adapter(run, label, model, loaded.name, card)
    run.record(study, f"fit/{label}", inputs, [*files, run.model(label) / "train.jsonl"])
    return Loaded(loaded.name, model, loaded.tokenizer, loaded.fingerprint)


def _with_lora(model: Any, fit: FitSettings) -> Any:
    """Put fresh LoRA layers on a model, drawn from the seed."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(fit.seed)
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)  # transformers, of peft's own code
    config = LoraConfig(
        r=fit.lora.rank,
        lora_alpha=fit.lora.alpha,
        lora_dropout=fit.lora.dropout,
        target_modules=LORA_TARGETS,
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)


def prepare(study: Study, run: Run, loaded: Loaded) -> dict[str, list[Item]]:
    """Pair the survey's targets, by part, with the prompts of exactly their personas."""
    from align.questions import ask
    from align.targets import run_targets
    from align.training import Item

    return {
        part: [Item(ask(study, loaded, one.country, one.question, one.personas), one) for one in found]
        for part, found in run_targets(study, run).items()
    }


def save_adapter(run: Run, label: str, model: Any, base: str, card: str) -> list[Path]:
    """Write the adapter folder whole or not at all; return its files."""
    folder = run.model(label) / "adapter"
    beside = folder.with_name(".adapter")
    shutil.rmtree(beside, ignore_errors=True)
    model.peft_config["default"].base_model_name_or_path = base
    model.save_pretrained(beside, save_embedding_layers=False)
    (beside / "README.md").write_text(card, encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)
    return sorted(path for path in folder.iterdir() if path.is_file())


if __name__ == "__main__":
    sys.exit(main())

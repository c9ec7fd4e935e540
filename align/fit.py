"""``python -m align.fit``: train a LoRA adapter until the model's effects match the survey's."""

from __future__ import annotations

import argparse
import json
import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from align.memory import memory_ends_in_one_message
from align.parallel import end, leave, note, processes, run_launched
from causal.cli import study_parser

if TYPE_CHECKING:
    from align.card import Compared
    from align.checkpoints import Checkpoint
    from align.evaluation import Item, Scores
    from align.models import Loaded
    from align.parallel import Processes
    from causal.runs import Run
    from causal.study import Study


class Before(dict[tuple[tuple[str, bytes], ...], "dict[str, Scores]"]):
    """Scores of one model without an adapter by part, by each item's part and hash (`Item.judged_by`)."""


@dataclass(frozen=True)
class Planned:
    """The training of one label.

    Attributes
    ----------
    label : str
        What it is called.
    study : Study
        Makes it.
    run : Run
        Where it is recorded.
    inputs : mapping
        What it depends on.
    """

    label: str
    study: Study
    run: Run
    inputs: Mapping[str, Any]

    @property
    def checkpoint(self) -> Checkpoint:
        """Its state on disk."""
        from align.checkpoints import Checkpoint

        return Checkpoint(self.run.model(self.label) / "checkpoint", json.dumps(self.inputs, sort_keys=True))

    @property
    def done(self) -> bool:
        """Whether it is complete and its adapter as it was left."""
        return self.run.is_done(f"fit/{self.label}", self.inputs)


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
    return run_launched(lambda: fit(arguments))


@memory_ends_in_one_message()
def fit(arguments: argparse.Namespace) -> None:
    """Train the model and the rivals asked for that are trained, then measure all and make the others."""
    from align.locks import at_work
    from align.measure import open_run, say_result
    from align.rivals import make_rivals, prompted, rivals_asked

    among = processes()
    study, run, name = among.together(lambda: open_run(arguments))
    label = arguments.label
    rivals = among.together(lambda: rivals_asked(arguments.baselines, study, label))
    with at_work(run, (label, *rivals), among):
        todo = among.together(lambda: _to_train(study, run, name, label, rivals, arguments.resume))
        asked = among.together(lambda: prompted(study, rivals))
        before = Before()
        for own in todo.values():
            train_label(own, name, asked, arguments.resume, among, before)
        leave()
        if not among.main:
            return
        measure_tuned(todo[label], name)
        make_rivals(study, run, name, label, rivals, lambda own: measure_tuned(todo[own], name))
    say_result(run, label)
    print(run.model(label) / "adapter")


def _to_train(study: Study, run: Run, name: str, label: str, rivals: Sequence[str], resume: str) -> dict[str, Planned]:
    """Return each training by label, if no label holds another model or half of another training."""
    from align.measure import refuse_measured
    from align.models import model_fingerprint
    from align.rivals import refuse_taken, trainings

    refuse_measured(run, label)
    refuse_taken(run, rivals)
    weights = model_fingerprint(name)
    todo = {
        own: Planned(own, changed, folder, fit_inputs(changed, folder, name, weights))
        for own, (changed, folder) in ({label: (study, run)} | trainings(study, run, rivals)).items()
    }
    for planned in todo.values():
        if resume == "auto" and not planned.done:
            planned.checkpoint.refuse_others()
    return todo


def train_label(
    planned: Planned, name: str, asked: Iterable[Study], resume: str, among: Processes, before: Before
) -> None:
    """Train and save the adapter of a label, unless that is done.

    Parameters
    ----------
    planned : Planned
        The training.
    name : str
        Of the model.
    asked : iterable of Study
        Whose prompts will be asked once all is trained: those that the model could not be asked are refused before.
    resume : str
        ``never`` to begin anew.
    among : Processes
        Who shares the work.
    before : Before
        The model's scores without an adapter, which are added where they are new: rivals are judged by the same.
    """
    from align.measure import require_all_askable
    from align.models import load_model
    from align.sharding import shard

    if among.gather(resume == "auto" and planned.done)[0]:
        print(f"{planned.label}: kept, trained before with the same study, survey effects and model")
        return
    if resume == "never":
        among.on_main(lambda: shutil.rmtree(planned.checkpoint.folder, ignore_errors=True))
    loaded = among.together(lambda: load_model(name, on_host=among.sharded))
    among.together(lambda: require_all_askable(asked, planned.run, loaded))
    among.together(lambda: shard(loaded.model, among))
    train_adapter(planned, loaded, before)


def measure_tuned(planned: Planned, name: str) -> None:
    """Measure a trained label, unless that is done; its checkpoint has served its purpose then."""
    from align.measure import measure_once

    run, label = planned.run, planned.label
    measure_once(planned.study, run, name, label, run.model(label) / "adapter")
    planned.checkpoint.remove()


def fit_inputs(study: Study, run: Run, name: str, fingerprint: str) -> dict[str, Any]:
    """Return what a training depends on, for the manifest and the checkpoint."""
    from align.measure import survey_countries
    from align.prompts import wording_fingerprint
    from causal.runs import TABLE_SECTIONS
    from causal.tables import toggles_fingerprint

    def toggles(path: Path) -> str:
        return toggles_fingerprint(path, list(study.attributes))

    return {
        "tables": study.fingerprint(*TABLE_SECTIONS),
        "survey_toggles": toggles(run.survey_effects),
        **({"training_toggles": toggles(run.training_effects)} if study.fit.held_out.respondents else {}),
        "fit": study.fit.model_dump(mode="json", exclude={"checkpoint_activations"}),  # same bits either way
        "stages": [stage.model_dump(mode="json") for stage in study.fit.stages],  # what a named schedule stands for
        "targets": study.fit.learnt,
        "countries": {country: study.country_name(country) for country in survey_countries(run)},
        "prompt": study.prompt.model_dump(),
        "wording": wording_fingerprint(study, survey_countries(run)),
        "model": name,
        "weights": fingerprint,
    }


def train_adapter(planned: Planned, loaded: Loaded, known: Before) -> None:
    """Train, write ``adapter/`` with its card and ``train.jsonl``."""
    from align.card import Compared, Training, model_card
    from align.ceiling import ceiling, sizes_of_cells
    from align.engine import trainable_way
    from align.lora import with_lora
    from align.targets import RESPONDENTS
    from align.writing import writing
    from causal.files import write_text
    from causal.heldout import PARTS, TRAINED, VALIDATION
    from causal.runs import file_hash
    from causal.tables import read_distributions

    among = processes()
    study, run, label, checkpoint = planned.study, planned.run, planned.label, planned.checkpoint
    items = among.together(lambda: _checked(study, run, loaded))
    questions = [item.asked for part in items.values() for item in part]
    way = among.together(lambda: trainable_way(loaded.model, questions, among))
    items = {part: [replace(item, way=way) for item in found] for part, found in items.items()}
    seen = (TRAINED, VALIDATION) if study.fit.held_out.respondents else (TRAINED,)
    unseen_parts = (part for part in (RESPONDENTS, *PARTS) if part not in seen and items.get(part))
    judged = {part: items[part] for part in unseen_parts} or {TRAINED: items[TRAINED]}
    before = _scored_once(loaded.model, judged, f"scores before {label}", among, known)
    model = among.together(lambda: with_lora(loaded.model, study.fit))
    epoch = _train(planned, model, items[TRAINED], items[VALIDATION], among)
    after = _scored(model, judged, f"scores after {label}", among)
    sizes = sizes_of_cells(study, read_distributions(run.survey_distributions))
    compared = []
    for part, unseen in judged.items():
        perfect = ceiling([item.target for item in unseen], sizes)
        toggles = sum(len(item.target.reference) for item in unseen)
        compared.append(Compared(part, toggles, before[part], after[part], perfect))
    among.together(lambda: _require_finite(compared))
    targets = [item.target for item in items[TRAINED]]
    dropout = model.peft_config["default"].lora_dropout
    card = model_card(Training(study, loaded.name, file_hash(run.learnt_effects), targets, compared, epoch, dropout))

    def keep() -> None:
        run.forget(f"measure/{label}")
        with writing(run.model(label) / "adapter", checkpoint.kept):
            files = save_adapter(run, label, model, loaded.name, card)
            write_text(run.model(label) / "train.jsonl", checkpoint.log.read_text(encoding="utf-8"))
        run.record(study, f"fit/{label}", planned.inputs, files)

    among.on_main(keep)


def _scored_once(
    model: Any, parts: Mapping[str, Sequence[Item]], title: str, among: Processes, known: Before
) -> dict[str, Scores]:
    """Return the scores of a model without an adapter by part, from those known where the same was scored before."""
    key = tuple((part, item.judged_by) for part, items in parts.items() for item in items)
    if key not in known:
        known[key] = _scored(model, parts, title, among)
    return known[key]


def _scored(model: Any, parts: Mapping[str, Sequence[Item]], title: str, among: Processes) -> dict[str, Scores]:
    """Return a model's scores by part."""
    from align.evaluation import evaluate
    from causal.progress import progress_bars

    with progress_bars(shown=among.main) as bars:
        total = sum(len(range(among.rank, len(items), among.count)) for items in parts.values())
        bar = bars.add_task(title, total=total, note="")
        return {part: evaluate(model, items, among, lambda: bars.advance(bar)) for part, items in parts.items()}


def _require_finite(compared: Sequence[Compared]) -> None:
    """Raise `RunError` if the last step, whose loss no other step looked at, left a model that cannot be scored."""
    from align.training import OTHERWISE
    from causal.errors import RunError

    for one in compared:
        if not math.isfinite(one.after.effect_distance + one.after.alignment):
            raise RunError(f"after the last step the model's probabilities are not finite ({one.part}). {OTHERWISE}")


def _checked(study: Study, run: Run, loaded: Loaded) -> dict[str, list[Item]]:
    """Return the items by part, if there is something to train on."""
    from causal.errors import InputError
    from causal.heldout import TRAINED, VALIDATION

    items = prepare(study, run, loaded)
    if not items[TRAINED]:
        raise InputError(
            "no toggle to train on is supported; lower effects.support, merge levels, or hold less out (fit.held_out)"
        )
    if study.fit.early_stopping and not items[VALIDATION]:
        raise InputError(
            f"fit.early_stopping.questions: no toggle of {', '.join(study.fit.validation)} is supported, so nothing "
            "could choose the epoch; take other questions"
        )
    if study.fit.held_out.respondents and not any(
        found for part, found in items.items() if part not in (TRAINED, VALIDATION)
    ):
        raise InputError(
            "fit.held_out.respondents: the half that is left to judge by supports no toggle; lower effects.support, or "
            "merge levels"
        )
    return items


def _train(
    planned: Planned, model: Any, trained: Sequence[Item], validation: Sequence[Item], among: Processes
) -> int | None:
    from align.training import plan_steps, train
    from causal.progress import progress_bars

    study, label = planned.study, planned.label
    if among.count > study.fit.batch:
        note(
            f"{among.count} processes share batches of {study.fit.batch}, so {among.count - study.fit.batch} of them "
            f"have nothing to train on; set fit.batch to a multiple of {among.count}"
        )
    with progress_bars(shown=among.main) as bars:
        bar = bars.add_task(f"training {label}", total=len(plan_steps(study.fit, len(trained))), note="")
        begun = False

        def say(done: int, loss: float) -> None:
            nonlocal begun
            move = bars.update if begun else bars.reset  # a resumed run's time per step begins with its own first
            move(bar, completed=done, note=f"loss {loss:.4f}")
            begun = True

        return train(model, trained, study.fit, planned.checkpoint, say, validation, among)


def prepare(study: Study, run: Run, loaded: Loaded) -> dict[str, list[Item]]:
    """Pair the survey's targets, by part, with the prompts of exactly their personas."""
    from align.evaluation import Item
    from align.questions import ask
    from align.targets import run_targets

    return {
        part: [Item(ask(study, loaded, one.country, one.question, one.personas), one) for one in found]
        for part, found in run_targets(study, run).items()
    }


def save_adapter(run: Run, label: str, model: Any, base: str, card: str) -> list[Path]:
    """Write the adapter folder whole or not at all; return its files, but for the card, which may be edited."""
    from align.models import locate_model

    folder = run.model(label) / "adapter"
    beside = folder.with_name(".adapter")
    shutil.rmtree(beside, ignore_errors=True)
    config = model.peft_config["default"]
    config.base_model_name_or_path = locate_model(base)
    config.target_modules = sorted(config.target_modules)  # a set's order is another in every process
    model.save_pretrained(beside, save_embedding_layers=False)
    (beside / "README.md").write_text(card, encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)
    return sorted(path for path in folder.iterdir() if path.is_file() and path.suffix != ".md")


if __name__ == "__main__":
    end(main)

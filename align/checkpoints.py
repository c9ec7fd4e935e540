"""The state of a training on disk, whole or not at all: what a killed run goes on from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from align.stopping import Stopping
from align.writing import writing
from causal.errors import InputError
from causal.files import replace_file, write_text

if TYPE_CHECKING:
    import torch


_SHORT = 60
"""How many characters of a setting, before and now, a message shows."""


@dataclass(frozen=True)
class Progress:
    """How far a training is: steps done and what early stopping has seen.

    Order, dropout and learning rate are functions of the settings and the step, so nothing else has to be kept.
    """

    step: int = 0
    stopping: Stopping = field(default_factory=Stopping)


@dataclass(frozen=True)
class Checkpoint:
    """``checkpoint/`` of a model being trained.

    Attributes
    ----------
    folder : Path
        Holds ``state.safetensors`` (adapter, optimiser, progress) and the best epoch's ``best-<epoch>.safetensors``.
    inputs : str
        Everything the result depends on, as JSON; a state of other inputs is neither resumed nor overwritten.
    """

    folder: Path
    inputs: str

    @property
    def path(self) -> Path:
        """The state's file."""
        return self.folder / "state.safetensors"

    @property
    def log(self) -> Path:
        """The log of the steps done, until the training is complete."""
        return self.folder / "train.jsonl"

    @property
    def kept(self) -> str:
        """What a run that goes on would go on from, as a clause."""
        return f"the last checkpoint, {self.path}, is intact" if self.path.is_file() else "there is no checkpoint yet"

    def save(self, model: Any, optimiser: torch.optim.Optimizer, progress: Progress) -> None:
        """Write the state; if this is the best epoch so far and just done, its adapter too.

        Raises
        ------
        RunError
            It cannot be written, as when the disk is full; the last state is intact.
        """
        tensors = {}
        for name, parameter in adapter_weights(model).items():
            state = optimiser.state[parameter]
            tensors[f"weight/{name}"] = parameter.detach()
            tensors[f"exp_avg/{name}"] = state["exp_avg"]
            tensors[f"exp_avg_sq/{name}"] = state["exp_avg_sq"]
            tensors["optimiser_steps"] = state["step"]  # the same for all: each has a gradient at every step
        best = self._best(progress.stopping.epoch)
        if progress.stopping.epoch and not progress.stopping.waited and not best.is_file():
            self._write(best, adapter_weights(model), {"inputs": self.inputs})
        told = {"progress": json.dumps(asdict(progress)), "inputs": self.inputs}
        self._write(self.path, tensors, told)
        for other in self.folder.glob("best-*.safetensors"):
            if other != best:
                other.unlink()

    def load(self, model: Any, optimiser: torch.optim.Optimizer) -> Progress:
        """Restore the state if one is there; return how far it is.

        Raises
        ------
        InputError
            The file is damaged, or of a training with other inputs.
        """
        import torch
        from safetensors import safe_open

        if not self.path.is_file():
            return Progress()
        self.refuse_others()
        with _reading(self.path), safe_open(self.path, framework="pt") as stored:
            held = json.loads(stored.metadata()["progress"])
            if held["stopping"]["epoch"] and not self._best(held["stopping"]["epoch"]).is_file():
                return Progress()
            with torch.no_grad():
                for name, parameter in adapter_weights(model).items():
                    parameter.copy_(stored.get_tensor(f"weight/{name}"))
                    optimiser.state[parameter] = {
                        "step": stored.get_tensor("optimiser_steps").clone(),
                        "exp_avg": stored.get_tensor(f"exp_avg/{name}").to(parameter.device),
                        "exp_avg_sq": stored.get_tensor(f"exp_avg_sq/{name}").to(parameter.device),
                    }
        return Progress(held["step"], Stopping(**held["stopping"]))

    def refuse_others(self) -> None:
        """Raise `InputError` if the state is that of an unfinished training with other inputs, or damaged."""
        told = self._told()
        if told and told["inputs"] != self.inputs:
            steps = json.loads(told["progress"])["step"]
            changes = "; ".join(_changes(json.loads(told["inputs"]), json.loads(self.inputs)))
            raise InputError(
                f"{self.folder} holds {steps} steps of an unfinished training with other inputs ({changes}). To finish "
                "it, give those; to train beside it, another --label; to drop it, remove that folder"
            )

    def remove(self) -> None:
        """Remove the folder, unless what it holds is another training; a damaged state is nobody's."""
        try:
            told = self._told()
        except InputError:
            told = {}
        if not told or told["inputs"] == self.inputs:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _told(self) -> dict[str, str]:
        """Return what the state says about itself, empty without one."""
        from safetensors import safe_open

        if not self.path.is_file():
            return {}
        with _reading(self.path), safe_open(self.path, framework="pt") as stored:
            told = stored.metadata() or {}
            return told if {"inputs", "progress"} <= told.keys() else {"inputs": "{}", "progress": '{"step": 0}'}

    def load_best(self, model: Any, epoch: int) -> None:
        """Give a model the best epoch's adapter."""
        import torch
        from safetensors.torch import load_file

        with _reading(self._best(epoch)):
            stored = load_file(self._best(epoch))
        with torch.no_grad():
            for name, parameter in adapter_weights(model).items():
                parameter.copy_(stored[name])

    def clean(self, progress: Progress) -> None:
        """Remove what kills left half-written, and best epochs of steps that are done again."""
        kept = self._best(progress.stopping.epoch)
        for path in (*self.folder.glob(".*.safetensors"), *self.folder.glob("best-*.safetensors")):
            if path != kept:
                path.unlink()

    def _best(self, epoch: int) -> Path:
        return self.folder / f"best-{epoch}.safetensors"

    def _write(self, path: Path, tensors: dict[str, torch.Tensor], told: dict[str, str]) -> None:
        from safetensors.torch import save_file

        with writing(path, self.kept), replace_file(path) as beside:
            save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, beside, metadata=told)


def adapter_weights(model: Any) -> dict[str, torch.Tensor]:
    """Return the weights that are trained, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what a damaged file of the checkpoint raises into one message."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        raise InputError(
            f"{path} is damaged ({error}); run again with --resume never, or remove {path.parent}, to train anew"
        ) from error


def _changes(before: Mapping[str, Any], now: Mapping[str, Any], where: str = "") -> Iterator[str]:
    """Name what differs between two nested mappings, with the values where they are short."""
    for name in sorted({*before, *now}):
        was, is_ = before.get(name), now.get(name)
        if isinstance(was, dict) and isinstance(is_, dict):
            yield from _changes(was, is_, f"{where}{name}.")
        elif was != is_:
            values = f" {json.dumps(was)}, now {json.dumps(is_)}"
            yield f"{where}{name}{values if len(values) <= _SHORT else ' changed'}"


def truncate_log(path: Path, steps: int) -> None:
    """Keep the lines of the log that belong to the first steps, those that the checkpoint holds."""
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True) if path.is_file() else []:
        try:
            if json.loads(line)["step"] > steps:
                break
        except (ValueError, TypeError, KeyError):  # a line cut short by a kill or a full disk
            break
        kept.append(line)
    write_text(path, "".join(kept))

"""LoRA layers on a model: which of its layers they go on, whatever its family calls them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

from align.parallel import note
from causal.errors import InputError
from causal.fitsettings import FitSettings

ALL_LINEAR = "all-linear"


def with_lora(model: Any, fit: FitSettings) -> Any:
    """Put fresh LoRA layers on a model, drawn from the seed.

    ``all-linear`` is every linear layer but the output head, by whatever name, fused ones and GPT-2's too, and in
    mixtures of experts the experts' stacked weights. peft has no dropout on stacked weights, so there the adapter has
    none, which is said.

    Parameters
    ----------
    model : PreTrainedModel
        Changed in place.
    fit : FitSettings
        Rank, alpha, dropout, targets, seed.

    Returns
    -------
    PeftModel

    Raises
    ------
    InputError
        A target is no layer of this model.
    """
    import torch
    from peft import LoraConfig, get_peft_model

    lora = fit.lora
    modules, experts = _modules(model), _experts(model)
    chosen = experts if lora.targets == ALL_LINEAR else [name for name in lora.targets if name in experts]
    _require_known(lora.targets, {*modules, *experts})
    torch.manual_seed(fit.seed)
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)  # transformers, of peft's own code
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=_dropout(lora.dropout, chosen),
        target_modules=ALL_LINEAR if lora.targets == ALL_LINEAR else _others(lora.targets, chosen),
        target_parameters=list(chosen) or None,
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)


def _require_known(targets: str | Iterable[str], known: set[str]) -> None:
    if targets == ALL_LINEAR:
        return
    if unknown := [name for name in targets if name not in known]:
        raise InputError(
            f"fit.lora.targets: this model has no layer {', '.join(map(repr, unknown))}; it has "
            f"{', '.join(sorted(known))}; or give {ALL_LINEAR}"
        )


def _others(targets: Iterable[str], experts: Iterable[str]) -> list[str]:
    return [name for name in targets if name not in experts]


def _dropout(asked: float, experts: Iterable[str]) -> float:
    if not experts or not asked:
        return asked
    note(
        f"the adapter has no dropout, because LoRA on experts' stacked weights ({', '.join(experts)}) cannot have it; "
        f"fit.lora.dropout is {asked:g}"
    )
    return 0.0


def _modules(model: Any) -> list[str]:
    """Return the names of linear layers, by the last part of their path, without the output head."""
    import torch
    from transformers.pytorch_utils import Conv1D

    head = model.get_output_embeddings()
    found = (
        name.rsplit(".", 1)[-1]
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear | Conv1D) and module is not head
    )
    return list(dict.fromkeys(found))


def _experts(model: Any) -> list[str]:
    """Return the names of weights in which a mixture's experts are stacked: (experts, rows, columns)."""
    found = (name.rsplit(".", 1)[-1] for name, weight in model.named_parameters() if weight.ndim == 3)
    return list(dict.fromkeys(found))

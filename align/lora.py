"""LoRA layers on a model: which of its layers they go on, whatever its family calls them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

from align.parallel import note
from causal.errors import InputError
from causal.fitsettings import FitSettings

ALL_LINEAR = "all-linear"
_BYPASSED = {name: {"out_proj"} for name in ("mamba", "mamba2", "falcon_mamba", "falcon_h1", "nemotron_h")}
"""By kind of model, layers whose weights its kernels read past LoRA; peft refuses them."""
PEFT_DEPRECATION = "`is_gradient_checkpointing`"
"""How a warning of transformers begins that is about peft's own code, whenever peft wraps a model."""


def with_lora(model: Any, fit: FitSettings) -> Any:
    """Put fresh LoRA layers on a model, drawn from the seed.

    ``all-linear`` is every linear layer but the output head, by whatever name, fused ones and GPT-2's too, and in
    mixtures of experts the experts' stacked weights; not the layers of Mamba whose weights are read past LoRA. peft has
    no dropout on stacked weights, so there the adapter has none, which is said.

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
    linear, experts = _linear(model), _experts(model)
    everything = lora.targets == ALL_LINEAR
    chosen = experts if everything else [name for name in lora.targets if name in experts]
    _require_known(lora.targets, {*map(_last, linear), *experts})
    torch.manual_seed(fit.seed)
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=_dropout(lora.dropout, chosen),
        # by path: peft's own "all-linear" takes a mixture's routers too, and guesses names of older layouts
        target_modules=linear if everything else _others(lora.targets, chosen),
        target_parameters=list(chosen) or None,
        task_type="CAUSAL_LM",
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", PEFT_DEPRECATION, FutureWarning)
        return get_peft_model(model, config)


def _require_known(targets: str | Iterable[str], known: set[str]) -> None:
    if targets == ALL_LINEAR:
        return
    if unknown := [name for name in targets if name not in known]:
        raise InputError(
            f"fit.lora.targets: this model has no layer {', '.join(map(repr, unknown))} for LoRA; it has "
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


def _linear(model: Any) -> list[str]:
    """Return the paths of the linear layers that LoRA goes on: all but the output head and what it cannot reach."""
    import torch
    from transformers.pytorch_utils import Conv1D

    head, bypassed = model.get_output_embeddings(), _BYPASSED.get(model.config.model_type, ())
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear | Conv1D) and module is not head and _last(name) not in bypassed
    ]


def _experts(model: Any) -> list[str]:
    """Return the names of weights in which a mixture's experts are stacked: (experts, rows, columns).

    Recurrent models have vectors of shape (1, 1, size) and convolutions channel by channel, (channels, 1, size).
    """
    weights = model.named_parameters()
    return list(dict.fromkeys(_last(name) for name, weight in weights if weight.ndim == 3 and min(weight.shape) > 1))


def _last(path: str) -> str:
    return path.rsplit(".", 1)[-1]

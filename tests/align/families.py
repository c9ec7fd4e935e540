"""Tiny random models of many families, two layers each, and prompts of token numbers for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from align.prompts import Encoded
from align.questions import Asked
from align.trie import build_trie

VOCABULARY = 64
_BASE = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_OLD = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128, "bos_token_id": 1, "eos_token_id": 2}
_MOE = {"num_local_experts": 4, "num_experts_per_tok": 2}
_WINDOW = {"sliding_window": 8}  # the prompts have 14 to 27 tokens
_ALIBI = {"hidden_size": 32, "n_layer": 2, "n_head": 4}

TREES = {
    "llama": ("llama", _BASE),
    "qwen2-half-windowed": ("qwen2", {**_BASE, **_WINDOW, "use_sliding_window": True, "max_window_layers": 1}),
    "qwen3": ("qwen3", {**_BASE, "head_dim": 8}),
    "mistral-windowed": ("mistral", {**_BASE, **_WINDOW}),
    "gemma2": (
        "gemma2",
        {**_BASE, **_WINDOW, "head_dim": 8, "final_logit_softcapping": 5.0, "attn_logit_softcapping": 5.0},
    ),
    "gemma3": ("gemma3_text", {**_BASE, **_WINDOW, "head_dim": 8, "sliding_window_pattern": 2}),
    "gpt2": ("gpt2", {**_OLD, "initializer_range": 0.3}),
    "gptj": ("gptj", {**_OLD, "rotary_dim": 4, "initializer_range": 0.3}),
    "gpt-neox": ("gpt_neox", _BASE),
    "opt": (
        "opt",
        {
            "hidden_size": 32,
            "ffn_dim": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 128,
            "init_std": 0.3,
            "word_embed_proj_dim": 32,
        },
    ),
    "phi3": ("phi3", _BASE),
    "mixtral": ("mixtral", {**_BASE, **_MOE}),
    "gpt-oss": ("gpt_oss", {**_BASE, **_MOE, **_WINDOW, "head_dim": 8}),
    "llama4-chunked": (
        "llama4_text",
        {**_BASE, "head_dim": 8, "attention_chunk_size": 12, "num_local_experts": 2, "intermediate_size_mlp": 64},
    ),
    "granite": ("granite", {**_BASE, "logits_scaling": 3.0}),
}
"""Families that take a tree mask."""
CACHES = {
    "bloom": ("bloom", {**_ALIBI, "initializer_range": 0.3, "bos_token_id": 1, "eos_token_id": 2}),
    "mpt": ("mpt", {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 128, "initializer_range": 0.3}),
    "llama4-scaled": (
        "llama4_text",
        {
            **_BASE,
            "head_dim": 8,
            "num_local_experts": 2,
            "intermediate_size_mlp": 64,
            "no_rope_layers": [1, 0],
            "floor_scale": 4,
            "attn_scale": 2.0,
        },
    ),
    "gpt-neo": (
        "gpt_neo",
        {
            "hidden_size": 32,
            "num_layers": 2,
            "attention_types": [[["global", "local"], 1]],
            "num_heads": 4,
            "window_size": 8,
            "max_position_embeddings": 128,
            "initializer_range": 0.3,
        },
    ),
}
"""Families whose attention counts places in the row; a cache of the shared prefix suits them."""
ROWS_ONLY = {
    "mamba": ("mamba", {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8, "initializer_range": 0.3}),
    "lfm2": ("lfm2", {**_BASE, "layer_types": ["conv", "full_attention"]}),
}
"""Recurrent and convolutional families."""


def make(family: str, vocabulary: int = VOCABULARY):
    """Return a model of a family in evaluation mode; sinks and norms are random too, so that forgetting one shows."""
    kind, settings = {**TREES, **CACHES, **ROWS_ONLY}[family]
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, vocab_size=vocabulary, **settings)).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("sinks"):
                weight.normal_()
    return model.requires_grad_(False)


def save(family: str, path: Path, tokenizer) -> Path:
    """Save a model of a family with a tokenizer, unless that is done."""
    if not path.exists():
        make(family, len(tokenizer)).save_pretrained(path)
        tokenizer.save_pretrained(path)
    return path


def prompts(seed: int = 0, shared: int = 10) -> list[list[Encoded]]:
    """Return three personas with three options each, which share their first tokens."""
    rng = np.random.default_rng(seed)
    trunk = rng.integers(3, VOCABULARY, shared).tolist()
    found = []
    for _ in range(3):
        prompt = trunk + rng.integers(3, VOCABULARY, rng.integers(4, 9)).tolist()
        options = [rng.integers(3, VOCABULARY, rng.integers(1, 4)).tolist() for _ in range(3)]
        found.append([Encoded((*prompt, *option), len(prompt)) for option in options])
    return found


def asked(seed: int = 0, shared: int = 10) -> Asked:
    """Return those prompts as a question."""
    encoded = tuple(map(tuple, prompts(seed, shared)))
    return Asked("NO", f"q{seed}", 3, encoded, build_trie([item for options in encoded for item in options]))


def alone(model, question: Asked) -> np.ndarray:
    """Score each sequence by itself, token by token from the whole logits: shares nothing with the package."""
    rows = []
    for options in question.encoded:
        row = []
        for item in options:
            with torch.no_grad():
                logits = model(torch.tensor([item.ids])).logits[0].double()
            logp = logits - logits.exp().sum(dim=-1, keepdim=True).log()
            row.append(sum(float(logp[i - 1, item.ids[i]]) for i in range(item.start, len(item.ids))))
        rows.append(row)
    return np.array(rows)

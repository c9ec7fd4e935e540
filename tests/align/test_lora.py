"""LoRA on tiny models of several families: which layers it goes on, and whether plain peft loads it again."""

from __future__ import annotations

import pytest
import torch
import transformers
from peft import PeftModel

from align.lora import with_lora
from causal.errors import InputError
from causal.fitsettings import FitSettings

SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
SPECIAL = {"bos_token_id": 1, "eos_token_id": 2}
GPT2 = {"vocab_size": 64, "n_embd": 32, "n_layer": 1, "n_head": 4, "n_positions": 64, **SPECIAL}
NEOX = {name: value for name, value in SIZES.items() if name != "num_key_value_heads"}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "head_dim": 8}
ATTENTION = {"q_proj", "k_proj", "v_proj", "o_proj"}
DENSE = ATTENTION | {"gate_proj", "up_proj", "down_proj"}
STACKED = {"gate_up_proj", "down_proj"}
FAMILIES = {
    "llama": (transformers.LlamaConfig, SIZES, DENSE, set()),
    "gpt2": (transformers.GPT2Config, GPT2, {"c_attn", "c_proj", "c_fc"}, set()),
    "neox": (
        transformers.GPTNeoXConfig,
        NEOX,
        {"query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"},
        set(),
    ),
    "phi3": (transformers.Phi3Config, SIZES, {"qkv_proj", "o_proj", "gate_up_proj", "down_proj"}, set()),
    "mamba": (
        transformers.MambaConfig,
        {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 1, "state_size": 8},
        {"in_proj", "x_proj", "dt_proj"},
        set(),
    ),
    "lfm2": (
        transformers.Lfm2Config,
        SIZES | {"num_hidden_layers": 2, "layer_types": ["conv", "full_attention"]},
        {"in_proj", "out_proj", "q_proj", "k_proj", "v_proj", "w1", "w2", "w3"},
        set(),
    ),
    "gemma2": (transformers.Gemma2Config, SIZES | {"head_dim": 8}, DENSE, set()),
    "mixtral": (transformers.MixtralConfig, SIZES | {"num_local_experts": 4}, ATTENTION, STACKED),
    "qwen3moe": (transformers.Qwen3MoeConfig, SIZES | EXPERTS, ATTENTION, STACKED),
    "gptoss": (
        transformers.GptOssConfig,
        SIZES | {"num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 8},
        ATTENTION,
        STACKED,
    ),
}


def tiny(family: str):
    config, sizes, *_ = FAMILIES[family]
    torch.manual_seed(0)
    return transformers.AutoModelForCausalLM.from_config(config(**sizes)).eval().requires_grad_(False)


def fit(**lora) -> FitSettings:
    return FitSettings.model_validate({"lora": lora})


def adapted(model) -> tuple[set[str], set[str]]:
    """The linear layers that have LoRA, and the stacked weights that have it."""
    linear, stacked = set(), set()
    for name, module in model.named_modules():
        if type(module).__name__ == "ParamWrapper":
            stacked.add(module.parameter_name)
        elif hasattr(module, "lora_A"):
            linear.add(name.rsplit(".", 1)[-1])
    return linear, stacked


@pytest.mark.parametrize("family", FAMILIES)
def test_all_linear_is_every_layer_but_the_head_and_plain_peft_loads_it(family, tmp_path, capsys):
    *_, layers, experts = FAMILIES[family]
    base = tiny(family)
    base.save_pretrained(tmp_path / "base")
    model = with_lora(base, fit(rank=2))
    linear, stacked = adapted(model)
    assert linear == layers
    assert stacked == experts, "no router"
    dropout = model.peft_config["default"].lora_dropout
    assert dropout == (0.0 if experts else 0.05)
    assert ("the adapter has no dropout" in capsys.readouterr().err) == bool(experts)
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3)
    ids = torch.arange(3, 11)[None]
    with torch.no_grad(), model.eval().disable_adapter():
        plain = model(ids).logits
    with torch.no_grad():
        own = model(ids).logits
    model.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    again = PeftModel.from_pretrained(
        transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base"), tmp_path / "adapter"
    ).eval()
    with torch.no_grad():
        torch.testing.assert_close(again(ids).logits, own)
    assert (own - plain).abs().max() > 1e-3, "the adapter does something"


def test_named_targets_and_no_others():
    assert adapted(with_lora(tiny("llama"), fit(targets=["q_proj", "down_proj"]))) == ({"q_proj", "down_proj"}, set())
    assert adapted(with_lora(tiny("gpt2"), fit(targets=["c_attn"]))) == ({"c_attn"}, set())


@pytest.mark.parametrize("family", ["mixtral", "qwen3moe", "gptoss"])
def test_named_experts_are_all_taken(family):
    """peft by itself takes one of the two stacked weights here, or neither."""
    model = with_lora(tiny(family), fit(targets=["q_proj", "gate_up_proj", "down_proj"], dropout=0))
    assert adapted(model) == ({"q_proj"}, STACKED)
    alone = with_lora(tiny(family), fit(targets=["q_proj"]))
    assert adapted(alone) == ({"q_proj"}, set())
    assert alone.peft_config["default"].lora_dropout == 0.05


@pytest.mark.parametrize("family", FAMILIES)
def test_unknown_targets_are_refused_with_what_there_is(family):
    *_, layers, experts = FAMILIES[family]
    with pytest.raises(InputError, match="this model has no layer 'lm_head', 'q_prj' for LoRA; it has") as caught:
        with_lora(tiny(family), fit(targets=["q_prj", "lm_head"][::-1]))
    assert all(name in str(caught.value) for name in layers | experts)


def test_the_seed_draws_the_layers():
    def first(seed: int) -> torch.Tensor:
        model = with_lora(tiny("llama"), FitSettings(seed=seed))
        return next(p for name, p in model.named_parameters() if "lora_A" in name)

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))

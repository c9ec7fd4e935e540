from __future__ import annotations

import json
import shutil
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file

from align import models
from align.models import folder_fingerprint, load_model, locate_model, model_fingerprint
from causal.errors import InputError, RunError


def test_names_are_told_apart(folder):
    assert locate_model(str(folder / "tiny-model")) == str(folder / "tiny-model")
    assert locate_model("owner/name") == "owner/name"
    for wrong in ("missing", "./missing/model", str(folder / "people.csv")):
        with pytest.raises(InputError, match="no model"):
            locate_model(wrong)


def test_loaded_for_measuring(folder, tiny):
    assert tiny.name == str(folder / "tiny-model")
    assert not tiny.model.training
    if not torch.cuda.is_available():
        assert tiny.model.dtype == torch.float32


def test_fingerprint_follows_the_weights(folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder / "tiny-model", copy)
    assert model_fingerprint(str(copy)) == folder_fingerprint(folder / "tiny-model")
    loaded = load_model(str(copy))
    with torch.no_grad():
        next(loaded.model.parameters()).add_(1e-3)
    loaded.model.save_pretrained(copy)
    assert model_fingerprint(str(copy)) != folder_fingerprint(folder / "tiny-model")


@pytest.fixture
def copied(folder, tmp_path):
    """A copy of the tiny model, to be damaged."""
    return shutil.copytree(folder / "tiny-model", tmp_path / "copy")


def change_weights(path, change):
    held = load_file(path)
    change(held)
    save_file(held, path, metadata={"format": "pt"})


def test_a_model_that_lacks_weights_is_refused_by_their_names(copied):
    lost = [f"model.layers.1.mlp.{name}_proj.weight" for name in ("down", "gate", "up")]
    lost.append("model.norm.weight")
    change_weights(copied / "model.safetensors", lambda held: [held.pop(name) for name in lost])
    with pytest.raises(InputError, match=r"lacks 4 of its weights.*layers\.1\.mlp\.down_proj.*and 1 more; give"):
        load_model(str(copied))


def test_an_output_layer_that_is_the_input_layer_is_not_lacking(copied, tiny):
    change_weights(copied / "model.safetensors", lambda held: held.pop("lm_head.weight"))
    with pytest.raises(InputError, match=r"lacks 1 of its weights.*lm_head\.weight"):
        load_model(str(copied))
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": True}))
    loaded = load_model(str(copied)).model
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight
    torch.testing.assert_close(loaded.lm_head.weight, tiny.model.model.embed_tokens.weight)


def test_weights_of_another_size_are_named_with_both(copied):
    change_weights(copied / "model.safetensors", lambda held: held.update({"model.norm.weight": torch.ones(31)}))
    with pytest.raises(InputError, match=r"config\.json does not describe: model\.norm\.weight is 31, not 32"):
        load_model(str(copied))


@pytest.mark.parametrize("keep", [0, 4, 500, -100])
def test_a_damaged_weights_file_is_one_message(copied, keep):
    path = copied / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"copy' cannot be loaded: \w"):
        load_model(str(copied))


def test_a_model_that_does_not_fit_into_memory_is_one_message(folder, monkeypatch):
    def full(*given):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(models, "_loaded", full)
    with pytest.raises(RunError, match=r"out of memory while loading model .*smaller model"):
        load_model(str(folder / "tiny-model"))


@pytest.fixture
def adapter(folder, tmp_path):
    """A LoRA adapter of the tiny model whose weights are not zero."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(target_modules=["q_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(load_model(str(folder / "tiny-model")).model, config).save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def test_an_adapter_changes_what_the_model_says(folder, adapter, tiny):
    tuned = load_model(str(folder / "tiny-model"), adapter)
    ids = torch.arange(1, 9)[None]
    with torch.no_grad():
        assert (tuned.model(ids).logits - tiny.model(ids).logits).abs().max() > 0.01


def test_loading_an_adapter_says_nothing_of_our_libraries_affairs(folder, adapter):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_model(str(folder / "tiny-model"), adapter)


def test_an_adapter_that_lacks_weights_is_refused(folder, adapter):
    def lose(held):
        held.pop(next(key for key in held if "layers.1" in key and "lora_B" in key))

    change_weights(adapter / "adapter_model.safetensors", lose)
    with pytest.raises(InputError, match=r"does not fit this model: Found missing adapter keys.*layers\.1.*lora_B"):
        load_model(str(folder / "tiny-model"), adapter)


def test_a_damaged_adapter_is_one_message(folder, adapter):
    path = adapter / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match=r"adapter .*adapter does not fit this model: \w"):
        load_model(str(folder / "tiny-model"), adapter)


def test_a_pickled_adapter_is_refused(folder, adapter):
    """Its file is not part of the fingerprint, so a changed one would pass as the one measured before."""
    held = load_file(adapter / "adapter_model.safetensors")
    (adapter / "adapter_model.safetensors").unlink()
    torch.save(held, adapter / "adapter_model.bin")
    with pytest.raises(InputError, match=r"holds no adapter_model\.safetensors.*adapter_model\.bin, are not read"):
        load_model(str(folder / "tiny-model"), adapter)


@pytest.mark.parametrize("kind", ["PrefixTuningConfig", "PromptTuningConfig"])
def test_an_adapter_that_learnt_a_prompt_is_refused(folder, tmp_path, kind):
    """Its prompt would be lost where tries go through the model inside it."""
    import peft

    config = getattr(peft, kind)(num_virtual_tokens=4, task_type="CAUSAL_LM")
    peft.get_peft_model(load_model(str(folder / "tiny-model")).model, config).save_pretrained(tmp_path / "adapter")
    with pytest.raises(InputError, match=r"learnt a prompt \((PREFIX|PROMPT)_TUNING\).*give a LoRA adapter"):
        load_model(str(folder / "tiny-model"), tmp_path / "adapter")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"alora_invocation_tokens": [1, 2]}, "is an activated LoRA"),
        ({"peft_type": "XLORA"}, r"mixes adapters anew for every input \(XLORA\)"),
        ({"peft_type": "POLY"}, r"mixes adapters anew for every input \(POLY\)"),
    ],
)
def test_an_adapter_that_acts_outside_the_layers_is_refused(folder, adapter, change, says):
    """Through peft such an adapter changes the answers; tries would score the model without it and say nothing."""
    path = adapter / "adapter_config.json"
    held = json.loads(path.read_text())
    path.write_text(json.dumps(held | change if "peft_type" not in change else change))
    with pytest.raises(InputError, match=rf"adapter {says}.*give a LoRA adapter"):
        load_model(str(folder / "tiny-model"), adapter)


def test_an_adapter_with_weights_for_layers_that_are_not_there_is_refused(copied, adapter):
    config = json.loads((copied / "config.json").read_text())
    shorter = {"num_hidden_layers": 1, "layer_types": (config.get("layer_types") or [])[:1] or None}
    change_weights(
        copied / "model.safetensors", lambda held: [held.pop(key) for key in list(held) if ".layers.1." in key]
    )
    (copied / "config.json").write_text(json.dumps(config | shorter))
    assert load_model(str(copied)).model.config.num_hidden_layers == 1
    with pytest.raises(InputError, match=r"does not fit this model: 2 of its weights belong to no layer.*layers\.1\."):
        load_model(str(copied), adapter)


def test_an_adapter_whose_configuration_names_fewer_layers_than_it_has_weights_is_refused(folder, adapter):
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"layers_to_transform": [0]}))
    with pytest.raises(InputError, match=r"2 of its weights belong to no layer.*layers\.1\..*lora_A"):
        load_model(str(folder / "tiny-model"), adapter)


@pytest.mark.parametrize("change", [{"hidden_size": "32"}, {"hidden_size": None}, {"num_attention_heads": 0}, []])
def test_a_configuration_with_other_kinds_of_values_is_one_message(copied, change):
    held = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps(held | change if change else change))
    with pytest.raises(InputError, match="copy' cannot be loaded"):
        load_model(str(copied))


@pytest.mark.parametrize("change", [{"r": "8"}, {"target_modules": [3]}, []])
def test_an_adapter_s_configuration_with_other_kinds_of_values_is_one_message(folder, adapter, change):
    held = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps(held | change if change else change))
    with pytest.raises(InputError, match="adapter does not fit this model"):
        load_model(str(folder / "tiny-model"), adapter)


def test_without_the_packages_of_the_model_side_the_command_says_what_to_install(folder, tmp_path, monkeypatch, capsys):
    import importlib.util

    from align.measure import main

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in ("torch", "peft") else found(name))
    assert main([str(folder / "study.yaml"), "--label", "x", "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert "needs torch, peft" in error
    assert "pip install 'ace-align[align]'" in error
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_smollm2_comes_from_its_gguf_offline():
    loaded = load_model("smollm2")
    assert sum(p.numel() for p in loaded.model.parameters()) == 134_515_008
    ids = loaded.tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France? One word."}],
        add_generation_prompt=True,
        return_tensors="pt",
    )
    ids = ids["input_ids"] if hasattr(ids, "keys") else ids
    said = loaded.model.generate(ids, max_new_tokens=8, do_sample=False)
    assert "Paris" in loaded.tokenizer.decode(said[0, ids.shape[1] :])

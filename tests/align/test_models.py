from __future__ import annotations

import pytest

from align.models import folder_fingerprint, load_model, locate_model, model_fingerprint
from causal.errors import InputError


def test_names_are_told_apart(folder):
    assert locate_model(str(folder / "tiny-model")) == str(folder / "tiny-model")
    assert locate_model("owner/name") == "owner/name"
    for wrong in ("missing", "./missing/model", str(folder / "people.csv")):
        with pytest.raises(InputError, match="no model"):
            locate_model(wrong)


def test_loaded_for_measuring(folder, tiny):
    import torch

    assert tiny.name == str(folder / "tiny-model")
    assert not tiny.model.training
    if not torch.cuda.is_available():
        assert tiny.model.dtype == torch.float32


def test_fingerprint_follows_the_weights(folder, tmp_path):
    import shutil

    import torch

    copy = tmp_path / "copy"
    shutil.copytree(folder / "tiny-model", copy)
    assert model_fingerprint(str(copy)) == folder_fingerprint(folder / "tiny-model")
    loaded = load_model(str(copy))
    with torch.no_grad():
        next(loaded.model.parameters()).add_(1e-3)
    loaded.model.save_pretrained(copy)
    assert model_fingerprint(str(copy)) != folder_fingerprint(folder / "tiny-model")


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

"""A small study, its survey, and a tiny random model with its own tokenizer: no network, no download."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from causal.audit import audit_survey
from causal.runs import Run
from causal.study import Study
from causal.survey import read_survey

STUDY = """
name: tiny
survey: {source: people.csv, country: land, countries: {NO: Norway, SE: Sweden}}
attributes:
  gender:
    levels:
      man: {codes: [m], persona: a man}
      woman: {codes: [w], persona: a woman}
  place:
    levels:
      city: {codes: [c], persona: living in a city}
      village: {codes: [v], persona: living in a village}
questions:
  trust: {text: Can people be trusted?, options: {1: never, 2: sometimes, 3: always}}
  taxes: {text: Are taxes too high?, options: {1: too low, 2: about right, 3: too high, 4: far too high}}
  work: {text: Is work important?, options: {1: no, 2: yes}}
model: {name: tiny-model}
fit: {epochs: 2, learning_rate: 1.0e-2, held_out: {questions: [work]}}
"""


@pytest.fixture(autouse=True)
def one_thread(request: pytest.FixtureRequest):
    """Tiny tensors gain nothing from threads, and lose much when the machine is busy."""
    import torch

    threads = torch.get_num_threads()
    if "slow" not in request.keywords:
        torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with study.yaml, people.csv and tiny-model/."""
    where = tmp_path_factory.mktemp("study")
    (where / "study.yaml").write_text(STUDY)
    rng = np.random.default_rng(7)
    n = 600
    gender, place = rng.integers(0, 2, n), rng.integers(0, 2, n)
    frame = pd.DataFrame(
        {
            "land": np.where(rng.random(n) < 0.5, "NO", "SE"),
            "gender": np.where(gender == 0, "m", "w"),
            "place": np.where(place == 0, "c", "v"),
            "trust": np.clip(rng.integers(1, 4, n) + gender * rng.integers(0, 2, n), 1, 3),
            "taxes": np.clip(rng.integers(1, 5, n) - place * rng.integers(0, 2, n), 1, 4),
            "work": rng.integers(1, 3, n),
        }
    )
    frame.to_csv(where / "people.csv", index=False)
    save_tiny_model(where / "tiny-model", chat=True)
    return where


def tiny_tokenizer(chat: bool):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    words = STUDY + " A B C D 1 10 100 Question Answer survey person options letter exact words one option"
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|end|>", "<|user|>", "<|assistant|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([words], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **{"eos_token": special[0]})
    if chat:
        fast.chat_template = (
            "{% for message in messages %}"
            "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
        )
    return fast


def tiny_llama(vocabulary: int, context: int = 512):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        initializer_range=0.3,
        attn_implementation="sdpa",
    )
    return LlamaForCausalLM(config).eval()


def save_tiny_model(path: Path, chat: bool) -> None:
    tokenizer = tiny_tokenizer(chat)
    tiny_llama(len(tokenizer)).save_pretrained(path)
    tokenizer.save_pretrained(path)


@pytest.fixture(scope="session")
def make_tokenizer():
    return tiny_tokenizer


@pytest.fixture(scope="session")
def make_llama():
    return tiny_llama


@pytest.fixture(scope="session")
def study(folder: Path) -> Study:
    return Study.load(folder / "study.yaml")


@pytest.fixture(scope="session")
def tiny(study: Study):
    """The tiny model, loaded as the commands load it."""
    from align.models import load_model

    return load_model(study.model.name)


@pytest.fixture
def run(study: Study, tmp_path: Path) -> Run:
    """A run folder with the survey's tables."""
    made = Run.for_study(study, tmp_path / "run")
    audit_survey(read_survey(study), made)
    return made

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from align import answers, engine, models, parts
from align.answers import score_model
from align.models import Loaded
from align.prompts import personas
from causal.errors import InputError
from causal.study import Study


@pytest.fixture
def keys(study):
    return [("NO", question) for question in study.questions]


def test_what_was_scored_in_another_precision_is_scored_anew(study, tiny, keys, tmp_path, make_llama):
    who, folder = personas(study, [1]), tmp_path / "parts"
    fine = score_model(study, tiny, keys, who, folder, {}).scores
    again = score_model(study, tiny, keys, who, folder, {}).scores
    assert all((again[key] == fine[key]).all() for key in keys)
    coarse = Loaded("coarse", make_llama(len(tiny.tokenizer)).bfloat16(), tiny.tokenizer)
    other = score_model(study, coarse, keys, who, folder, {}).scores
    assert all((other[key] != fine[key]).any() for key in keys)


def test_parts_are_told_device_and_precision(study, tiny, keys, tmp_path, monkeypatch):
    told = []
    plainly = parts.Parts.__init__
    monkeypatch.setattr(answers.Parts, "__init__", lambda self, *given: told.append(given[1]) or plainly(self, *given))
    score_model(study, tiny, keys, personas(study, [1]), tmp_path / "parts", {"weights": "abc"})
    assert told == [{"weights": "abc", "device": tiny.model.device.type, "dtype": str(tiny.model.dtype)}]


def test_a_prompt_too_long_is_found_before_anything_is_scored(study, tiny, keys, tmp_path, monkeypatch, make_llama):
    monkeypatch.setattr(answers, "WINDOW", 1)
    scored = []
    plainly = engine.Engine.score
    monkeypatch.setattr(engine.Engine, "score", lambda self, pack: scored.extend(pack) or plainly(self, pack))
    last = study.questions[keys[-1][1]].model_copy(update={"text": "Is work important? " * 40})
    long = study.model_copy(update={"questions": {**study.questions, keys[-1][1]: last}})
    with pytest.raises(InputError, match=rf"question {keys[-1][1]} \(NO\) makes a prompt of \d+ tokens"):
        score_model(long, tiny, keys, personas(study, [1]), tmp_path / "parts", {})
    assert not scored
    short = replace(tiny, model=make_llama(len(tiny.tokenizer), context=4096))
    score_model(long, short, keys, personas(study, [1]), tmp_path / "parts", {})
    assert [one.question for one in scored] == [question for _, question in keys]


def test_the_page_on_method_makes_a_world_around_a_model(tiny, tmp_path, monkeypatch, make_llama):
    page = (Path(__file__).parents[2] / "docs" / "method.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    model = Loaded("tiny", make_llama(len(tiny.tokenizer), 4096), tiny.tokenizer)
    monkeypatch.setattr(models, "load_model", lambda name: model)
    names = {"folder": tmp_path / "world"}
    exec(code, names)  # noqa: S102
    written = Study.load(tmp_path / "world" / "study.yaml")
    assert list(written.questions) == list(names["study"].questions)
    answers_at = names["base"].groupby(["country", "question"])["p"].sum()
    assert len(answers_at) == len(names["keys"])
    assert answers_at.between(1 - 1e-6, 1 + 1e-6).all()

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyreadstat
import pytest

from causal.audit import main
from causal.study import Study


def people() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    n = 200
    return pd.DataFrame(
        {
            "cntry": rng.choice(["NO", "SE"], n),
            "sex": rng.choice([1.0, 2, 9], n, p=[0.5, 0.45, 0.05]),
            "class": rng.choice([1.0, 2, 3], n),
            "q1": rng.choice([1.0, 2, 3, 4, -1, -2], n),
            "life": rng.choice(np.arange(1.0, 11), n),
            "less": rng.choice([-1.0, 0, 1], n),
            "pspwght": rng.uniform(0.5, 2, n),
            "idno": np.arange(n) * 1.0,
        }
    )


LABELS: dict[str, dict[Any, str]] = {
    "cntry": {"NO": "Norway", "SE": "Sweden"},
    "sex": {1: "Male", 2: "Female", 9: "No answer"},
    "class": {1: "low", 2: "middle", 3: "high", 4: "highest"},
    "q1": {1: "a lot", 2: "some", 3: "some", 4: "none: 'nothing'", -1: "Don't know", -3: "Not asked"},
    "life": {1: "Not at all", 10: "Completely"},
    "less": {-1: "less", 0: "same", 1: "more"},
}
WORDING = {"q1": 'How much do you trust: the "police"? # yes\nor no', "life": "How satisfied are you?"}


def started(path: Path, capsys: pytest.CaptureFixture[str]) -> Study:
    """Inspect a file and load what is printed, as a user who pipes it into a file would."""
    assert main(["--inspect", str(path)]) == 0
    out = capsys.readouterr()
    assert out.err == ""
    study = path.parent / "study.yaml"
    study.write_text(out.out, encoding="utf-8")
    return Study.load(study)


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Write an SPSS file with labels."""
    path = tmp_path / "round 9.sav"
    pyreadstat.write_sav(
        people(), path, column_labels=WORDING, variable_value_labels=LABELS, missing_ranges={"sex": [9]}
    )
    return path


def test_a_labelled_files_starter_loads_as_it_is(labelled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = started(labelled, capsys)
    assert (study.name, study.survey.country) == ("round_9", "cntry")
    assert study.survey.countries == {"NO": "Norway", "SE": "Sweden"}
    assert study.survey.weight is None
    assert list(study.attributes) == ["sex", "class_of_person"]
    assert [level.codes for level in study.attributes["sex"].levels.values()] == [(1,), (2,)]
    assert study.attributes["sex"].missing == (9,)
    assert list(study.attributes["class_of_person"].levels) == ["low", "middle", "high"]  # nobody is in the highest
    assert list(study.questions) == ["q1", "life", "less"]


def test_wording_options_and_missing_codes_come_from_the_file(
    labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    questions = started(labelled, capsys).questions
    assert questions["q1"].text == 'How much do you trust: the "police"? # yes or no'
    assert questions["q1"].options == {1: "a lot", 2: "some (2)", 3: "some (3)", 4: "none: 'nothing'"}
    assert set(questions["q1"].missing) == {-1, -2, -3}  # -2 has no label; the negative codes around it say what it is
    assert questions["life"].options == {1: "Not at all", **{k: str(k) for k in range(2, 10)}, 10: "Completely"}
    assert questions["less"].options == {-1: "less", 0: "same", 1: "more"}  # negative, and an answer


def test_a_labelled_files_starter_audits_as_it_is(
    labelled: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    started(labelled, capsys)
    assert main([str(tmp_path / "study.yaml"), "--dry-run"]) == 0
    assert "200 respondents, 2 countries, 3 questions" in capsys.readouterr().out


def test_stata_labels_of_extended_missing_values_are_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = pd.DataFrame({"gender": [1.0, 2, 1, 2], "q": [1, 2, "a", "b"]})
    labels = {"q": {1: "no", 2: "yes", "a": "other", "b": "refused"}, "gender": {1: "m", 2: "f"}}
    path = tmp_path / "s.dta"
    pyreadstat.write_dta(frame, path, variable_value_labels=labels, missing_user_values={"q": ["a", "b"]})
    question = started(path, capsys).questions["q"]
    assert (question.options, set(question.missing)) == ({1: "no", 2: "yes"}, {".a", ".b"})


def test_a_file_without_labels_gives_a_starter_with_marks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "s.csv"
    people().drop(columns="cntry").to_csv(path, index=False)
    study = started(path, capsys)
    text = (tmp_path / "study.yaml").read_text()
    assert list(study.questions) == ["q1", "life", "less"]
    assert "country: {constant: FILL-IN}" in text
    assert "text: q1  # FILL-IN: its wording" in text
    assert "# weight: pspwght  # FILL-IN" in text


def test_words_as_codes_and_a_guessed_encoding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = pd.DataFrame({"sexo": ["varón", "mujer"] * 5, "voto": ["sí", "no", "01", "1.0", "true"] * 2})
    frame.to_csv(tmp_path / "s.csv", index=False, encoding="cp1252")
    study = started(tmp_path / "s.csv", capsys)
    assert study.survey.encoding == "cp1252"
    assert set(study.questions["voto"].options) == {"sí", "no", "01", 1, "true"}
    assert main([str(tmp_path / "study.yaml"), "--dry-run"]) == 0


def test_a_json_count_tables_starter_audits_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    items = [
        {
            "question_id": "v1",
            "question_text": "Is it so?",
            "options": {"1": "no", "2": "yes"},
            "demographics": {"gender": gender, "country": "Australia"},
            "p_real": {"1": 0.25, "2": 0.75},
            "sample_count": 40,
        }
        for gender in ("Male", "Female")
    ]
    (tmp_path / "f.json").write_text(json.dumps(items))
    study = started(tmp_path / "f.json", capsys)
    assert (study.survey.country, list(study.attributes)) == ("country", ["gender"])
    assert study.questions["v1"].options == {1: "no", 2: "yes"}
    assert main([str(tmp_path / "study.yaml"), "--dry-run"]) == 0
    assert "80 respondents" in capsys.readouterr().out


def test_odd_codes_and_labels_survive_yaml(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    codes = ["-0", "1e3", "no", "~", "caf\u00e9 \U0001f600", "a\u2028b", 'say "x": #1']
    frame = pd.DataFrame({"gender": ["*", "&x"] * 7, "q": codes * 2})
    path = tmp_path / "s.sav"
    pyreadstat.write_sav(
        frame, path, column_labels={"q": "- {a: [b"}, variable_value_labels={"q": {"no": "!\U0001f600"}}
    )
    question = started(path, capsys).questions["q"]
    assert set(question.options) == set(codes)
    assert (question.options["no"], question.text) == ("!\U0001f600", "- {a: [b")
    assert main([str(tmp_path / "study.yaml"), "--dry-run"]) == 0


def test_nothing_to_choose_from_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pd.DataFrame({"id": range(500)}).to_csv(tmp_path / "s.csv", index=False)
    assert main(["--inspect", str(tmp_path / "s.csv")]) == 0
    out = capsys.readouterr().out
    assert "attributes: {}  # FILL-IN" in out
    assert "questions: {}  # FILL-IN" in out


def test_numbers_are_offered_as_ranges_with_the_files_own_thirds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(1)
    age = rng.choice([*np.arange(18.0, 91), -1, *[998] * 30], 2000)
    frame = people().iloc[rng.integers(0, 200, 2000)].reset_index(drop=True)
    frame = frame.assign(age=age, income=rng.lognormal(8, 1, 2000).round(2))
    path = tmp_path / "s.sav"
    labels = LABELS | {"age": {-1: "Refused", 998: "Don't know"}}
    pyreadstat.write_sav(frame, path, variable_value_labels=labels)
    assert main(["--inspect", str(path)]) == 0
    text = capsys.readouterr().out
    assert "\n#  life:" not in text  # a question, no demographic
    assert "\n#  idno:" not in text
    begin = text.index("\n#  age:")
    end = text.index("\nquestions:")
    used = text[:begin] + text[begin:end].replace("\n#", "\n") + text[end:]
    (tmp_path / "study.yaml").write_text(used, encoding="utf-8")
    attributes = Study.load(tmp_path / "study.yaml").attributes
    assert set(attributes["age"].missing) == {-1, 998}
    for name, held in (("age", age[(age > 0) & (age < 998)]), ("income", frame["income"])):
        shares = [
            np.mean((held >= low) & (held < high))
            for low, high in (level.bounds for level in attributes[name].levels.values())
        ]
        np.testing.assert_allclose(shares, 1 / 3, atol=0.02)
    assert main([str(tmp_path / "study.yaml"), "--dry-run"]) == 0


def test_numbers_are_offered_where_nothing_else_can_be_an_attribute(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pd.DataFrame({"score": range(1, 10), "name": list("abcdefghi")}).to_csv(tmp_path / "s.csv", index=False)
    assert main(["--inspect", str(tmp_path / "s.csv")]) == 0
    out = capsys.readouterr().out
    assert "numbers from 1 to 9, cut into thirds by 4 and 7" in out
    assert "range: [4, 7]" in out
    assert "#  name:" not in out


def test_inspect_takes_no_study_and_one_of_them_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["study.yaml", "--inspect", "s.csv"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
    assert main(["--inspect", "nowhere.sav"]) == 2
    assert "nowhere.sav does not exist" in capsys.readouterr().err

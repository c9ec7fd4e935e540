"""Every command and every study in README and docs runs as it is written."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from causal.study import Study

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str, page: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, flags=re.DOTALL)


def commands() -> list[list[str]]:
    lines = [line.split("#")[0].strip() for block in blocks("bash") for line in block.splitlines()]
    return [shlex.split(line) for line in lines if line]


def run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    assert words[:2] == ["python", "-m"]
    done = subprocess.run([sys.executable, *words[1:]], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


def made_up_people(study: Study, n: int = 900) -> pd.DataFrame:
    """Respondents with the columns and codes that the README's study asks for."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"country": rng.choice(["NO", "SE"], n), "weight": rng.uniform(0.5, 2, n).round(3)})
    for name, attribute in study.attributes.items():
        codes = [str(code) for level in attribute.levels.values() for code in level.codes]
        frame[attribute.column or name] = rng.choice(codes, n)
    for name, question in study.questions.items():
        codes = [str(code) for code in (*question.options, *question.missing, "refused")]
        frame[question.column or name] = rng.choice(codes, n)
    return frame


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the README's study, as its user would write it, and a CSV that fits."""
    folder = tmp_path_factory.mktemp("own")
    first, second = blocks("yaml")
    (folder / "trust2024.yaml").write_text(first + second, encoding="utf-8")
    made_up_people(Study.load(folder / "trust2024.yaml")).to_csv(folder / "trust2024.csv", index=False)
    return folder


def test_every_command_is_known_here():
    kinds = {" ".join(words[:2]) if words[0] == "make" else words[2] for words in commands()}
    assert kinds == {"make demo", "make test", "causal.audit", "align.measure", "align.fit", "diagnostics.report"}


def test_the_readmes_own_survey_audits(own):
    (audit,) = [words for words in commands() if "trust2024.yaml" in words and "causal.audit" in words]
    done = run(audit, own)
    assert "runs/trust2024/report.html" in done.stdout
    table = pd.read_parquet(own / "runs" / "trust2024" / "survey_effects.parquet")
    # subsets of three attributes with 2, 2 and 3 levels: contrasts x contexts, times 2 countries and 2 questions
    contrasts = (1 + 1 + 2) + (2 + 2) + (3 + 4) + (3 + 4) + (6 + 6 + 8)
    assert len(table) == contrasts * 2 * 2


@pytest.mark.slow
def test_the_readmes_own_model_commands(own, tmp_path):
    from align.models import locate_model

    (own / "path" / "to").mkdir(parents=True, exist_ok=True)
    (own / "path" / "to" / "model-folder").symlink_to(locate_model("smollm2"))
    for words in [words for words in commands() if "trust2024" in " ".join(words)]:
        extra = [] if "diagnostics.report" in words else ["--set", "effects.granularity=full"]
        run([*words, *extra], own)
    assert (own / "runs" / "trust2024" / "report.html").stat().st_size > 10_000


@pytest.mark.slow
def test_the_page_on_the_gate_runs_and_says_what_it_quotes(tmp_path):
    page = (ROOT / "docs" / "gate.md").read_text(encoding="utf-8")
    study, drawn, latent = blocks("yaml", page)
    audits = [line.partition("#") for line in "".join(blocks("bash", page)).splitlines()]
    quoted = blocks("text", page)
    said = [quoted[0], quoted[1] + quoted[2], quoted[3], quoted[4]]
    files = [study, study + drawn, study + latent, study + latent]
    for (command, _, comment), file, words in zip(audits, files, said, strict=True):
        (tmp_path / "spending.yaml").write_text(file, encoding="utf-8")
        argv = [sys.executable, *shlex.split(command)[1:]]
        done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == (3 if "exits 3" in comment else 0), done.stderr
        assert not [line for line in words.splitlines() if line not in done.stdout]


@pytest.mark.slow
def test_the_four_commands(tmp_path):
    """The demo with fewer epochs."""
    four = [words for words in commands() if "studies/gss2018.yaml" in words or words[-1] == "runs/gss2018"]
    assert [words[2] for words in four] == ["causal.audit", "align.measure", "align.fit", "diagnostics.report"]
    for words in four:
        place = [str(tmp_path / "run") if word == "runs/gss2018" else word for word in words]
        run([*place, *(["--set", "fit.epochs=2"] if "align.fit" in words else [])], ROOT)
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    for word in ("flipped", "stereotyped", "erased", "aligned", "base", "ace"):
        assert word in report
    assert not re.search(r"""(src|href)=["']https?://""", report), "the report works offline"


def test_the_demo_of_the_makefile_is_the_readmes():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    spelled = (
        makefile.replace("$(PY)", "python")
        .replace("$(STUDY)", "studies/gss2018.yaml")
        .replace("$(RUN)", "runs/gss2018")
    )
    for words in commands():
        if "studies/gss2018.yaml" in words:
            assert " ".join(words) in re.sub(r"[ \t]+", " ", spelled)


def test_docs_explain_every_key_of_the_study():
    from pydantic import BaseModel

    page = (ROOT / "docs" / "study.md").read_text(encoding="utf-8")

    def keys(model: type[BaseModel]) -> set[str]:
        found = set(model.model_fields)
        for field in model.model_fields.values():
            for module, part in re.findall(r"(causal\.\w+)\.([A-Z]\w+)", str(field.annotation)):
                found |= keys(getattr(__import__(module, fromlist=[part]), part))
        return found

    missing = [key for key in sorted(keys(Study)) if not re.search(rf"\b{key}\b", page)]
    assert not missing


def test_the_tree_names_every_module():
    tree = README[README.index("causal/        the survey side") : README.index("studies/       study files")]
    for package, part in zip(
        ("causal", "align", "diagnostics"), re.split(r"^(?:align|diagnostics)/", tree, flags=re.M), strict=True
    ):
        named = {Path(word).name for word in re.findall(r"[\w/]+\.py", part)}
        assert {path.name for path in (ROOT / package).rglob("*.py")} - {"__init__.py"} == named


def test_the_pages_count_of_a_frame_runs(own, tmp_path, monkeypatch):
    (code,) = blocks("python", (ROOT / "docs" / "study.md").read_text(encoding="utf-8"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.yaml").write_bytes((own / "trust2024.yaml").read_bytes())
    frame = SimpleNamespace(cache=lambda: pd.read_csv(own / "trust2024.csv"))  # in place of Spark's
    names = {"spark": SimpleNamespace(table=lambda name: frame)}
    exec(code, names)  # noqa: S102
    assert len(names["effects"]) == len(pd.read_parquet("runs/mine/survey_effects.parquet"))

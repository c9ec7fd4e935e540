"""Who imports whom, and what stays unloaded until it is needed."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "transformers", "dowhy", "econml"}
COMMANDS = ["causal.audit", "align.measure", "align.fit", "diagnostics.report"]


def loaded_by(code: str, *arguments: str) -> set[str]:
    """Run code in a fresh interpreter and return the top-level names in its sys.modules."""
    tail = "\nimport json, sys\nprint('\\n' + json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run(
        [sys.executable, "-c", code + tail, *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "package", ["causal", "align", "diagnostics", "causal.estimators.dml", "causal.backdoor", "causal.adjusted"]
)
def test_package_loads_nothing_heavy(package: str) -> None:
    assert not loaded_by(f"import {package}") & HEAVY


@pytest.mark.parametrize("command", COMMANDS)
def test_help_loads_nothing_heavy(command: str) -> None:
    code = (
        "import runpy, sys\n"
        f"sys.argv = [{command!r}, '--help']\n"
        "try:\n"
        f"    runpy.run_module({command!r}, run_name='__main__', alter_sys=True)\n"
        "except SystemExit as end:\n"
        "    assert end.code in (0, None), end.code\n"
        "else:\n"
        "    raise AssertionError('--help did not exit')"
    )
    assert not loaded_by(code) & HEAVY


AUDIT = """
import sys
from pathlib import Path
from causal.audit import audit_survey
from causal.runs import Run
from causal.study import Study
from causal.survey import read_survey
import pandas as pd
level = {"persona": "someone"}
other = {"persona": "another"}
study = Study.from_dict({
    "name": "tiny",
    "survey": {"source": "x.csv", "country": {"constant": "X"}},
    "attributes": {"a": {"levels": {"lo": level | {"codes": [0]}, "hi": other | {"codes": [1]}}}},
    "questions": {"q": {"text": "?", "options": {1: "no", 2: "yes"}}},
})
audit_survey(read_survey(study, pd.DataFrame({"a": [0, 1] * 20, "q": [1, 2, 2, 1] * 10})), Run(Path(sys.argv[1])))
"""


def test_a_whole_audit_loads_neither_torch_nor_matplotlib(tmp_path: Path) -> None:
    loaded = loaded_by(AUDIT, str(tmp_path / "run"))
    assert (tmp_path / "run" / "survey_effects.parquet").is_file()
    assert not loaded & {*HEAVY, "matplotlib", "pyreadstat", "align", "diagnostics"}


def imports(path: Path) -> set[str]:
    """Return every module that a source file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
    return found


ALLOWED = {"causal": {"causal"}, "align": {"align", "causal"}, "diagnostics": {"diagnostics", "causal"}}


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_run_one_way(package: str) -> None:
    sources = list((ROOT / package).rglob("*.py"))
    assert sources
    for path in sources:
        ours = {name.split(".")[0] for name in imports(path)} & set(ALLOWED)
        assert ours <= ALLOWED[package], path


@pytest.mark.parametrize(
    ("package", "never"),
    [("causal", {"torch", "transformers", "peft", "matplotlib"}), ("diagnostics", {"torch", "transformers", "peft"})],
)
def test_heavy_packages_stay_where_they_belong(package: str, never: set[str]) -> None:
    for path in (ROOT / package).rglob("*.py"):
        assert not {name.split(".")[0] for name in imports(path)} & never, path

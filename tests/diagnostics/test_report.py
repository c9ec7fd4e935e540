"""The report end to end: files, escaping, exit codes, verdicts that follow the numbers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from causal.runs import Run
from causal.study import Study
from diagnostics.report import main

NASTY = '<script>alert("x")</script> & $5 --> {{ 7*7 }}'


class _Tags(HTMLParser):
    """Collects tags and ids, and checks that what is opened is closed."""

    VOID = frozenset({"meta", "br", "link", "input", "img", "hr"})

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.ids: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.ids += [value for name, value in attrs if name == "id" and value]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def _page(run: Run) -> tuple[str, _Tags]:
    text = (run.path / "report.html").read_text(encoding="utf-8")
    tags = _Tags()
    tags.feed(text)
    assert tags.open == []
    return text, tags


def test_report_of_two_labels(compared: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(compared.path)]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^Held-out questions|\. Held-out questions: 18 cells, 12 toggles\.$", out, flags=re.MULTILINE)
    assert str(compared.path / "report.html") in out
    text, tags = _page(compared)
    assert "svg" in tags.seen
    assert "script" not in tags.seen
    assert len(tags.ids) == len(set(tags.ids)) > 0
    assert "http" not in text  # one offline file
    assert "On the 2 questions it never saw in training" in text
    assert (
        text.index('class="verdict"')
        < text.index("Which effects")
        < text.index("Checks")
        < text.index("What was assumed")
    )
    rows = pd.read_parquet(compared.path / "diagnosis.parquet")
    assert {"label", "delta_m", "delta_d", "class", "certain_class", "split", "topic", "p_flipped"} <= set(rows.columns)
    numbers = json.loads((compared.path / "scores.json").read_text())
    assert list(numbers["labels"]) == ["base", "ace"]
    figures = {path.name for path in (compared.path / "figures").iterdir()}
    names = ("classes", "scatter", "forest", "attribute_1", "attribute_2", "topics", "graph", "balance")
    assert figures == {f"{name}.{kind}" for name in names for kind in ("svg", "png")}


def test_report_is_reproducible(compared: Run) -> None:
    names = ["report.html", "scores.json", "figures/scatter.svg", "figures/forest.png"]
    assert main([str(compared.path), "--quiet"]) == 0
    first = [(compared.path / name).read_bytes() for name in names]
    assert main([str(compared.path), "--quiet"]) == 0
    assert [(compared.path / name).read_bytes() for name in names] == first


def test_report_without_models(audited: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(audited.path), "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    text, _ = _page(audited)
    assert "effects in this survey stand out from sampling noise" in text
    assert "aligned" not in text
    assert not (audited.path / "diagnosis.parquet").exists()
    assert json.loads((audited.path / "scores.json").read_text())["labels"] == {}


def test_what_is_not_identified_is_marked_and_failed_checks_are_linked(tmp_path: Path, toy: SimpleNamespace) -> None:
    """Something unseen drives home; gender is no part of that."""
    graph = {"edges": [["wealth", "home"], ["wealth", "answer"]], "latent": ["wealth"], "default_edges": True}
    run = toy.make_run(tmp_path / "run", Study.from_dict(toy.raw(graph=graph)))
    assert main([str(run.path), "--quiet"]) == 0
    text, _ = _page(run)
    links = re.findall(r'<a href="#(check-\d+)"><strong>(.*?)</strong></a>: what is marked † may be called', text)
    assert [name for _, name in links] == ["identification"]
    assert f'<tr id="{links[0][0]}"><td>identification</td>' in text
    assert text.count(f'id="{links[0][0]}"') == 1
    rows = re.findall(r"<tr><td[^>]*>How about.*?</tr>", text, re.S)
    homes = [row for row in rows if "home: city → farm" in row]
    assert homes
    assert all("†" in row for row in homes)
    assert len(rows) > len(homes)
    assert not any("†" in row for row in rows if row not in homes)
    assert "The largest survey effects: for each question" in text
    legend = "† marks what the graph does not identify: an association, not an effect."
    captions = [found for found in re.findall(r"<(?:figcaption|caption)>(.*?)</", text, re.S) if legend in found]
    starts = ("Black dots", "The largest survey effects", "home (city", "Size of shifts")
    assert [next((one for one in starts if found.strip().startswith(one)), found) for found in captions] == list(starts)
    assert "; everything measured also points at the answer." in text
    assert "or a common effect of their causes is held fixed" in text


def test_a_graph_that_is_drawn_whole_claims_no_further_arrows(tmp_path: Path, toy: SimpleNamespace) -> None:
    edges = [["gender", "home"], ["gender", "answer"], ["home", "answer"]]
    study = Study.from_dict(toy.raw(graph={"edges": edges, "default_edges": False}))
    run = toy.make_run(tmp_path / "run", study)
    assert main([str(run.path), "--quiet"]) == 0
    text, _ = _page(run)
    assert "Declared causal graph: gender → home, gender → answer, home → answer. If" in text


def test_no_supported_toggle(tmp_path: Path, study: Study, toy: SimpleNamespace) -> None:
    run = toy.make_run(tmp_path / "run", study, toy.answers(n=12))
    toy.add_label(run, study, "base", toy.shrunk)
    assert main([str(run.path), "--quiet"]) == 0
    text, _ = _page(run)
    assert "No toggle has enough respondents" in text


def test_markdown_is_the_same_page_with_figures_beside_it(compared: Run) -> None:
    assert main([str(compared.path), "--quiet", "--format", "md"]) == 0
    assert not (compared.path / "report.html").exists()
    text = (compared.path / "report.md").read_text(encoding="utf-8")
    shown = re.findall(r"^!\[[^\]]+\]\((figures/[a-z_0-9]+\.png)\)$", text, flags=re.MULTILINE)
    assert len(shown) == len(list((compared.path / "figures").glob("*.png"))) == 8
    assert all((compared.path / name).read_bytes().startswith(b"\x89PNG") for name in shown)
    assert not re.search(r"(?<!\\)<", text), "no HTML is left"
    assert main([str(compared.path), "--quiet"]) == 0
    page = _page(compared)[0]
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    assert headings == [name.replace("&#39;", "'") for name in re.findall(r"<h[123]>([^<]*)</h", page)]
    for cell in re.findall(r'class="num">([^<]*)</td>', page):
        assert cell.replace("&lt;", "\\<") in text


def test_the_other_form_of_an_earlier_report_is_renewed(audited: Run, study: Study, toy: SimpleNamespace) -> None:
    assert main([str(audited.path), "--quiet", "--format", "md"]) == 0
    assert "erased" not in (audited.path / "report.md").read_text(encoding="utf-8")
    toy.add_label(audited, study, "base", toy.shrunk)
    assert main([str(audited.path), "--quiet"]) == 0
    assert "erased" in (audited.path / "report.md").read_text(encoding="utf-8")


def test_figures_that_no_longer_apply_are_removed(audited: Run) -> None:
    folder = audited.path / "figures"
    folder.mkdir()
    for name in ("attribute_9.png", "scatter.svg", "mine.png"):
        (folder / name).write_bytes(b"old")
    assert main([str(audited.path), "--quiet"]) == 0
    left = {path.name for path in folder.iterdir()}
    assert "mine.png" in left
    assert not left & {"attribute_9.png", "scatter.svg"}


def test_a_run_without_details_of_its_checks_has_a_report_all_the_same(audited: Run) -> None:
    found = json.loads(audited.checks.read_text(encoding="utf-8"))
    for check in found:
        del check["details"]
    audited.checks.write_text(json.dumps(found), encoding="utf-8")
    assert main([str(audited.path), "--quiet"]) == 0
    text, _ = _page(audited)
    assert "hold for the total effect" not in text
    assert not (audited.path / "figures" / "balance.png").exists()
    assert (audited.path / "figures" / "graph.png").exists()


def test_an_unknown_form_is_exit_2(audited: Run) -> None:
    with pytest.raises(SystemExit) as end:
        main([str(audited.path), "--format", "pdf"])
    assert end.value.code == 2


def test_without_held_out_questions_there_is_no_split(audited: Run, study: Study, toy: SimpleNamespace) -> None:
    toy.add_label(audited, study, "base", toy.shrunk)
    assert main([str(audited.path), "--quiet"]) == 0
    assert "split" not in pd.read_parquet(audited.path / "diagnosis.parquet").columns
    assert list(json.loads((audited.path / "scores.json").read_text())["labels"]["base"]["splits"]) == ["all"]


def test_text_of_survey_and_model_is_escaped(tmp_path: Path, toy: SimpleNamespace) -> None:
    raw = toy.raw(name=NASTY)
    raw["questions"]["q0"] = {"text": NASTY, "topic": NASTY, "options": {1: NASTY, 2: "b", 3: NASTY + "!"}}
    raw["questions"][NASTY] = {"text": "x", "column": "q1", "options": {1: "a", 2: "b", 3: "c"}}
    raw["attributes"]["home"]["levels"] = {
        NASTY: {"codes": [0], "persona": NASTY},
        "farm": {"codes": [1], "persona": "f"},
    }
    raw["attributes"]['"<b>home'] = raw["attributes"].pop("home") | {"column": "home"}
    raw["graph"] = {"edges": [["<b>&", "gender"]], "latent": ["<b>&"]}
    study = Study.from_dict(raw)
    run = toy.make_run(tmp_path / "run", study)
    toy.add_label(run, study, "base", toy.shrunk)
    toy.add_label(run, study, "<b>ace", toy.near)
    assert main([str(run.path), "--quiet"]) == 0
    text, tags = _page(run)
    assert "script" not in tags.seen
    assert "b" not in tags.seen
    assert main([str(run.path), "--quiet", "--format", "md"]) == 0
    assert not re.search(r"(?<!\\)[<$]", (run.path / "report.md").read_text(encoding="utf-8"))
    assert "&lt;script&gt;" in text
    assert "{{ 7*7 }}" in text
    assert "$5" in text


@pytest.mark.parametrize(("helped", "words"), [(True, "brings the effects"), (False, "takes the effects")])
def test_the_headline_follows_the_numbers(
    audited: Run, study: Study, helped: bool, words: str, toy: SimpleNamespace
) -> None:
    before, after = (toy.shrunk, toy.near) if helped else (toy.near, toy.shrunk)
    toy.add_label(audited, study, "base", before)
    toy.add_label(audited, study, "ace", after)
    assert main([str(audited.path), "--quiet"]) == 0
    headline = re.search(r'class="headline">([^<]*)<', _page(audited)[0])
    assert headline is not None
    assert ("nearer" in headline[1]) == helped
    assert ("further" in headline[1]) != helped
    assert words[:5] in headline[1]
    assert "Before training" not in _page(audited)[0]  # ace was not trained in this run


def test_refusals_exit_2_and_leave_the_report_alone(
    compared: Run, study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(compared.path), "--quiet"]) == 0
    before = (compared.path / "report.html").read_bytes()
    assert main([str(compared.path), "--compare", "nobody"]) == 2
    inputs = compared.inputs("measure/ace") | {"tables": "another study"}
    compared.record(study, "measure/ace", inputs, [])
    assert main([str(compared.path)]) == 2
    message = capsys.readouterr().err.strip().splitlines()
    assert len(message) == 2
    assert all(line.startswith("error: ") for line in message)
    assert (compared.path / "report.html").read_bytes() == before
    assert main([str(compared.path), "--skip-stale", "--quiet"]) == 0
    assert "Left out: ace" in _page(compared)[0]
    assert main([str(compared.path.parent / "nowhere")]) == 2


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom diagnostics.report import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "heavy = {'torch', 'pandas', 'matplotlib', 'align', 'dowhy', 'econml'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_probability_off_the_options_stands_beside_the_model_where_it_is_known(compared: Run) -> None:
    off = pd.DataFrame({"off_option": [0.1, 0.2, 0.6]})
    off.to_parquet(compared.model("ace") / "off_options.parquet")
    assert main([str(compared.path)]) == 0
    text = (compared.path / "report.html").read_text(encoding="utf-8")
    assert text.count("of its probability is on none of the options") == 1, "the other label has no record of it"
    assert "on average 30.0% of its probability is on none of the options, 60.0% in the worst cell" in text

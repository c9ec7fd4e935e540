from __future__ import annotations

import pytest

import causal.progress
from causal.progress import progress_bars


def test_bars_are_drawn_on_a_terminal_only() -> None:
    assert progress_bars().disable


def test_the_time_left_is_known_however_slow_the_steps_are() -> None:
    bars, now = progress_bars(), [0.0]
    bars.get_time = lambda: now[0]
    bar = bars.add_task("asking", total=10, note="")
    for _ in range(3):
        now[0] += 400
        bars.update(bar, advance=1)
    assert bars.tasks[0].time_remaining == 7 * 400


@pytest.mark.parametrize("shown", [True, False])
def test_a_log_gets_a_line_a_minute(
    shown: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(causal.progress.time, "monotonic", lambda: now[0])
    with progress_bars(shown) as bars:
        bars.get_time = lambda: now[0]
        bar = bars.add_task("training ace", total=400, note="")
        for step in range(1, 9):
            now[0] += 25
            bars.update(bar, completed=step, note=f"loss {step / 10}")
    lines = ["training ace: 3 of 400, 2 h 45 min left, loss 0.3", "training ace: 6 of 400, 2 h 44 min left, loss 0.6"]
    out = capsys.readouterr()
    assert (out.out, out.err.splitlines()) == ("", lines if shown else [])


def test_single_advances_are_told_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    monkeypatch.setattr(causal.progress.time, "monotonic", lambda: now[0])
    with progress_bars() as bars:
        bars.get_time = lambda: now[0]
        bar = bars.add_task("forest", total=4, note="")
        for _ in range(2):
            now[0] += 61
            bars.advance(bar)
    assert capsys.readouterr().err.splitlines() == ["forest: 1 of 4", "forest: 2 of 4, 2 min left"]

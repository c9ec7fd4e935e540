"""Seconds that the causal gate takes on a large survey: 14 countries, 4 attributes, 240 questions, weights and PSUs.

The gate is every check of the graph, overlap, balance, sensitivity, placebos and random halves (`causal.gate`); the
effects are there already. The goal is a minute on two cores.

Run: python benchmarks/gate.py [--quick] [--seed 0] [--json FILE].
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from effects import FULL, QUICK, effects_of, make_frame, make_study

from causal.gate import gate_checks
from causal.survey import read_survey


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer respondents and questions")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    respondents, questions = QUICK if arguments.quick else FULL
    survey = read_survey(make_study(questions, True, False), make_frame(respondents, questions, arguments.seed))
    cells = effects_of(survey)
    start = time.perf_counter()
    found = gate_checks(survey, cells)
    seconds = time.perf_counter() - start
    print(f"{respondents} respondents, {questions} questions: {len(found)} checks in {seconds:.1f} s (goal 60)")
    for check in found:
        print(f"  {check.verdict}  {check.name}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"gate_seconds": seconds}) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""What a paper says of its methods, from the study and the tables: a paragraph, and the wording of the questions."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

import pandas as pd

from causal.positivity import COMMON, COMMON_SHARE
from causal.study import Study
from diagnostics.diagnosis import Q
from diagnostics.estimators import named_comparisons, without_overlap
from diagnostics.inputs import Inputs
from diagnostics.page import Table

ESTIMATORS = {
    "cell": "as differences between the answer distributions of the two groups of respondents",
    "pooled": "shrunken across contexts by empirical Bayes",
    "aipw": "adjusted for covariates by augmented inverse propensity weighting with cross-fitting",
    "econml.LinearDML": "by double machine learning with a linear final stage (Chernozhukov et al., 2018)",
    "econml.DRLearner": "by the doubly robust learner (Kennedy, 2023)",
    "econml.CausalForestDML": "by causal forests (Athey, Tibshirani and Wager, 2019)",
}
_KINDS = {
    "total": "total effects",
    "controlled_direct": "controlled direct effects",
    "not_identified": "associations that are not identified as effects",
}


def methods_paragraph(inputs: Inputs) -> str:
    """Return what was estimated and how, ready to paste into a paper."""
    sentences = [
        _what(inputs),
        _people(inputs),
        _halves(inputs.study),
        _design(inputs.study),
        _effects(inputs),
        _support(inputs),
        _intervals(inputs.study),
        _graph(inputs),
        _overlap(inputs),
        _software(),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _what(inputs: Inputs) -> str:
    study = inputs.study
    attributes = [f"{name} ({', '.join(one.levels)})" for name, one in study.attributes.items()]
    number = len(study.questions)
    return (
        f"We estimated how answers to {number} survey question{'' if number == 1 else 's'} shift with "
        f"{joined(attributes)}."
    )


def _people(inputs: Inputs) -> str:
    countries = [inputs.study.country_name(name) for name in sorted(inputs.effects["country"].unique())]
    low, high = answered(inputs.distributions, inputs.study)
    n = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    where = joined(countries) if len(countries) <= 20 else f"{len(countries)} countries"
    many = f" ({len(countries)} countries)" if 1 < len(countries) <= 20 else ""
    return f"Respondents come from {where}{many}; n = {n} answers per question."


def _halves(study: Study) -> str:
    if not study.fit.held_out.respondents:
        return ""
    units = "primary sampling units" if study.survey.psu else "respondents"
    return (
        f"These are half of the respondents: {units} were dealt out at random into two halves, of which the other one "
        "served for training alone."
    )


def answered(distributions: pd.DataFrame, study: Study) -> tuple[int, int]:
    """Return the smallest and largest number of respondents behind a question.

    Counted where the fewest attributes are specified; where different ones are, by the set that most people have.
    """
    names = list(study.attributes)
    rows = distributions[(distributions["option"] == 1)]
    rows = rows[rows["granularity"] == rows["granularity"].min()]
    specified = rows[names].notna().astype(str).agg("".join, axis=1)
    n = rows["n"].astype(float).groupby([rows["question"], specified]).sum().groupby(level=0).max()
    return int(n.min()), int(n.max())


def _design(study: Study) -> str:
    source = study.survey
    if not (source.weight or source.strata or source.psu):
        return "Respondents are unweighted and treated as drawn independently."
    used = [
        words
        for words, there in (
            (f"the survey weights ({source.weight})", source.weight),
            (f"strata ({source.strata})", source.strata),
            (f"primary sampling units ({source.psu})", source.psu),
        )
        if there
    ]
    return f"Estimates and their standard errors (Taylor linearisation) take account of {joined(used)}."


def _effects(inputs: Inputs) -> str:
    study = inputs.study
    asked = list(dict.fromkeys(["cell", *inputs.others["estimator"].unique()]))
    number = joined([str(g) for g in study.granularities])
    adjacent = [name for name, one in study.attributes.items() if one.contrasts == "adjacent"]
    against = "its first level" + (f" (of {joined(adjacent)}: the level before it)" if adjacent else "")
    return (
        f"Each level of an attribute is contrasted with {against}, within countries and with other attributes held "
        f"fixed ({number} attributes specified). The shift is the difference of the mean answers, options scored in "
        f"order from 0 to 1; effects are estimated {joined([ESTIMATORS[name] for name in asked], 'and, beside that,')}."
    )


def _support(inputs: Inputs) -> str:
    effects = inputs.effects
    return (
        f"We report contrasts with at least {inputs.study.effects.support} respondents (and as many effective ones) in "
        f"both groups: {effects['supported'].sum():,} of {len(effects):,}."
    )


def _intervals(study: Study) -> str:
    return (
        f"Intervals of these differences ({study.effects.confidence:.0%}) join one Wilson score interval per group "
        "(Newcombe, 1998; Zou and Donner, 2008). "
        f"False discoveries are controlled at {Q:.0%} by the hierarchical procedure of Benjamini and Bogomolov (2014), "
        "with question and attribute as families (q-values)."
    )


def _graph(inputs: Inputs) -> str:
    counts = inputs.effects["estimand"].value_counts()
    kinds = [f"{words} ({counts[key]:,})" for key, words in _KINDS.items() if key in counts]
    graph = inputs.study.graph
    declared = [f"{tail} → {head}" for tail, head in graph.edges]
    arrows = f"with the arrows {', '.join(declared)}" if declared else "without arrows between attributes"
    hidden = f" and the unmeasured {joined(list(graph.latent))}" if graph.latent else ""
    every = ", and an arrow from everything measured to the answer" if graph.default_edges else ""
    return (
        f"Estimands follow from a declared causal graph {arrows}{hidden}{every}; by d-separation, the "
        f"{len(inputs.effects):,} contrasts measure {joined(kinds)}."
    )


def _overlap(inputs: Inputs) -> str:
    rows = without_overlap(inputs)
    if rows.empty:
        return ""
    return (
        f"{len(rows):,} adjusted contrasts ({named_comparisons(inputs, rows)}) are reported as associations for lack "
        f"of overlap: significantly fewer than {COMMON_SHARE:.0%} of the people compared are of kinds found at both "
        f"levels (probability of the treated level between {COMMON[0]:.0%} and {COMMON[1]:.0%}, were both equally "
        "frequent; Crump et al., 2009; Petersen et al., 2012)."
    )


def _software() -> str:
    return (
        f"Computed with ace-align {_version('ace-align')} (Python {platform.python_version()}, numpy "
        f"{_version('numpy')}, pandas {_version('pandas')}, scipy {_version('scipy')})."
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a clone that was never installed
        return "(version not recorded)"


def question_table(inputs: Inputs) -> Table:
    """The wording of every question, and where a shift above 0 leads."""
    rows = tuple(
        (name, one.text, one.topic, *(list(one.options.values())[end] for end in (0, -1)), str(len(one.options)))
        for name, one in inputs.study.questions.items()
    )
    caption = "The questions as they were asked. A shift above 0 leads towards the last option."
    return Table(caption, ("question", "wording", "topic", "first option", "last option", "options"), rows, 5)


def joined(names: Iterable[str], last: str = "and") -> str:
    """Return names as a phrase, none left out."""
    *first, final = names
    return f"{', '.join(first)} {last} {final}" if first else final

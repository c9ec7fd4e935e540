"""The verdict in words, generated from the numbers whichever way they fall."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from causal.heldout import COUNTRIES, HELD_OUT, PERSONAS, QUESTIONS, TRAINED, VALIDATION
from diagnostics.alignment import change
from diagnostics.classify import UNDETERMINED
from diagnostics.diagnosis import NO_EFFECT, Diagnosis, Q, in_split, supported_toggles
from diagnostics.estimators import adjusted_only, adjusted_sentences
from diagnostics.inputs import Inputs, Measured
from diagnostics.marks import failed_sentence, identified_of, standing_out
from diagnostics.origins import is_effect_of_training, not_of_training, unlike

FAULTS = {
    "erased": "moving too little, or not at all (erased)",
    "stereotyped": "moving too far (stereotyped)",
    "flipped": "moving the other way (flipped)",
}
_DONE = {"erased": "too little", "stereotyped": "too far", "flipped": "the other way"}
_WHERE = {
    "all": "Over all questions",
    "held_out": "On the {n} it never saw in training",
    "held_out_countries": "On the {n} in countries it never saw in training",
    "held_out_personas": "On the {n} with personas it never saw in training",
    "validation": "On the {n} that chose its epoch",
    "trained": "On the {n} it was trained on",
}


@dataclass(frozen=True)
class Paragraph:
    """A heading and the sentences under it."""

    heading: str
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """One line to remember, and the paragraphs that carry it."""

    headline: str
    paragraphs: tuple[Paragraph, ...]


def verdict(inputs: Inputs, found: Diagnosis, numbers: dict[str, Any]) -> Verdict:
    """Put the numbers of `scores` into words."""
    survey = _survey(inputs)
    if not inputs.models or found.models.empty:
        return Verdict(_survey_headline(inputs), (survey,))
    before, *others = inputs.models
    follows = any(is_effect_of_training(before, model) for model in others)
    paragraphs = [_single(before, found, numbers, follows)]
    paragraphs += [_compared(before, model, numbers) for model in others]
    paragraphs.append(_noise(numbers, before.label))
    apart = [f"{clause}: what training did cannot be read from the two." for clause in _clauses(before, others)]
    judged = _after_headline(before, [model for model in others if not unlike(before, model)], numbers)
    headline = " ".join([judged, *apart] if judged else [*apart, _before_headline(before, found, numbers)])
    return Verdict(headline, (*paragraphs, survey))


def _clauses(before: Measured, others: list[Measured]) -> list[str]:
    return [clause for model in others if (clause := unlike(before, model))]


def percent(share: float | None) -> str:
    """Return a share as text without decimals, a dash for none."""
    return "–" if share is None or np.isnan(share) else f"{share:.0%}"


def distance(value: float | None) -> str:
    """Return a distance as text with four decimals, a dash for none."""
    return "–" if value is None or np.isnan(value) else f"{value:.4f}"


def signed(value: float, digits: int = 3) -> str:
    """Return a difference as text with its sign, a true minus, and 0 without one."""
    shown = f"{value:+.{digits}f}"
    return f"{0:.{digits}f}" if float(shown) == 0 else shown.replace("-", "−")


def score(value: float | None) -> str:
    """Return an alignment score as text with one decimal, a dash for none."""
    return "–" if value is None or np.isnan(value) else f"{value:.1f}"


def _survey_headline(inputs: Inputs) -> str:
    rows = supported_toggles(inputs)
    if rows.empty:
        return "No toggle has enough respondents, so this survey supports no effect at this granularity."
    failed = failed_sentence(inputs.checks)
    lead = adjusted_only(inputs, rows) or standing_out(rows)
    return f"{lead}.{' ' + failed if failed else ''}"


def _survey(inputs: Inputs) -> Paragraph:
    rows = supported_toggles(inputs)
    if rows.empty:
        return Paragraph("The survey", ("No toggle has enough respondents in both of its cells.",))
    clear = rows["q_value"] < Q
    shares = clear.groupby(rows["attribute"], sort=False).mean().sort_values(ascending=False, kind="stable")
    named = ", ".join(f"{name!s} {percent(share)}" for name, share in shares.items())
    return Paragraph(
        "The survey",
        (
            f"{len(rows)} of {len(inputs.effects)} toggles have enough respondents on both sides (at least "
            f"{inputs.study.effects.support}); {clear.sum()} of these show a difference that stands out from "
            "sampling noise when 5% false discoveries are allowed (q < .05). "
            f"{identified_of(rows)}",
            f"Share of toggles with such a difference: {named}.",
            *adjusted_sentences(inputs),
        ),
    )


def _single(model: Measured, found: Diagnosis, numbers: dict[str, Any], training_follows: bool) -> Paragraph:
    part = _fair_part(model, numbers)
    item, rows = numbers["labels"][model.label]["splits"][part], _within(found, part)
    sentences = [
        *_seen(model, part, numbers),
        _closeness(model, rows, numbers["tau"], item),
        _faults(item["classes"], item),
        *_direction(rows, model.label),
        _against_no_effect(rows, model.label, item),
        _level(item),
    ]
    return Paragraph("Before training" if training_follows else f"The model: {model.label}", tuple(sentences))


def _fair_part(model: Measured, numbers: dict[str, Any]) -> str:
    """Name what a model is described on: everything, or what it never saw in training if there is such a part."""
    splits = numbers["labels"][model.label]["splits"]
    unseen = [part for part in HELD_OUT if part in splits and splits[part]["toggles"]]
    return unseen[0] if model.trained and unseen else "all"


def _within(found: Diagnosis, part: str) -> Diagnosis:
    return replace(found, toggles=in_split(found.toggles, part), models=in_split(found.models, part))


def _seen(model: Measured, part: str, numbers: dict[str, Any]) -> list[str]:
    """Say what a trained model has seen of what it is described on."""
    if not model.trained:
        return []
    if part == "all":
        return [
            "It was trained, and nothing held out from it can be judged here: what follows is of what it learnt too."
        ]
    toggles = numbers["labels"][model.label]["splits"][part]["toggles"]
    noun = f"{toggles} toggle" + ("" if toggles == 1 else "s")
    return [f"It is trained, so what follows is on the {noun}{_unseen(part)}."]


def _closeness(model: Measured, found: Diagnosis, tau: float, item: dict[str, Any]) -> str:
    still = found.toggles.loc[found.toggles["label"] == NO_EFFECT, "aligned"].mean()
    return (
        f"{model.label} ({model.model}) comes close to the survey's shift (within {tau:g}) in "
        f"{_count(item['classes'], 'aligned', item)}. A perfect model would manage "
        f"{percent(item['classes_ceiling']['aligned'])} against a survey of this size, a model that ignores the "
        f"persona {percent(float(still))}."
    )


def _level(item: dict[str, Any]) -> str:
    return (
        f"The level: its alignment score is {score(item['S'])} of 100, {_compare(item['S'], item['S_uniform'], 1)} the "
        f"{score(item['S_uniform'])} of giving every option the same probability; a perfect model would score "
        f"{score(item['S_ceiling'])}."
    )


def _count(classes: dict[str, float], name: str, item: dict[str, Any]) -> str:
    return f"{round(classes[name] * item['toggles'])} of {item['toggles']} toggles ({percent(classes[name])})"


def _faults(classes: dict[str, float], item: dict[str, Any]) -> str:
    ranked = sorted(FAULTS, key=lambda name: -classes[name])
    if classes[ranked[0]] == 0:
        return "It has no fault: every toggle is aligned."
    first, *rest = ranked
    others = ", ".join(f"{_DONE[name]} ({name}) in {percent(classes[name])}" for name in rest)
    return f"Its main fault is {FAULTS[first]}, in {_count(classes, first, item)}; it moves {others}."


def _direction(found: Diagnosis, label: str) -> list[str]:
    rows = found.models[(found.models["label"] == label) & (found.models["q_value"] < Q)]
    if rows.empty:
        return []
    same = int((rows["delta_m"] * rows["delta_d"] > 0).sum())
    return [
        f"Where the survey's own effect stands out from noise, it moves in the survey's direction for {same} of "
        f"{len(rows)} toggles ({percent(same / len(rows))}); a coin would get half."
    ]


def _against_no_effect(found: Diagnosis, label: str, item: dict[str, Any]) -> str:
    rows = found.toggles
    own, still = rows[rows["label"] == label], rows[rows["label"] == NO_EFFECT]
    against = change(still["distance"].to_numpy(), own["distance"].to_numpy(), own["question"].to_numpy())
    word = (
        "which one question alone cannot tell from"
        if against.questions == 1
        else "not clearly different from"
        if not against.clear
        else "better than"
        if against.difference < 0
        else "worse than"
    )
    return (
        f"Its effect distance is {distance(item['effect_distance'])}, {word} that of a model without any effect "
        f"({distance(item['effect_distance_no_effect'])}); a perfect model would have "
        f"{distance(item['effect_distance_ceiling'])}."
    )


def _compare(value: float, rival: float, digits: int) -> str:
    first, second = round(value, digits), round(rival, digits)
    return "the same as" if first == second else "above" if first > second else "below"


def _compared(before: Measured, after: Measured, numbers: dict[str, Any]) -> Paragraph:
    splits = [split for split in (*HELD_OUT, VALIDATION, TRAINED) if split in numbers["changes"][after.label]]
    sentences = [
        sentence
        for split in splits or ["all"]
        for sentence in _change_sentences(before.label, after.label, split, numbers)
    ]
    warning = not_of_training(before, after)
    trained = is_effect_of_training(before, after)
    lead = f"After training: {after.label}" if trained else f"Against {before.label}: {after.label} ({after.model})"
    return Paragraph(lead, tuple([warning, *sentences] if warning else sentences))


def _change_sentences(before: str, after: str, split: str, numbers: dict[str, Any]) -> list[str]:
    old, new = (numbers["labels"][label]["splits"][split] for label in (before, after))
    moved = numbers["changes"][after][split]
    count = moved["questions"]
    noun = f"{count} question" + ("" if count == 1 else "s")
    trained = numbers["labels"][after]["trained"] or split == "all"
    where = _WHERE[split].format(n=noun) if trained else f"On the {noun} {_PLAIN[split]}"
    aligned, flipped = (
        [percent(item["classes"][name]) for item in (old, new)] + [percent(new["classes_ceiling"][name])]
        for name in ("aligned", "flipped")
    )
    return [
        f"{where}, the effect distance went from {distance(old['effect_distance'])} to "
        f"{distance(new['effect_distance'])}: {_judged(moved)} (perfect: {distance(new['effect_distance_ceiling'])}, "
        f"no effect at all: {distance(new['effect_distance_no_effect'])}). It came nearer to the survey on "
        f"{moved['nearer']} of {count}{_interval(moved)}.",
        f"There, aligned toggles went from {aligned[0]} to {aligned[1]} (perfect: {aligned[2]}), flipped ones from "
        f"{flipped[0]} to {flipped[1]} (perfect: {flipped[2]}), and the alignment score S from {score(old['S'])} to "
        f"{score(new['S'])} (perfect: {score(new['S_ceiling'])}, uniform answers: {score(new['S_uniform'])}).",
    ]


_PLAIN = {
    "held_out": "held out from training",
    "held_out_countries": "in countries held out from training",
    "held_out_personas": "with personas held out from training",
    "validation": "that chose the epoch of others",
    "trained": "that others are trained on",
}


def judgement(moved: dict[str, Any]) -> str:
    """Return ``better``, ``worse``, ``no clear change`` or ``unknown`` (a single question has no interval)."""
    if moved["low"] is None:
        return "unknown"
    clear = moved["low"] > 0 or moved["high"] < 0
    return "no clear change" if not clear else "better" if moved["difference"] < 0 else "worse"


def _judged(moved: dict[str, Any]) -> str:
    words = {
        "better": "clearly better",
        "worse": "clearly worse",
        "unknown": "one question alone cannot tell whether that is more than chance",
    }
    return words.get(judgement(moved), "no clear change")


def _interval(moved: dict[str, Any]) -> str:
    if moved["low"] is None:
        return ""
    ends = f"{signed(moved['low'], 4)} to {signed(moved['high'], 4)}"
    return f"; the 95% interval of the mean change, over questions, runs from {ends}"


def _noise(numbers: dict[str, Any], label: str) -> Paragraph:
    item = numbers["labels"][label]["splits"]["all"]
    ceiling = item["classes_ceiling"]
    certain = item["toggles"] - item["classes_certain"].get(UNDETERMINED, 0)
    return Paragraph(
        "What noise alone does",
        (
            "The survey is a sample. Against it, even a perfect model would be called flipped in "
            f"{ceiling['flipped']:.1%} of toggles, stereotyped in {ceiling['stereotyped']:.1%} and erased in "
            f"{ceiling['erased']:.1%}.",
            f"Allowing for that, the class is at least 80% certain for {certain} of the {item['toggles']} toggles of "
            f"{label}; the others are undetermined one by one, though their shares still mean something beside the "
            "perfect model's.",
        ),
    )


def _after_headline(before: Measured, others: list[Measured], numbers: dict[str, Any]) -> str:
    lines = []
    for model in others:
        splits = numbers["changes"][model.label]
        split = next((part for part in HELD_OUT if part in splits), "all")
        if split not in splits:
            continue
        start = f"Training ({model.label})" if is_effect_of_training(before, model) else model.label
        what = {QUESTIONS: "questions", COUNTRIES: "countries", PERSONAS: "personas"}.get(split)
        preposition = "in" if split == COUNTRIES else "on"
        where = f"{preposition} {what} never seen in training" if model.trained else f"{preposition} held-out {what}"
        where = where if what else "over all questions"
        lines.append(
            _HEADLINES[judgement(splits[split])].format(start=start, where=where, before=splits[split]["against"])
        )
    return " ".join(lines)


_HEADLINES = {
    "better": "{start} brings the effects of attributes nearer to the survey's than {before} {where}.",
    "worse": "{start} takes the effects of attributes further from the survey's than {before} {where}.",
    "no clear change": "{start} makes no clear difference to the effects of attributes {where}, against {before}.",
    "unknown": "{start} was compared with {before} {where}; that is a single one, too few to tell.",
}


def _unseen(part: str) -> str:
    """Return what sets the toggles of a part apart, nothing for all."""
    return "" if part == "all" else " of questions held out from training" if part == QUESTIONS else f" {_PLAIN[part]}"


def _before_headline(model: Measured, found: Diagnosis, numbers: dict[str, Any]) -> str:
    part = _fair_part(model, numbers)
    classes = numbers["labels"][model.label]["splits"][part]["classes"]
    found = _within(found, part)
    worst = max(FAULTS, key=lambda name: classes[name])
    still = float(found.toggles.loc[found.toggles["label"] == NO_EFFECT, "aligned"].mean())
    right = (
        f"{model.label} gets {percent(classes['aligned'])} of attribute effects{_unseen(part)} about right "
        f"(ignoring the persona would get {percent(still)})"
    )
    if not classes[worst]:
        return f"{right}."
    verb = {"erased": "erases", "stereotyped": "stereotypes", "flipped": "flips"}[worst]
    how = "mostly" if classes[worst] > 0.5 * sum(classes[name] for name in FAULTS) else "most often"
    return f"{right}; of the others it {how} {verb} ({percent(classes[worst])} of all)."

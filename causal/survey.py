"""Respondents, encoded against the codebook: level and answer indices, weights, a data hash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from causal.codes import code_key
from causal.countries import Countries, read_countries
from causal.covariates import read_covariates
from causal.design import Design, declared_design, design_ids
from causal.encoding import MISSING, distinct_keys, frame_hash, indices, level_indices, level_spans, rows_by_code
from causal.errors import InputError
from causal.readers import Source, keep_known, read_source
from causal.sections import ConstantCountry
from causal.study import Study

WEIGHTS = (1e-50, 1e50)
"""Weights between which squares and sums of squares stay exact enough for variances."""


@dataclass(frozen=True)
class Survey:
    """Respondents, encoded against a study's codebook.

    Attributes
    ----------
    study : Study
        The codebook: attributes, levels, questions, options.
    countries : tuple of str
        Country codes, sorted.
    country : ndarray of int, shape (n,)
        Index into ``countries``.
    levels : ndarray of int, shape (n, attributes)
        Level index in the study's order, -1 where missing.
    answers : ndarray of int, shape (n, questions)
        Option index (0-based) in the study's order, -1 where missing.
    weight : ndarray of float, shape (n,), or None
        Design weights, or None for an unweighted survey.
    data_hash : str
        SHA-256 of what was read.
    without_country : int
        Respondents left out because their country is missing.
    design : Design, optional
        Strata and PSUs, or None where neither is declared: every respondent was drawn alone.
    declared_missing : mapping of str to mapping of str to int
        By column and code, the values that are missing because the file itself declares their codes so.
    covariates : mapping of str to ndarray, each of shape (n,)
        By covariate: numbers as floats, NaN where missing; categories as indices, -1 where missing.
    missing_answers : mapping of str to mapping of str to int
        By question, the respondents without an answer by code, ``""`` where there is no code.
    spans : mapping of str to tuple
        By attribute whose levels are ranges: the lowest and highest number in each level, None where there is none.
    left_out : mapping of str to int
        Respondents of each country that ``survey.keep`` leaves out.
    """

    study: Study
    countries: tuple[str, ...]
    country: np.ndarray
    levels: np.ndarray
    answers: np.ndarray
    weight: np.ndarray | None
    data_hash: str
    without_country: int
    design: Design | None = None
    declared_missing: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    covariates: Mapping[str, np.ndarray] = field(default_factory=dict)
    missing_answers: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    spans: Mapping[str, tuple[tuple[float, float] | None, ...]] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def respondents(self) -> int:
        """Number of respondents kept."""
        return len(self.country)

    @property
    def tells_missing(self) -> bool:
        """Whether nonresponse can be seen at all: of respondents it always can."""
        return True

    @property
    def unanswered(self) -> np.ndarray:
        """Share of respondents without an answer, by question, where anybody of their country has one."""
        countries = len(self.countries)
        answered = np.stack([np.bincount(self.country[a != MISSING], minlength=countries) for a in self.answers.T])
        return silent_share(answered, np.bincount(self.country, minlength=countries))

    @property
    def unknown(self) -> np.ndarray:
        """Share of respondents whose level is unknown, by attribute."""
        return (self.levels == MISSING).mean(axis=0)


def silent_share(answered: np.ndarray, people: np.ndarray) -> np.ndarray:
    """Return each question's share of people without an answer, in the countries where anybody answered it.

    Parameters
    ----------
    answered : ndarray, shape (questions, countries)
        People with an answer.
    people : ndarray, shape (countries,)
        Everybody.
    """
    asked = (answered > 0) @ people
    return (asked - answered.sum(axis=1)) / np.maximum(asked, 1)


def read_survey(study: Study, data: pd.DataFrame | None = None) -> Survey:
    """Read the study's source, or a given data frame, and encode it.

    Parameters
    ----------
    study : Study
        Names the source, its columns and codes.
    data : DataFrame, optional
        Respondents as rows, in place of ``survey.source``. It is not changed.

    Returns
    -------
    Survey

    Raises
    ------
    InputError
        The source cannot be read, lacks a column, or holds codes that the study does not know; all
        problems of the data come in one message.
    """
    if data is not None and not isinstance(data, pd.DataFrame):
        raise InputError(
            f"data is a {type(data).__module__}.{type(data).__name__}; read_survey takes a pandas DataFrame, and "
            "causal.count_frame every other frame that narwhals knows (polars, DuckDB, PySpark)"
        )
    if study.survey.counts or (data is None and study.survey.counted):
        raise InputError("the source is a count table, not respondents; read it with causal.read_count_table")
    columns = study_columns(study)
    source = read_source(study, columns) if data is None else Source(data)
    frame = keep_known(source.frame, columns)
    if frame.empty:
        raise InputError("the survey has no respondents: there is a header, and no row below it")
    survey = _encode(study, frame, frame if source.coded is None else source.coded)
    return replace(survey, declared_missing=source.declared_missing)


def study_columns(study: Study) -> list[str]:
    """Return the columns that the study needs, each once."""
    source = study.survey
    wanted = [] if isinstance(source.country, ConstantCountry) else [source.country]
    wanted += [attribute.column or name for name, attribute in study.attributes.items()]
    wanted += [question.column or name for name, question in study.questions.items()]
    wanted += [covariate.column or name for name, covariate in study.covariates.items()]
    wanted += [column for column in (source.id, source.weight, source.strata, source.psu) if column]
    return list(dict.fromkeys(wanted))


def _encode(study: Study, frame: pd.DataFrame, coded: pd.DataFrame) -> Survey:
    """Encode a frame; ``coded`` still has the codes that the file declares missing."""
    everywhere = {code_key(code) for code in study.survey.missing}
    problems: list[str] = []
    levels = survey_levels(study, frame, problems)
    answers = np.empty((len(frame), len(study.questions)), dtype=np.int16)
    for j, name in enumerate(study.questions):
        answers[:, j] = answer_indices(study, name, frame, problems)
    countries = survey_countries(study, frame)
    weight = _weights(study, frame, ~countries.out, problems)
    problems += _id_problems(study, frame, everywhere)
    ids = design_ids(study.survey, frame, everywhere, problems, ~countries.out)
    covariates = read_covariates(study, frame, everywhere, problems)
    raise_misfits(problems)
    kept = kept_rows(countries)
    return Survey(
        study,
        countries.names,
        countries.index[kept],
        levels[kept],
        answers[kept],
        None if weight is None else weight[kept],
        frame_hash(frame),
        int((~kept).sum()) - sum(countries.left_out.values()),
        declared_design({key: values[kept] for key, values in ids.items()}, countries.index[kept], countries.names),
        covariates={name: values[kept] for name, values in covariates.items()},
        missing_answers={
            name: rows_by_code(coded.loc[kept & (answers[:, j] == MISSING), question.column or name])
            for j, (name, question) in enumerate(study.questions.items())
        },
        spans={
            name: level_spans(frame.loc[kept, attribute.column or name], levels[kept, j], len(attribute.levels))
            for j, (name, attribute) in enumerate(study.attributes.items())
            if attribute.binned
        },
        left_out=countries.left_out,
    )


def survey_levels(
    study: Study, frame: pd.DataFrame, problems: list[str], times: np.ndarray | None = None
) -> np.ndarray:
    """Return each row's level index by attribute, shape (rows, attributes); see `causal.encoding.level_indices`."""
    everywhere = {code_key(code) for code in study.survey.missing}
    levels = np.empty((len(frame), len(study.attributes)), dtype=np.int16)
    for j, (name, attribute) in enumerate(study.attributes.items()):
        levels[:, j] = level_indices(frame[attribute.column or name], name, attribute, everywhere, problems, times)
    return levels


def answer_indices(
    study: Study, name: str, frame: pd.DataFrame, problems: list[str], times: np.ndarray | None = None
) -> np.ndarray:
    """Return each row's option index for one question; see `causal.encoding.indices`."""
    question = study.questions[name]
    codes = {code_key(code): i for i, code in enumerate(question.options)}
    missing = {code_key(code) for code in (*study.survey.missing, *question.missing)}
    column = question.column or name
    before = len(problems)
    what = f"question {name} (column {column})"
    answers = indices(frame[column], codes, missing, what, "an option", problems, times)
    if (answers == MISSING).all() and len(problems) == before:
        problems.append(f"  {what}: no respondent has an answer; remove the question or correct its codes")
    return answers


def raise_misfits(problems: Sequence[str]) -> None:
    """Raise `InputError` with all problems of the data, if there are any."""
    if problems:
        raise InputError("\n".join(["the survey does not fit the study:", *problems]))


def survey_countries(study: Study, frame: pd.DataFrame, times: np.ndarray | None = None) -> Countries:
    """Return the countries of the rows; see `causal.countries.read_countries`.

    Raises
    ------
    InputError
        A row has one that ``survey.countries`` does not name.
    """
    named = set(study.survey.countries)
    asked = named | {code_key(code) for code in study.survey.keep}
    found = read_countries(study.survey, frame, {code_key(code) for code in study.survey.missing} - asked, times)
    if named and (extra := [key for key in found.names if key not in named]):
        raise InputError(
            f"survey.countries names {', '.join(sorted(named))}, but the data also hold {', '.join(extra)}; "
            "name them too, add them to survey.missing, or list the countries you want under survey.keep"
        )
    return found


def kept_rows(countries: Countries) -> np.ndarray:
    """Return which rows have a country that is kept, shape (rows,).

    Raises
    ------
    InputError
        None has.
    """
    if not countries.names:
        raise InputError("no respondent has a country; check survey.country and survey.missing")
    return countries.index != MISSING


def _id_problems(study: Study, frame: pd.DataFrame, missing: set[str]) -> list[str]:
    """Say which respondents have no id, and which ids stand twice in a country; null only is no id."""
    column, source = study.survey.id, study.survey.country
    if column is None:
        return []
    country = np.zeros(len(frame), dtype=np.int64)
    kept = np.ones(len(frame), dtype=bool)
    if not isinstance(source, ConstantCountry):
        country, countries = _key_positions(frame[source])
        kept = np.array([key is not None and key not in missing for key in countries])[country]
    found, ids = _key_positions(frame[column])
    named = np.array([key is not None for key in ids])[found]
    lines = []
    if (lost := kept & ~named).any():
        lines.append(f"{lost.sum()} of {kept.sum()} respondents have no id (the first is row {lost.argmax() + 1})")
    whose, times = np.unique(np.column_stack([country, found])[kept & named], axis=0, return_counts=True)
    if len(twice := np.flatnonzero(times > 1)):
        shown = ", ".join(f"{ids[whose[i, 1]]} ({times[i]} rows)" for i in twice[:5]) + " ..." * (len(twice) > 5)
        lines.append(f"{len(twice)} ids stand more than once in a country: {shown}")
    advice = "every respondent counts once, so correct or drop these rows, or remove survey.id"
    return [f"  survey.id (column {column}): {line}; {advice}" for line in lines]


def _key_positions(column: pd.Series) -> tuple[np.ndarray, list[str | None]]:
    """Return each row's place among the distinct code keys, and these: 1 and "1" are one."""
    positions, keys = distinct_keys(column)
    place = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    return np.array([place[key] for key in keys])[positions], list(place)


def _weights(study: Study, frame: pd.DataFrame, wanted: np.ndarray, problems: list[str]) -> np.ndarray | None:
    if study.survey.weight is None:
        return None
    weight = pd.to_numeric(frame[study.survey.weight], errors="coerce").to_numpy(dtype=float)
    bad = ~((weight > 0) & (weight >= WEIGHTS[0]) & (weight <= WEIGHTS[1])) & wanted
    if bad.any():
        first = int(np.flatnonzero(bad)[0]) + 1
        problems.append(unusable_weights(study, f"{bad.sum()} of {len(weight)} rows (the first is row {first})"))
    return weight


def unusable_weights(study: Study, which: str) -> str:
    """Return the line that says which rows have no usable weight."""
    return (
        f"  weight (column {study.survey.weight}): {which} are missing, zero, negative, no number or absurdly small or "
        "large; every respondent needs a positive weight, so drop or correct those rows"
    )

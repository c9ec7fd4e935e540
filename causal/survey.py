"""Respondents, encoded against the codebook: level and answer indices, weights, a data hash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from causal.codes import code_key
from causal.covariates import read_covariates
from causal.design import Design, declared_design, design_ids
from causal.encoding import MISSING, distinct_keys, frame_hash, indices
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
    declared_missing : mapping of str to int
        By column, the values that are missing because the file itself declares their codes so.
    covariates : mapping of str to ndarray, each of shape (n,)
        By covariate: numbers as floats, NaN where missing; categories as indices, -1 where missing.
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
    declared_missing: Mapping[str, int] = field(default_factory=dict)
    covariates: Mapping[str, np.ndarray] = field(default_factory=dict)

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
        """Share of respondents without an answer, by question."""
        return (self.answers == MISSING).mean(axis=0)

    @property
    def unknown(self) -> np.ndarray:
        """Share of respondents whose level is unknown, by attribute."""
        return (self.levels == MISSING).mean(axis=0)


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
    survey = _encode(study, keep_known(source.frame, columns))
    return replace(survey, declared_missing=source.declared_missing)


def study_columns(study: Study) -> list[str]:
    """Return the columns that the study needs, each once."""
    source = study.survey
    wanted = [] if isinstance(source.country, ConstantCountry) else [source.country]
    wanted += [attribute.column or name for name, attribute in study.attributes.items()]
    wanted += [question.column or name for name, question in study.questions.items()]
    wanted += [covariate.column or name for name, covariate in study.covariates.items()]
    wanted += [column for column in (source.weight, source.strata, source.psu) if column]
    return list(dict.fromkeys(wanted))


def _encode(study: Study, frame: pd.DataFrame) -> Survey:
    everywhere = {code_key(code) for code in study.survey.missing}
    problems: list[str] = []
    levels = level_indices(study, frame, problems)
    answers = np.empty((len(frame), len(study.questions)), dtype=np.int16)
    for j, name in enumerate(study.questions):
        answers[:, j] = answer_indices(study, name, frame, problems)
    weight = _weights(study, frame, problems)
    ids = design_ids(study.survey, frame, everywhere, problems)
    covariates = read_covariates(study, frame, everywhere, problems)
    raise_misfits(problems)
    countries, country = country_indices(study, frame)
    kept = country != MISSING
    return Survey(
        study,
        countries,
        country[kept],
        levels[kept],
        answers[kept],
        None if weight is None else weight[kept],
        frame_hash(frame),
        int((~kept).sum()),
        declared_design({key: values[kept] for key, values in ids.items()}, country[kept], countries),
        covariates={name: values[kept] for name, values in covariates.items()},
    )


def level_indices(
    study: Study, frame: pd.DataFrame, problems: list[str], times: np.ndarray | None = None
) -> np.ndarray:
    """Return each row's level index by attribute, shape (rows, attributes); see `causal.encoding.indices`."""
    everywhere = {code_key(code) for code in study.survey.missing}
    levels = np.empty((len(frame), len(study.attributes)), dtype=np.int16)
    for j, (name, attribute) in enumerate(study.attributes.items()):
        codes = {code_key(code): i for i, level in enumerate(attribute.levels.values()) for code in level.codes}
        missing = everywhere | {code_key(code) for code in attribute.missing}
        column = attribute.column or name
        what = f"attribute {name} (column {column})"
        levels[:, j] = indices(frame[column], codes, missing, what, "a level", problems, times)
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


def country_indices(study: Study, frame: pd.DataFrame) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the country codes that occur, sorted, and each row's index into them, -1 where it is missing.

    Raises
    ------
    InputError
        No row has a country, or one that ``survey.countries`` does not name.
    """
    missing = {code_key(code) for code in study.survey.missing}
    declared = study.survey.country
    if isinstance(declared, ConstantCountry):
        return (declared.constant,), np.zeros(len(frame), dtype=np.int32)
    positions, keys = distinct_keys(frame[declared])
    held = sorted({key for key in keys if key is not None and key not in missing})
    named = {code_key(code) for code in study.survey.countries}
    if named and (extra := [key for key in held if key not in named]):
        raise InputError(
            f"survey.countries names {', '.join(sorted(named))}, but the data also hold {', '.join(extra)}; "
            "name them too, or add them to survey.missing"
        )
    if not held:
        raise InputError("no respondent has a country; check survey.country and survey.missing")
    place = {key: i for i, key in enumerate(held)}
    return tuple(held), np.array([place.get(key or "", MISSING) for key in keys], dtype=np.int32)[positions]


def _weights(study: Study, frame: pd.DataFrame, problems: list[str]) -> np.ndarray | None:
    if study.survey.weight is None:
        return None
    weight = pd.to_numeric(frame[study.survey.weight], errors="coerce").to_numpy(dtype=float)
    bad = ~((weight > 0) & (weight >= WEIGHTS[0]) & (weight <= WEIGHTS[1]))
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

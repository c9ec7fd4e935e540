"""Survey files and data frames, read into respondents: level and answer indices, weights, a data hash."""

from __future__ import annotations

import difflib
import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from causal import examples
from causal.codes import code_key
from causal.columns import column_keys
from causal.design import Design, declared_design, design_ids
from causal.errors import InputError
from causal.study import ConstantCountry, Study

MISSING = -1
"""Index of an attribute level or answer that the respondent did not give."""

READERS = (".csv", ".tsv", ".parquet")


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

    @property
    def respondents(self) -> int:
        """Number of respondents kept."""
        return len(self.country)


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
    columns = _columns(study)
    frame = _read_source(study, columns) if data is None else data
    absent = [name for name in columns if name not in frame.columns]
    if absent:
        raise InputError(_absent_columns(study, absent, [str(name) for name in frame.columns]))
    if twice := [name for name in columns if isinstance(frame[name], pd.DataFrame)]:
        raise InputError(f"the survey has more than one column named {', '.join(twice)}; names must be distinct")
    return _encode(study, frame[columns])


def _columns(study: Study) -> list[str]:
    """Return the columns that the study needs, each once."""
    source = study.survey
    wanted = [] if isinstance(source.country, ConstantCountry) else [source.country]
    wanted += [attribute.column or name for name, attribute in study.attributes.items()]
    wanted += [question.column or name for name, question in study.questions.items()]
    wanted += [column for column in (source.weight, source.strata, source.psu) if column]
    return list(dict.fromkeys(wanted))


def _read_source(study: Study, columns: Sequence[str]) -> pd.DataFrame:
    source = study.survey.source
    if source.startswith(examples.PREFIX):
        return examples.load(source)
    path = Path(source)
    if not path.is_file():
        raise InputError(
            f"survey file {source} does not exist; give survey.source as a path ({' '.join(READERS)}) "
            f"or a built-in example ({', '.join(examples.names())})"
        )
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise InputError(
            f"survey file {source}: cannot read {suffix or 'a file without a suffix'}; readable are {' '.join(READERS)}"
        )
    if path.stat().st_size == 0:
        raise InputError(f"survey file {source} is empty (0 bytes)")
    return _read_parquet(path, columns) if suffix == ".parquet" else _read_text(path, "\t" if suffix == ".tsv" else ",")


def _read_text(path: Path, separator: str) -> pd.DataFrame:
    """Read as text: only an empty field is missing, so "NA" can be Namibia and "None" an answer.

    Rows with more fields than the header are refused: pandas would read the first of them as row labels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return _read_csv(path, separator)
    except UnicodeDecodeError as error:
        raise InputError(
            f"survey file {path} is not UTF-8 text; save it as UTF-8 (CSV UTF-8 in a spreadsheet)"
        ) from error
    except pd.errors.ParserWarning as error:
        raise InputError(f"survey file {path}: its rows have more fields than its header; name every column") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"survey file {path} is no readable table: {error}") from error


def _read_csv(path: Path, separator: str) -> pd.DataFrame:
    return pd.read_csv(
        path,
        sep=separator,
        index_col=False,
        dtype=str,
        keep_default_na=False,
        na_values=[""],
        encoding="utf-8-sig",
        skipinitialspace=True,
    )


def _read_parquet(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        held = pq.read_schema(path).names
        if not set(columns) <= set(held):
            return pd.DataFrame(columns=held)  # enough to say what is absent
        return pq.read_table(path, columns=list(columns)).to_pandas(ignore_metadata=True)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"survey file {path} is no readable Parquet file: {error}") from error


def _absent_columns(study: Study, absent: Sequence[str], held: Sequence[str]) -> str:
    lines = []
    for name in absent:
        close = difflib.get_close_matches(name, held, n=1)
        lines.append(f"  {name}" + (f" (did you mean {close[0]!r}?)" if close else ""))
    return "\n".join(
        [
            f"the survey has no column for {len(absent)} of the study's names:",
            *lines,
            f"columns there: {', '.join(held[:40])}",
        ]
    )


def _encode(study: Study, frame: pd.DataFrame) -> Survey:
    everywhere = {code_key(code) for code in study.survey.missing}
    problems: list[str] = []
    levels = np.empty((len(frame), len(study.attributes)), dtype=np.int16)
    for j, (name, attribute) in enumerate(study.attributes.items()):
        codes = {code_key(code): i for i, level in enumerate(attribute.levels.values()) for code in level.codes}
        missing = everywhere | {code_key(code) for code in attribute.missing}
        column = attribute.column or name
        levels[:, j] = _indices(
            frame[column], codes, missing, f"attribute {name} (column {column})", "a level", problems
        )
    answers = np.empty((len(frame), len(study.questions)), dtype=np.int16)
    for j, (name, question) in enumerate(study.questions.items()):
        codes = {code_key(code): i for i, code in enumerate(question.options)}
        missing = everywhere | {code_key(code) for code in question.missing}
        column = question.column or name
        answers[:, j] = _indices(
            frame[column], codes, missing, f"question {name} (column {column})", "an option", problems
        )
        if (answers[:, j] == MISSING).all() and not any(f"question {name} " in line for line in problems):
            problems.append(
                f"  question {name} (column {column}): no respondent has an answer; "
                "remove the question or correct its codes"
            )
    weight = _weights(study, frame, problems)
    ids = design_ids(study.survey, frame, everywhere, problems)
    if problems:
        raise InputError("\n".join(["the survey does not fit the study:", *problems]))
    countries, country = _countries(study, frame, everywhere)
    kept = country != MISSING
    if not kept.any():
        raise InputError("no respondent has a country; check survey.country and survey.missing")
    return Survey(
        study,
        countries,
        country[kept],
        levels[kept],
        answers[kept],
        None if weight is None else weight[kept],
        _hash(frame),
        int((~kept).sum()),
        declared_design({key: values[kept] for key, values in ids.items()}, country[kept], countries),
    )


def _indices(
    column: pd.Series, codes: Mapping[str, int], missing: set[str], what: str, kind: str, problems: list[str]
) -> np.ndarray:
    positions, keys = column_keys(column)
    counts = np.bincount(positions, minlength=len(keys))
    unknown = [i for i, key in enumerate(keys) if key is not None and key not in codes and key not in missing]
    if unknown:
        shown = ", ".join(f"{keys[i]} ({counts[i]} rows)" for i in unknown[:8]) + (" ..." if len(unknown) > 8 else "")
        problems.append(
            f"  {what}: {len(unknown)} code(s) in the data are neither {kind} nor missing: {shown}; known are "
            f"{', '.join(codes)}. Add them to {kind}, or to `missing` here or under survey"
            + (
                ". YAML reads 01 as the number 1: put codes with leading zeros in quotes"
                if any((keys[i] or "").lstrip("0") in codes for i in unknown)
                else ""
            )
        )
    index = np.array([codes.get(key, MISSING) if key is not None else MISSING for key in keys], dtype=np.int16)
    return index[positions]


def _countries(study: Study, frame: pd.DataFrame, missing: set[str]) -> tuple[tuple[str, ...], np.ndarray]:
    declared = study.survey.country
    if isinstance(declared, ConstantCountry):
        return (declared.constant,), np.zeros(len(frame), dtype=np.int32)
    positions, keys = column_keys(frame[declared])
    held = sorted({key for key in keys if key is not None and key not in missing})
    named = {code_key(code) for code in study.survey.countries}
    if named and (extra := [key for key in held if key not in named]):
        raise InputError(
            f"survey.countries names {', '.join(sorted(named))}, but the data also hold {', '.join(extra)}; "
            "name them too, or add them to survey.missing"
        )
    place = {key: i for i, key in enumerate(held)}
    return tuple(held), np.array([place.get(key or "", MISSING) for key in keys], dtype=np.int32)[positions]


def _weights(study: Study, frame: pd.DataFrame, problems: list[str]) -> np.ndarray | None:
    if study.survey.weight is None:
        return None
    weight = pd.to_numeric(frame[study.survey.weight], errors="coerce").to_numpy(dtype=float)
    bad = ~(np.isfinite(weight) & (weight > 0))
    if bad.any():
        problems.append(
            f"  weight (column {study.survey.weight}): {bad.sum()} of {len(weight)} rows are missing, zero, "
            "negative or no number; every respondent needs a positive weight, so drop or correct those rows"
        )
    return weight


def _hash(frame: pd.DataFrame) -> str:
    digest = hashlib.sha256()
    for name in frame.columns:
        positions, keys = column_keys(frame[name])
        digest.update(repr((name, keys)).encode())
        digest.update(np.ascontiguousarray(positions, dtype=np.int64).tobytes())
    return digest.hexdigest()

"""Parquet files too large for memory: counted by DuckDB, piece by piece."""

from __future__ import annotations

import glob
import tempfile
from collections import Counter
from pathlib import Path

from causal import examples
from causal.errors import InputError
from causal.framecounts import FrameCounts, count_frame, needs_respondents
from causal.readers import checked_path, parquet_shape
from causal.runs import file_hash
from causal.study import Study
from causal.survey import study_columns

LARGE = 50_000_000
"""Values (rows times columns that the study uses) above which a Parquet file is not read into memory."""
MEMORY = "1GB"
"""What DuckDB may hold before it goes to disk."""


def is_large(study: Study) -> bool:
    """Whether the study's source is a Parquet file with more than `LARGE` values that can be counted where it is.

    A study that needs its respondents one by one (`causal.framecounts.needs_respondents`) has them in memory whatever
    the size.
    """
    source = study.survey.source
    if source.startswith(examples.PREFIX) or Path(source).suffix.lower() != ".parquet" or needs_respondents(study):
        return False
    rows, _ = parquet_shape(checked_path(source))
    return rows * len(study_columns(study)) > LARGE


def count_large_file(study: Study) -> FrameCounts:
    """Count a Parquet file's respondents with DuckDB, within `MEMORY` plus the counts themselves.

    Returns
    -------
    FrameCounts
        ``data_hash`` is that of the file's bytes.

    Raises
    ------
    InputError
        As by `causal.framecounts.count_frame`; or the file is damaged, or has columns whose names differ by case
        only, which DuckDB takes for one.
    """
    import duckdb

    path = checked_path(study.survey.source)
    _refuse_same_names(study, path)
    with (
        tempfile.TemporaryDirectory() as folder,
        duckdb.connect(config={"memory_limit": MEMORY, "temp_directory": folder}) as connection,
    ):
        try:
            return count_frame(study, connection.read_parquet(glob.escape(str(path))), file_hash(path))
        except duckdb.Error as error:
            raise InputError(f"survey file {path} cannot be counted by DuckDB: {error}") from error


def _refuse_same_names(study: Study, path: Path) -> None:
    _, held = parquet_shape(path)
    times = Counter(name.lower() for name in held)
    if twice := [name for name in study_columns(study) if times[name.lower()] > 1]:
        raise InputError(
            f"survey file {path} has columns that differ from {', '.join(twice)} by upper and lower case only; rename "
            "them: a file of this size is counted by DuckDB, to which they are one"
        )

"""Surveys with known truth: ordered answers from a cumulative-link model, and the population values they estimate.

Who is in the population is a probability table over the attributes, two hidden binary traits and age; what they
answer follows a proportional-odds model (McCullagh 1980, JRSS B 42, 109). So every true distribution is a finite
sum (an integral by Gauss-Hermite quadrature where clusters differ), not a second simulation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit

from causal.distributions import distributions_table
from causal.effects import model_effects
from causal.grid import Grid, subsets
from causal.population import (
    AGES,
    Family,
    Population,
    make_joint,
    make_predictor,
    make_selection,
    make_study,
    make_thresholds,
)
from causal.study import Study

_NODES, _NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(40)


@dataclass(frozen=True)
class Simulated:
    """A sample and the population values it estimates.

    Attributes
    ----------
    data : DataFrame
        Respondents: ``country``, the attributes (0 reference, 1 treated), the questions (1..K), ``age`` where it
        matters, ``weight``, ``psu``.
    study : Study
        A study that reads ``data``: ``read_survey(study, data)``.
    distributions : DataFrame
        The true distributions table, at every granularity of the study; cluster effects are averaged out.
    effects : DataFrame
        The true effects table (``estimator`` "truth"), row for row that of `causal.effects.survey_effects`, with
        the column ``shift_do``: the shift if the attribute were *set*, everything else staying as it is, in
        the population of that context. It is the causal effect if attributes do not cause one another, and it
        differs from ``shift`` where unspecified attributes, age or the confounder go with the attribute.
    population : Population
        The generating model.
    """

    data: pd.DataFrame
    study: Study
    distributions: pd.DataFrame
    effects: pd.DataFrame
    population: Population


def simulate(
    respondents: int = 1000,
    *,
    countries: int = 2,
    attributes: int = 4,
    questions: int = 5,
    options: int | Sequence[int] = 5,
    family: Family = "normal",
    question_sd: float = 0.4,
    country_sd: float = 0.1,
    context_sd: float = 0.1,
    correlation: float = 0.5,
    selection: float = 0.0,
    cluster_sd: float = 0.0,
    clusters: int = 40,
    confounding: float = 0.0,
    age: float = 0.0,
    granularity: str | Sequence[int | str] = "all",
    design: bool = False,
    seed: int = 0,
) -> Simulated:
    """Draw a population and a sample from it.

    Parameters
    ----------
    respondents : int
        Respondents per country.
    countries, attributes, questions : int
        Numbers of each; one to four attributes, with two levels.
    options : int or sequence of int
        Options of every question, or of each.
    family : {"normal", "heavy", "few"}
        Shape of the distribution of effects.
    question_sd, country_sd, context_sd : float
        On the logit scale: spread of an attribute's effect over questions, over countries within a question, and
        of its interaction with each other attribute within a country and question.
    correlation : float
        Log odds ratio between any two attributes.
    selection : float
        0 samples at random. Otherwise a hidden trait that raises the answer is more likely to be sampled among the
        treated of the first attribute and less among its reference (log odds), so unweighted shifts are biased.
    cluster_sd : float
        Standard deviation of PSU effects (logit scale).
    clusters : int
        PSUs per country.
    confounding : float
        Log odds ratio of an unobserved binary trait with the first attribute, and its effect on the answer.
    age : float
        Log odds of the first attribute's treated level, and effect on the answer, of one standard deviation of age;
        where it is not 0, ``data`` holds ``age`` in years and the study declares it as a covariate.
    granularity : str or sequence
        As in the study file; the truth is given at each.
    design : bool
        Declare ``psu`` in the study.
    seed : int
        Seed of `numpy.random.default_rng`; the population depends on it, not on ``respondents``.
    """
    rng = np.random.default_rng(seed)
    sizes = [options] * questions if isinstance(options, int) else list(options)
    weighted, psu = selection != 0, design
    study = make_study(attributes, sizes, granularity, weighted, psu, age != 0)
    ages = AGES if age else AGES[:1]
    joint = make_joint(rng, countries, attributes, correlation, confounding, ages, age)
    population = Population(
        study,
        tuple(f"C{i:02d}" for i in range(1, countries + 1)),
        joint,
        make_selection(joint, attributes, selection),
        make_predictor(
            rng,
            joint,
            len(sizes),
            family,
            (question_sd, country_sd, context_sd),
            (confounding, selection),
            ages,
            age,
        ),
        make_thresholds(rng, sizes),
        cluster_sd,
        clusters,
        ages,
    )
    return observe(population, respondents, rng)


def observe(population: Population, respondents: int, rng: np.random.Generator) -> Simulated:
    """Sample respondents from each country of a population and set the truth beside them."""
    return Simulated(
        draw(population, respondents, rng),
        population.study,
        true_distributions(population),
        true_effects(population),
        population,
    )


def draw(population: Population, respondents: int, rng: np.random.Generator) -> pd.DataFrame:
    """Draw respondents, ``respondents`` in each country, with replacement.

    Returns
    -------
    DataFrame
        See `Simulated.data`. Weights are inverse selection probabilities, with mean 1 in each country.
    """
    return pd.concat(
        [_draw_country(population, i, respondents, rng) for i in range(len(population.countries))], ignore_index=True
    )


def _draw_country(population: Population, country: int, n: int, rng: np.random.Generator) -> pd.DataFrame:
    chances = population.joint[country] * population.selection[country]
    shape = chances.shape
    cell = rng.choice(chances.size, n, p=chances.ravel() / chances.sum())
    place = np.unravel_index(cell, shape)
    psu = rng.integers(0, population.clusters, n)
    cuts = population.cuts[country]
    questions = len(cuts)
    home = rng.normal(0, 1, (population.clusters, questions)) * population.cluster_sd
    predictor = population.predictor[country].reshape(questions, -1)[:, cell].T + home[psu]
    below = expit(cuts - predictor[..., None])
    answers = 1 + (rng.random((n, questions, 1)) > below).sum(axis=-1)
    weight = 1 / population.selection[country][place]
    names = list(population.study.attributes)
    columns: dict[str, object] = {"country": population.countries[country]}
    columns |= {name: place[i] for i, name in enumerate(names)}
    columns |= {name: answers[:, i] for i, name in enumerate(population.study.questions)}
    columns |= {"age": population.ages[place[-1]]} if population.study.covariates else {}
    return pd.DataFrame(columns | {"weight": weight / weight.mean(), "psu": country * population.clusters + psu})


def true_distributions(population: Population) -> pd.DataFrame:
    """Return the population's distributions table at the study's granularities."""
    answers = _answers(population)
    grids = [_grid(population, answers, population.joint, subset) for subset in subsets(population.study)]
    return distributions_table(grids, population.study, population.countries)


def true_effects(population: Population) -> pd.DataFrame:
    """Return the population's effects table with the interventional shifts; see `Simulated.effects`."""
    study, answers = population.study, _answers(population)
    named = [subset for subset in subsets(study) if subset]
    grids = [_grid(population, answers, population.joint, subset) for subset in named]
    table = model_effects(grids, study, population.countries)
    table["estimator"] = "truth"
    table["shift_do"] = np.concatenate([_interventional(population, answers, subset) for subset in named])
    return table


def _answers(population: Population) -> np.ndarray:
    """Probabilities of the options, shape (countries, 2 ..., 2, 2, ages, questions, K), averaged over clusters."""
    predictor = np.moveaxis(population.predictor, 1, -1)[..., None]
    cuts = np.expand_dims(population.cuts, tuple(range(1, predictor.ndim - 2)))
    if population.cluster_sd == 0:
        below = expit(cuts - predictor)
    else:
        shares = _NODE_WEIGHTS / _NODE_WEIGHTS.sum()
        below = sum(
            share * expit(cuts - predictor - population.cluster_sd * node)
            for node, share in zip(_NODES, shares, strict=True)
        )
    edge = np.ones((*below.shape[:-1], 1))
    return np.diff(np.concatenate([0 * edge, below, edge], axis=-1), axis=-1)


def _grid(population: Population, answers: np.ndarray, joint: np.ndarray, subset: Sequence[str]) -> Grid:
    """Average the answers over everything that is not specified, in the proportions of ``joint``."""
    names = list(population.study.attributes)
    gone = (
        *(1 + i for i, name in enumerate(names) if name not in subset),
        len(names) + 1,
        len(names) + 2,
        len(names) + 3,
    )
    total = joint.sum(axis=gone)
    p = (joint[..., None, None] * answers).sum(axis=gone) / total[..., None, None]
    nobody = np.full(p.shape[:-1], np.nan)
    return Grid(tuple(subset), p, np.zeros_like(p), nobody, nobody)


def _interventional(population: Population, answers: np.ndarray, subset: Sequence[str]) -> np.ndarray:
    """Shift of each toggle of a subset if the attribute is set: the others keep their distribution given Z."""
    names = list(population.study.attributes)
    shifts = []
    for attribute in subset:
        axis = 1 + names.index(attribute)
        cut = np.repeat(population.joint.sum(axis=axis, keepdims=True), 2, axis=axis)
        grid = _grid(population, answers, cut, subset)
        rows = model_effects([grid], population.study, population.countries)
        shifts.append(rows.loc[rows["attribute"] == attribute, "shift"].to_numpy(dtype=float))
    return np.concatenate(shifts)

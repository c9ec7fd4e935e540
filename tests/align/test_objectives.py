from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy, wasserstein_distance

from align.objectives import alignment_score, anchor, cdf_shift, effect, level_kl, level_w1, wasserstein

# Two toggles, K = 3. Worked by hand in the comments.
M0 = torch.tensor([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]])
M1 = torch.tensor([[0.2, 0.3, 0.5], [0.2, 0.2, 0.6]])
D0 = torch.tensor([[0.4, 0.4, 0.2], [0.1, 0.6, 0.3]])
D1 = torch.tensor([[0.3, 0.3, 0.4], [0.3, 0.5, 0.2]])
EQUAL = torch.ones(2)
UNEQUAL = torch.tensor([3.0, 1.0])


def test_cdf_shift():
    # effect of toggle 1: (-.3, 0, .3), cumulated (-.3, -.3, 0)
    torch.testing.assert_close(cdf_shift(M1 - M0), torch.tensor([[-0.3, -0.3, 0.0], [0.0, 0.0, 0.0]]))


def test_effect_is_the_mean_over_levels_and_toggles():
    # survey's CDF shifts: (-.1, -.2, 0) and (.2, .1, 0)
    # differences: (-.2, -.1, 0) mean abs .1; (-.2, -.1, 0) mean abs .1; mean of the two .1
    torch.testing.assert_close(effect(M0, M1, D1 - D0, EQUAL), torch.tensor(0.1))
    # one toggle at a time: a model without any effect against (.2, .1, 0) is (.2 + .1 + 0) / 3
    torch.testing.assert_close(effect(M0[1:], M1[1:], (D1 - D0)[1:], EQUAL[1:]), torch.tensor(0.1))


def test_effect_weighs_toggles():
    # a model without effects: toggle 1 (.1 + .2) / 3 = .1, toggle 2 (.2 + .1) / 3 = .1; a survey whose second
    # toggle has no effect either: .1 and 0, so (3 * .1 + 1 * 0) / 4 = .075
    still = torch.stack([(D1 - D0)[0], torch.zeros(3)])
    torch.testing.assert_close(effect(M0, M0, still, UNEQUAL), torch.tensor(0.075))
    torch.testing.assert_close(effect(M0, M0, still, UNEQUAL * 10), torch.tensor(0.075))


def test_effect_of_reversed_toggles_is_the_same():
    torch.testing.assert_close(effect(M0, M1, D1 - D0, UNEQUAL), effect(M1, M0, D0 - D1, UNEQUAL))


def test_anchor_is_the_modal_options_log_probability_at_both_ends():
    # toggle 1: mode of D0 is option 1 (the first of a tie), of D1 option 3: -log .5 - log .5
    # toggle 2: mode of D0 and D1 is option 2: -log .2 - log .2
    first, second = 2 * math.log(2), 2 * math.log(5)
    torch.testing.assert_close(anchor(M0.log(), M1.log(), D0, D1, EQUAL), torch.tensor((first + second) / 2))
    torch.testing.assert_close(anchor(M0.log(), M1.log(), D0, D1, UNEQUAL), torch.tensor((3 * first + second) / 4))


def test_level_kl_runs_from_the_survey_to_the_model():
    # toggle 1, reference: survey (.5, .5, 0), model (.25, .5, .25): .5 log 2 + .5 log 1 + 0 = .5 log 2
    # toggle 1, treated: equal, 0. Toggle 2: survey all on option 3, model .25 there, at both ends: log 4
    q = torch.tensor([[0.25, 0.5, 0.25], [0.5, 0.25, 0.25]])
    p0 = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    p1 = torch.tensor([[0.25, 0.5, 0.25], [0.0, 0.0, 1.0]])
    first, second = 0.25 * math.log(2), math.log(4)
    torch.testing.assert_close(level_kl(q.log(), q.log(), p0, p1, EQUAL), torch.tensor((first + second) / 2))
    torch.testing.assert_close(level_kl(q.log(), q.log(), p0, p1, UNEQUAL), torch.tensor((3 * first + second) / 4))


def test_level_kl_has_a_gradient_where_nobody_chose_an_option():
    logits = torch.zeros(1, 3, requires_grad=True)
    p = torch.tensor([[1.0, 0.0, 0.0]])
    level_kl(logits.log_softmax(-1), logits.log_softmax(-1), p, p, torch.ones(1)).backward()
    # of cross-entropy: softmax - p
    torch.testing.assert_close(logits.grad, torch.tensor([[-2 / 3, 1 / 3, 1 / 3]]))


def test_level_w1_is_the_distance_on_the_scale_over_its_length():
    # toggle 1: CDFs (.5, .8) and (.4, .8): .1; (.2, .5) and (.3, .6): .2; halves of 2 steps: mean .075
    # toggle 2: CDFs (.2, .4) and (.1, .7): .4; (.2, .4) and (.3, .8): .5; mean .225
    torch.testing.assert_close(level_w1(M0.log(), M1.log(), D0, D1, EQUAL), torch.tensor(0.15))
    torch.testing.assert_close(level_w1(M0.log(), M1.log(), D0, D1, UNEQUAL), torch.tensor(0.1125))


def test_alignment_score():
    p = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.2, 0.3, 0.5]])
    q = torch.tensor([[0.0, 0.0, 1.0], [0.5, 0.5, 0.0], [0.2, 0.3, 0.5]])
    # W1 is 2, .5 and 0 steps of at most 2
    torch.testing.assert_close(alignment_score(p, q), torch.tensor([0.0, 75.0, 100.0]))


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 11), st.integers(1, 6), st.integers(0, 10**6))
def test_any_number_of_options_and_toggles(options, toggles, seed):
    """Against scipy's Wasserstein distance and relative entropy."""
    p0, p1, q0, q1 = np.random.default_rng(seed).dirichlet(np.ones(options), (4, toggles))
    tensors = [torch.as_tensor(values) for values in (np.log(q0), np.log(q1), p0, p1)]
    at, ones = np.arange(options), torch.ones(toggles, dtype=torch.float64)
    pairs = [*zip(p0, q0, strict=True), *zip(p1, q1, strict=True)]
    apart = [wasserstein_distance(at, at, p, q) / (options - 1) for p, q in pairs]
    assert level_w1(*tensors, ones).item() == pytest.approx(np.mean(apart), abs=1e-12)
    assert level_kl(*tensors, ones).item() == pytest.approx(np.mean([entropy(p, q) for p, q in pairs]), abs=1e-12)
    assert wasserstein(torch.as_tensor(p0), torch.as_tensor(p0)).abs().max().item() == 0

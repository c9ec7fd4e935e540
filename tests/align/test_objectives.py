from __future__ import annotations

import math

import torch

from align.objectives import ace, alignment_score, anchor, cdf_shift, effect

# Two toggles, K = 3. Worked by hand in the comments.
M0 = torch.tensor([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]])
M1 = torch.tensor([[0.2, 0.3, 0.5], [0.2, 0.2, 0.6]])
D0 = torch.tensor([[0.4, 0.4, 0.2], [0.1, 0.6, 0.3]])
D1 = torch.tensor([[0.3, 0.3, 0.4], [0.3, 0.5, 0.2]])


def test_cdf_shift():
    # effect of toggle 1: (-.3, 0, .3), cumulated (-.3, -.3, 0)
    torch.testing.assert_close(cdf_shift(M0, M1), torch.tensor([[-0.3, -0.3, 0.0], [0.0, 0.0, 0.0]]))


def test_effect_is_the_mean_over_levels_and_toggles():
    # survey's CDF shifts: (-.1, -.2, 0) and (.2, .1, 0)
    # differences: (-.2, -.1, 0) mean abs .1; (-.2, -.1, 0) mean abs .1; mean of the two .1
    torch.testing.assert_close(effect(M0, M1, D0, D1), torch.tensor(0.1))
    # one toggle at a time: a model without any effect against (.2, .1, 0) is (.2 + .1 + 0) / 3
    torch.testing.assert_close(effect(M0[1:], M1[1:], D0[1:], D1[1:]), torch.tensor(0.1))


def test_effect_of_reversed_toggles_is_the_same():
    torch.testing.assert_close(effect(M0, M1, D0, D1), effect(M1, M0, D1, D0))


def test_anchor_is_the_modal_options_log_probability_at_both_ends():
    # toggle 1: mode of D0 is option 1 (the first of a tie), of D1 option 3: -log .5 - log .5
    # toggle 2: mode of D0 and D1 is option 2: -log .2 - log .2
    expected = (2 * math.log(2) + 2 * math.log(5)) / 2
    torch.testing.assert_close(anchor(M0.log(), M1.log(), D0, D1), torch.tensor(expected))


def test_total_weighs_both():
    expected = 0.5 * (math.log(2) + math.log(5)) + 3 * 0.1
    torch.testing.assert_close(ace(M0.log(), M1.log(), D0, D1, 0.5, 3.0), torch.tensor(expected))


def test_alignment_score():
    p = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.2, 0.3, 0.5]])
    q = torch.tensor([[0.0, 0.0, 1.0], [0.5, 0.5, 0.0], [0.2, 0.3, 0.5]])
    # W1 is 2, .5 and 0 steps of at most 2
    torch.testing.assert_close(alignment_score(p, q), torch.tensor([0.0, 75.0, 100.0]))

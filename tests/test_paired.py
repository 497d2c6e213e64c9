"""Paired tests: signs, ends, corrections."""

import math

import numpy as np
import pytest

from ltjax import paired


def by_number(values):
    return dict(enumerate(values))


def test_a_known_pair():
    # Differences 1, 2, 3: mean 2, sd 1, so t = 2 sqrt(3) with two degrees of freedom.
    found = paired.compare(by_number([2.0, 4.0, 6.0]), by_number([1.0, 2.0, 3.0]))
    assert found.difference == pytest.approx(2)
    assert found.t == pytest.approx(2 * math.sqrt(3))
    assert found.p == pytest.approx(0.0742, abs=1e-4)
    assert (found.low, found.high) == pytest.approx((2 - 2.484, 2 + 2.484), abs=1e-3)
    assert found.wilcoxon_p == pytest.approx(0.25)
    assert found.n == 3


def test_the_sign_is_that_of_the_first_and_the_order_of_replicates_does_not_matter():
    a, b = {0: 0.7, 1: 0.9, 2: 0.8}, {2: 0.75, 0: 0.72, 1: 0.8, 5: 1.0}
    forth, back = paired.compare(a, b), paired.compare(b, a)
    assert forth.difference == -back.difference == pytest.approx(np.mean([-0.02, 0.1, 0.05]))
    assert forth.t == pytest.approx(-back.t)
    assert forth.p == pytest.approx(back.p)


def test_few_or_equal_pairs():
    assert paired.compare({0: 1.0}, {0: 2.0}) is None
    assert paired.compare({0: 1.0, 1: 2.0}, {2: 1.0}) is None
    same = paired.compare({0: 0.5, 1: 0.7}, {0: 0.5, 1: 0.7})
    assert (same.difference, same.p) == (0, 1)
    shifted = paired.compare({0: 0.5, 1: 0.75}, {0: 0.25, 1: 0.5})
    assert math.isnan(shifted.p)
    assert shifted.difference == 0.25


def test_equal_differences_tie_whatever_their_last_bits():
    a, b = by_number([0.3, 0.5, 0.9]), by_number([0.1, 0.7, 0.8])  # +.2, -.2, +.1
    assert paired.compare(a, b).wilcoxon_p == pytest.approx(
        paired.compare(by_number([2.0, -2.0, 1.0]), by_number([0.0] * 3)).wilcoxon_p
    )


def test_holm_by_hand():
    assert paired.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert paired.holm([0.5, 0.6]) == pytest.approx([1.0, 1.0])
    with_nan = paired.holm([0.02, math.nan])
    assert with_nan[0] == 0.02
    assert math.isnan(with_nan[1])


def test_the_papers_p_values_come_from_nine_degrees_of_freedom():
    # Table II of paper 000 at 75 % sparsity: t 2.27, p .0491 (reading 0.7).
    rng = np.random.default_rng(0)
    noise = rng.normal(size=10)
    noise = (noise - noise.mean()) / noise.std(ddof=1)
    gaps = noise + 2.27 / math.sqrt(10)
    found = paired.compare(by_number(gaps), by_number(np.zeros(10)))
    assert found.t == pytest.approx(2.27)
    assert found.p == pytest.approx(0.0491, abs=5e-4)  # t is rounded.

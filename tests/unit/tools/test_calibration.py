from __future__ import annotations

import numpy as np
import pytest

from tools.calibration import expected_calibration_error, reliability


def test_bins_hold_the_words_of_their_tenth() -> None:
    bins = reliability([(0.0, False), (0.1, True), (0.19, False), (1.0, True)])
    assert [part.words if part else 0 for part in bins] == [1, 2, 0, 0, 0, 0, 0, 0, 0, 1]
    assert bins[1] is not None
    assert (bins[1].mean_confidence, bins[1].right) == (pytest.approx(0.145), 0.5)
    error = expected_calibration_error(bins)
    assert error == pytest.approx((2 * 0.355) / 4)


def test_confidences_that_are_true_have_no_error() -> None:
    rng = np.random.default_rng(0)
    confidences = rng.uniform(size=20_000)
    honest = [(float(c), bool(rng.uniform() < c)) for c in confidences]
    boastful = [(float(c), bool(rng.uniform() < c / 2)) for c in confidences]
    assert expected_calibration_error(reliability(honest)) < 0.02
    assert expected_calibration_error(reliability(boastful)) == pytest.approx(0.25, abs=0.02)

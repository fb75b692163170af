"""What filters are compared with in `validation/filters.py`: that it is well formed, and the verdicts."""

import numpy as np
import pytest

from l96kit.baselines import METHODS
from l96kit.filters import LETKF, EnsembleFilter
from l96kit.localization import Localization
from l96kit.validation import filters, literature
from l96kit.validation._tuned_filters import MEMBERS, SYSTEMS


def test_there_is_a_file_for_each_paper_with_points():
    papers = list(literature.papers())
    points = [point for _, _, experiments in papers for _, own in experiments for point in own]
    assert all(about for _, about, _ in papers)
    assert len(points) >= 15
    for point in points:
        assert isinstance(point.method, (EnsembleFilter, *METHODS))
        assert 0 < point.tolerance <= 0.2 * point.expected + 0.01
    for _, _, experiments in papers:
        for setting, _ in experiments:
            assert setting.operator.sites == setting.model.sites


def test_there_is_a_score_for_each_size():
    for system in SYSTEMS.values():
        assert len(system.letkf) == len(system.ienks) == len(MEMBERS)


def test_the_verdict_leaves_out_what_diverged_and_says_so():
    found = filters.judged(np.array([0.2, 0.24, np.nan, 0.5, 0.22]), 0.2, 0.03)
    assert found == {"scores": [0.2, 0.24, None, 0.5, 0.22], "mean": pytest.approx(0.22), "diverged": 2, "within": True}
    assert not filters.judged(np.array([0.2, 0.24, np.nan, 0.5]), 0.2, 0.03)["within"]  # as many diverged
    assert not filters.judged(np.array([0.25]), 0.2, 0.03)["within"]
    nothing = filters.judged(np.array([np.nan]), 0.2, 0.03)
    assert (
        nothing["mean"] is None and not nothing["within"] and filters.shown(nothing["scores"], 0.2) == ("-", "1 of 1")
    )


def test_methods_are_named_with_their_tuning():
    named = filters.about(LETKF(7, 1.04, True, Localization(4.0)))
    assert named == "LETKF, members 7, inflation 1.04, rotation, radius 4"

"""Slips outside the derivatives are planted in what there is, and found."""

import numpy as np

from l96kit.validation import slips
from l96kit.validation._faults import file_of


def test_a_sample_is_drawn_from_all_files():
    places = {(path, name) for path in slips.TESTS for name in slips.functions(path)}
    assert {path for path, _ in places} == set(slips.TESTS)
    assert all((slips.CHECKOUT / "tests" / name).exists() for path in slips.TESTS for name in slips.tests_of(path))
    faults = slips.sample(12, np.random.default_rng(0))
    assert len({(fault.path, fault.function) for fault in faults} & places) == 12
    assert faults == slips.sample(12, np.random.default_rng(0))


def test_a_slip_is_caught_and_the_source_as_it_is_passes():
    right = file_of("scores.py").read_text()
    wrong = right.replace("ddof=1", "ddof=0")
    assert wrong != right
    assert "spread" in slips.caught_by("scores.py", wrong, ["test_scores.py"])
    assert slips.caught_by("scores.py", right, ["test_scores.py"]) is None

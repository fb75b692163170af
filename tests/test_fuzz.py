"""Hostile arguments, a sample of those in `validation/fuzz.py`; and that the fuzzer notices what it is there for."""

import numpy as np
import pytest

from l96kit import _arrays
from l96kit.validation import fuzz
from l96kit.validation._entries import Entry, entries
from l96kit.validation._public import missing


@pytest.fixture(scope="module")
def public(tmp_path_factory):
    return entries(tmp_path_factory.mktemp("fuzz"))


def test_every_public_name_is_fuzzed(public):
    assert missing(public) == ([], [])
    del public["scores.rmse"]
    assert missing({**public, "scores.gone": None}) == (["scores.rmse"], ["scores.gone"])


def test_hostile_arguments_are_refused_in_words_or_give_right_numbers(public, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where files land whose hostile names have no folder
    chosen = fuzz.drawn(public, 600, seed=1, slow=False)
    assert fuzz.run(public, chosen) == {}


def mean(x):
    """As a careful function takes it."""
    x = _arrays.real(x, "x")
    return x.mean(dtype=float) if x.size else 0.0


def changed(x):
    found = mean(x)
    if isinstance(x, np.ndarray) and x.flags.writeable and x.dtype == float:
        x *= 2
    return found


FAULTY = {
    "raw message": (lambda x: mean(x + 0), "raises TypeError"),
    "a mask that is lost": (lambda x: mean(np.ma.getdata(x)), "masked numbers are taken"),
    "integers that overflow": (lambda x: mean(x if np.asarray(x).dtype != np.uint8 else x * np.uint8(100)), "gives"),
    "an order that matters": (lambda x: mean(x) + mean(np.ravel(x, "K")[1:2]), "gives"),
    "an argument that changes": (changed, "the argument is changed"),
}


@pytest.mark.parametrize(("function", "words"), FAULTY.values(), ids=FAULTY)
def test_the_fuzzer_finds_faults(function, words):
    good = {"x": np.arange(6.0).reshape(2, 3)}
    sound, faulty = {"mean": Entry(mean, good)}, {"mean": Entry(function, good)}
    assert fuzz.run(sound, fuzz.cases(sound)) == {}
    assert any(wrong.startswith(words) for wrong in fuzz.run(faulty, fuzz.cases(faulty)).values())


def test_the_fuzzer_ends_what_does_not(monkeypatch):
    monkeypatch.setattr(fuzz, "SECONDS", 1)

    def endless(x):
        while x is None:
            pass

    public = {"endless": Entry(endless, {"x": 1.0})}
    assert fuzz.fault(public, fuzz.Case("endless", "x", "junk", "None")).startswith("takes more than 1 seconds")

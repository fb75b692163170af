"""What the border does with values that nobody meant: every public function is called with hostile arguments.

    python -m l96kit.validation.fuzz [--calls 20000] [--seed 0] [--only NAME]

One argument at a time is replaced, in all of `_entries.entries`, by one of `_hostile`. A call fails that

- raises anything but an exception of ours: "NAME: expected ..., found ...";
- takes masked numbers;
- gives another result than for the same numbers in a plain array of double precision;
- changes its arguments, or does not end.

The exit status is the verdict: 0 if no call failed.
"""

import argparse
import contextlib
import copy
import dataclasses
import io
import os
import re
import signal
import sys
import tempfile
import threading
import warnings
from typing import NamedTuple

import numpy as np

from l96kit._progress import progress_bar
from l96kit.validation import _hostile
from l96kit.validation._entries import entries
from l96kit.validation._public import missing

CALLS = 20_000
SECONDS = 120  # that one call may take; the first ones compile
OURS = re.compile(r"expected .*found ", re.DOTALL)
RAISED = (TypeError, ValueError, IndexError, ArithmeticError, MemoryError, OSError, AssertionError)
WIDE = {"float32": 1e-4, "float16": 1e-4, "broadcast": 1e-9}  # by the precision in which a result may be
CLOSE = 1e-12
MASKS_ARE_WHITE = "plots."


KINDS = {"form": _hostile.forms, "masked": _hostile.masked, "junk": _hostile.junk}


class Case(NamedTuple):
    """One call: which argument of which entry is replaced, and by what."""

    entry: str
    argument: str
    kind: str  # of KINDS
    label: str


class Endless(BaseException):
    """A call did not end."""


def cases(public, slow=True):
    """All calls there are."""
    with _quiet():
        return list(_cases(public, slow))


def _cases(public, slow):
    return (
        Case(name, argument, kind, label)
        for name, entry in public.items()
        if slow or not entry.slow
        for argument, good in entry.good.items()
        for kind, values in KINDS.items()
        for label in values(good)
    )


def drawn(public, calls, seed, slow=True):
    """So many of them, each entry as often as it has arguments."""
    every = cases(public, slow)
    chosen = np.random.default_rng(seed).permutation(len(every))[:calls]
    return [every[index] for index in np.sort(chosen)]


def fault(public, case):
    """What is wrong with a call, in words; None if nothing is."""
    entry = public[case.entry]
    good = entry.good[case.argument]
    with _quiet():
        value = KINDS[case.kind](good)[case.label]
    given = {name: other.copy() if isinstance(other, np.ndarray) else other for name, other in entry.good.items()}
    before = copy.deepcopy(value) if isinstance(value, np.ndarray) and value.dtype.kind != "O" else None
    found, problem = _called(entry.call, {**given, case.argument: value})
    if problem is not None:
        of_a_users_function = callable(good) and callable(value)
        return None if of_a_users_function else _fault_of(problem)
    if case.kind == "masked":
        return None if case.entry.startswith(MASKS_ARE_WHITE) else "masked numbers are taken for numbers"
    if before is not None and case.argument != "out" and not _same(value, before, 0):
        return "the argument is changed"
    if case.argument == "out" or case.argument in entry.lists:
        return None
    plain = _plain(value, whole=np.asarray(good).dtype.kind in "iu")
    if plain is None:
        return None
    expected, problem = _called(entry.call, {**given, case.argument: plain})
    if problem is not None:
        return f"is taken, but a plain array of the same numbers is not: {problem!r:.150}"
    if not _same(found, expected, WIDE.get(case.label, CLOSE)):
        return f"gives {_shown(found)} and not {_shown(expected)}, as a plain array does"
    return None


def _called(call, given):
    """The result of a call as plain numbers, or what it raised."""
    try:
        with _alarm(), _quiet():
            return _numbers(call(**given)), None
    except (Exception, Endless) as problem:
        return None, problem


def _fault_of(problem):
    if isinstance(problem, Endless):
        return f"takes more than {SECONDS} seconds"
    message = str(problem)
    if not isinstance(problem, RAISED) or not OURS.search(message):
        return f"raises {type(problem).__name__}: {message[:150]}"
    return None


@contextlib.contextmanager
def _quiet():
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _alarm():
    """Raise `Endless` in a call that does not end, where the system can."""
    if not hasattr(signal, "SIGALRM") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_):
        raise Endless

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _plain(value, whole):
    """The same numbers as NumPy has them by default, None if there are none. One that is whole stays so, and so do
    arrays that are to be `whole`."""
    if isinstance(value, (dict, set, str, bytes, range, type(None))) or callable(value):
        return None
    try:
        with _quiet():
            found = np.asarray(value)
            if found.dtype.kind == "O":
                found = np.array(found.tolist())
    except Exception:
        return None
    if found.dtype.kind in "iu" and not found.ndim:
        return int(found)
    if found.dtype.kind not in "fiu":
        return None
    plain = np.array(found, np.int64 if whole and found.dtype.kind in "iu" else float, order="C")
    return plain if plain.ndim else float(plain)


def _numbers(found):
    """All numbers and names in a result, as nested lists and dicts of arrays."""
    if isinstance(found, np.ndarray):
        return np.array(found)
    if isinstance(found, (bool, int, float, str, np.generic, type(None))):
        return found
    if isinstance(found, dict):
        return {str(name): _numbers(value) for name, value in found.items()}
    if isinstance(found, (list, tuple)):
        return [_numbers(value) for value in found]
    if dataclasses.is_dataclass(found) and type(found).__module__.startswith("l96kit."):
        return {field.name: _numbers(getattr(found, field.name)) for field in dataclasses.fields(found)}
    return type(found).__name__


def _same(one, other, tolerance):
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name], tolerance) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(_same(*pair, tolerance) for pair in zip(one, other))
    if isinstance(one, (str, type(None))) or isinstance(other, (str, type(None))):
        return one == other
    one, other = np.asarray(one), np.asarray(other)
    if one.shape != other.shape:
        return False
    if one.dtype.kind not in "fiub" or other.dtype.kind not in "fiub":
        return one.dtype.kind == other.dtype.kind and bool((one == other).all())
    one, other = one.astype(float), other.astype(float)
    scale = np.max(np.abs(other[np.isfinite(other)]), initial=np.finfo(float).tiny)
    return bool(np.allclose(one, other, rtol=tolerance, atol=tolerance * scale, equal_nan=True))


def _shown(found):
    return " ".join(repr(found)[:70].split())


def run(public, chosen, progress=False):
    """The faults of calls: dict of case -> words."""
    found = {}
    with progress_bar(len(chosen), "calls", progress, "fuzz") as bar:
        for case in chosen:
            wrong = fault(public, case)
            if wrong is not None:
                found[case] = wrong
            bar.update()
    return found


@contextlib.contextmanager
def _working_in(folder):
    """Where files land whose hostile names have no folder."""
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=CALLS, help="how many, of all that there are")
    parser.add_argument("--seed", type=int, default=0, help="which")
    parser.add_argument("--only", default="", help="entries whose names contain this")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, _working_in(folder):
        public = entries(folder)
        without, gone = missing(public)
        public = {name: entry for name, entry in public.items() if options.only in name}
        chosen = drawn(public, options.calls, options.seed)
        found = run(public, chosen, progress=True)
    for name in without:
        print(f"{name}: public, but without an entry in validation/_entries.py")
    for name in gone:
        print(f"{name}: has an entry, but is not public")
    for case, wrong in found.items():
        print(f"{case.entry}({case.argument}={case.kind} {case.label!r}) {wrong}")
    print(f"{len(chosen):,} calls of {len(public)} functions, {len(found)} of them wrong")
    return 1 if found or without or gone else 0


if __name__ == "__main__":
    sys.exit(main())

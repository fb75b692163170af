"""Long work is done in turns of about a third of a second: then Ctrl-C is heard, and a bar moves.

One rule for bars: `progress=True` shows one where a person sees it, on a terminal or in a notebook, as soon as the work
has taken half a second. In a pipe, in a log or without it nothing is written.
"""

import time
from contextlib import contextmanager

from l96kit import _arrays
from l96kit.kernels.launch import is_watched

LARGE = 10_000  # units, of which a bar counts thousands
TURN = 0.3  # seconds
GROWTH = 4  # of a turn beyond the one before, at most


class _Silent:
    def update(self, count=1):
        pass

    def set_postfix(self, **values):
        pass

    def unpause(self):
        pass


@contextmanager
def progress_bar(total, unit, wanted=True, label=None):
    """A bar of `total` units, None if nobody knows, if it is wanted and somebody sees it."""
    if not (_arrays.flag(wanted, "progress", "True shows a bar") and is_watched()):
        yield _Silent()
        return
    from tqdm import tqdm

    scaled = total is not None and total >= LARGE
    with tqdm(total=total, unit=unit, desc=label, delay=0.5, unit_scale=scaled, dynamic_ncols=True) as bar:
        yield bar


class Pace:
    """How many `units` of a work fit into a turn: at first a guess, then as the turns before were.

    What a unit takes depends on the model, the machine and who else works there; results must not depend on it.
    """

    def __init__(self, units=1):
        self.units = max(1, int(units))

    @contextmanager
    def turn(self, units):
        """Measure a turn of so many."""
        started = time.monotonic()
        yield
        took = time.monotonic() - started
        fitting = int(units * TURN / max(took, 1e-9))
        if took > TURN:
            self.units = max(1, fitting)
        else:  # one that was cut short tells little
            self.units = max(self.units, min(fitting, GROWTH * self.units))


def turns(total, units=1, most=None):
    """Slices of a work of `total` units, one after the other, each to be done in a turn; the first has `units`."""
    pace, done = Pace(units), 0
    while done < total:
        now = slice(done, min(done + min(pace.units, most or total), total))
        with pace.turn(now.stop - now.start):
            yield now
        done = now.stop

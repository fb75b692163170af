"""Progress bars: tqdm on a terminal, silence elsewhere."""

import sys
from contextlib import contextmanager


class _Silent:
    def update(self, count=1):
        pass

    def set_postfix(self, **values):
        pass


@contextmanager
def progress_bar(total, unit, wanted=True, label=None):
    """A bar of `total` units; it appears after half a second, only on a terminal, and only if it is wanted."""
    if not wanted or not sys.stderr.isatty():
        yield _Silent()
        return
    from tqdm import tqdm

    with tqdm(total=total, unit=unit, desc=label, delay=0.5, unit_scale=True, dynamic_ncols=True) as bar:
        yield bar

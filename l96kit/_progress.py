"""Progress bars by tqdm: on a terminal and in a notebook, and a line now and then in a log."""

from contextlib import contextmanager

from l96kit.kernels.launch import is_watched

LARGE = 10_000  # units, of which a bar counts thousands
IN_A_LOG = 30.0  # seconds before the first line, and between two


class _Silent:
    def update(self, count=1):
        pass

    def set_postfix(self, **values):
        pass

    def unpause(self):
        pass


@contextmanager
def progress_bar(total, unit, wanted=True, label=None):
    """A bar of `total` units, if it is wanted; it appears after half a second, in a log after half a minute."""
    if not wanted:
        yield _Silent()
        return
    from tqdm import tqdm

    delay, between = (0.5, 0.1) if is_watched() else (IN_A_LOG, IN_A_LOG)
    options = {"delay": delay, "mininterval": between, "unit_scale": total >= LARGE, "dynamic_ncols": True}
    with tqdm(total=total, unit=unit, desc=label, **options) as bar:
        yield bar

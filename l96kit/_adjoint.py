"""The adjoint of a run: back through a window, of which only so many states are kept at once as a cache holds."""

import numpy as np

from l96kit import _arrays
from l96kit.checkpoints import reverse_in_segments
from l96kit.kernels import launch as kernels

CACHE_BYTES = 32 * 2**20  # of states that an adjoint is linearised about; beyond, to compute them again is faster
PIECE = 100_000_000  # site-steps that an adjoint goes back in one call, under a second
MOST_KEPT = 1024  # states within an interval


class AdjointRun:
    """Adds up what comes back to the start of a run, x_ad (member, site), and to its parameters, p_ad.

    A window is cut into parts, for each of which its cost is asked. If the states of a part are too many for a cache it
    is cut into segments, and so is an interval between stored times. The bits are the same however it is cut.
    """

    def __init__(self, propagator, x, every, forcing, part, checkpoints, weights, bar):
        """`forcing` is the derivative y_ad (time, member, site) of a cost with respect to all states, or a function
        (y, t) -> y_ad that is asked for one part of about `part` steps after another; None takes as many as a cache
        holds. `checkpoints` is how many states may be kept, None for all that are needed."""
        self.run, self.every, self.forcing, self.checkpoints, self.bar = propagator, every, forcing, checkpoints, bar
        self.shape, self.start = x.shape, _arrays.members(x)
        self.p, kernel = propagator._parameters(x), propagator.model.kernel
        bytes_of_step = kernels.tape_bytes(kernel, *self.start.shape, x.dtype)
        at_once = min(CACHE_BYTES // bytes_of_step, PIECE // (kernels.weight(kernel, self.p) * x.size))
        self.at_once = max(1, at_once if part is None else min(at_once, part))
        self.part = max(1, (self.at_once if part is None else part) // every)
        self.x_ad, device = np.zeros_like(self.start), propagator.device
        self.p_ad = kernels.zero_gradients(kernel, self.p, *self.start.shape, x.dtype, device, weights=weights)
        self.begun = False

    def through(self, intervals):
        """Back through the whole window."""
        self.intervals = intervals
        self._require_memory(intervals)
        reverse_in_segments(
            self.start, intervals, self.part, self.checkpoints, self._forward(self.every), self._through_part
        )

    def _require_memory(self, intervals):
        parts = -(-intervals // self.part)
        kept = parts if self.checkpoints is None else min(parts, self.checkpoints)
        wanted = kept * self.start.nbytes + 128 * parts
        _arrays.require_memory(wanted, "gradient", "keep fewer states with `checkpoints`, or take fewer steps")

    def _forward(self, every, begin=0):
        """What computes a later state again; times are `every` steps apart and begin at step `begin`."""

        def advance(state, first, last):
            ends = np.empty((2, *state.shape), state.dtype)
            steps = (last - first) * every
            for _ in self.run._run(state, self.p, ends, steps, self.shape, begin + first * every):
                pass
            return ends[1]

        return advance

    def _through_part(self, state, first, last):
        """Back from one stored time to another."""
        every, intervals, begin = self.every, last - first, first * self.every
        if intervals * every <= self.at_once:
            self._back(state, begin, every, intervals, lambda y: self._forcing(y, first, last))
            return
        y = None
        if callable(self.forcing):
            y = np.empty((intervals + 1, *state.shape), state.dtype)
            for _ in self.run._run(state, self.p, y, every, self.shape, begin):
                pass
        y_ad = self._forcing(y, first, last)
        if intervals == 1:
            self._through_interval(state, begin, every, y_ad)
            return

        def back(state, first, last):
            own = y_ad[first : last + 1].copy()
            if first > 0:
                own[0] = 0  # it belongs to the segment before
            if last - first == 1 and every > self.at_once:
                self._through_interval(state, begin + first * every, every, own)
            else:
                self._back(state, begin + first * every, every, last - first, lambda _: own)

        segment = max(1, self.at_once // every)
        reverse_in_segments(state, intervals, segment, None, lambda state, first, last: y[last], back)

    def _through_interval(self, state, begin, steps, y_ad):
        """Back through an interval too long for a tape; y_ad (2, member, site) at its ends."""

        def back(state, first, last):
            own = np.zeros_like(y_ad)
            if first == 0:
                own[0] = y_ad[0]
            if last == steps:
                own[1] = y_ad[1]
            if last - first > self.at_once:
                self._through_interval(state, begin + first, last - first, own)
            else:
                self._back(state, begin + first, last - first, 1, lambda _: own)

        segment = max(self.at_once, -(-steps // MOST_KEPT))
        reverse_in_segments(state, steps, segment, self.checkpoints, self._forward(1, begin), back)

    def _forcing(self, y, first, last):
        """(time, member, site), an array of its own if there is something to be added; the first state of a part is
        the last of the one before."""
        skipped = first > 0
        if callable(self.forcing):
            t = np.arange(first + skipped, last + 1) * self.every
            found = self.forcing(y[skipped:], t)
        else:
            found = self.forcing[first + skipped : last + 1]
        if skipped:
            return np.concatenate([np.zeros_like(found[:1]), found])
        return found.copy() if self.begun else found

    def _back(self, state, begin, every, intervals, forcing):
        """Forward from `state` at step `begin`, with all states on a tape, and back along it."""
        run, y = self.run, np.empty((intervals + 1, *state.shape), state.dtype)
        with kernels.tape(run.model.kernel, *state.shape, every * intervals, state.dtype) as tape:
            run._run_taped(state, self.p, y, every, tape, self.shape, begin)
            y_ad = forcing(y)
            if self.begun:
                y_ad[-1] += self.x_ad
                self.x_ad[...] = 0
            data = (tape, self.p, float(run.dt), every, y_ad, self.x_ad, self.p_ad)
            run._launch("trajectory_ad", data, 2, every * intervals)
        self.begun = True
        self.bar.update(every * intervals)

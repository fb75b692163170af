"""The samples that networks are trained on: pairs of a state and those that follow it in a trajectory."""

import numpy as np

from l96kit import _arrays
from l96kit.models import SMALLEST_RING


def as_list(trajectories, name):
    parts = list(trajectories) if isinstance(trajectories, (list, tuple)) else [trajectories]
    if not parts:
        raise ValueError(f"{name}: expected an array (time, ..., site) or a list of such, found an empty list")
    if any(isinstance(part, (list, tuple)) for part in parts):
        raise TypeError(
            f"{name}: expected an array (time, ..., site) or a list of such, found lists within a list, whose "
            "times nobody can tell; make arrays of them with np.asarray"
        )
    parts = [_arrays.floating(part, name) for part in parts]
    for part in parts:
        if part.ndim < 2:
            raise ValueError(f"{name}: expected shape (time, ..., site), found {part.shape}; pass whole trajectories")
        if 0 in part.shape:
            raise ValueError(f"{name}: expected times, members and sites, found shape {part.shape}; it is empty")
        if part.shape[-1] != parts[0].shape[-1]:
            raise ValueError(
                f"{name}: expected as many sites in all, found {parts[0].shape[-1]} and {part.shape[-1]}; train on one "
                "length at a time"
            )
        if part.dtype != parts[0].dtype:
            raise TypeError(f"{name}: expected one precision, found {parts[0].dtype} and {part.dtype}; convert one")
    return parts


def cut(part, fraction):
    """The first and the last times of a trajectory; the state at which it is cut belongs to both."""
    cut = len(part) - 1 - round(fraction * (len(part) - 1))
    return part[: cut + 1], part[cut:]


class Samples:
    """Pairs of a state and those that follow it, as the kernels want them.

    states (row, site) : all trajectories, one after the other
    rows (sample without regions,) : where the samples begin
    width : sites of a sample, halo included
    weight (lead, site) : of squared errors, which add up to one for each sample
    """

    def __init__(self, training, trajectories, name="trajectories"):
        parts = as_list(trajectories, name)
        self.dtype, sites, leads = parts[0].dtype, parts[0].shape[-1], training.rollout
        for part in parts:
            if len(part) <= leads:
                raise ValueError(
                    f"{name}: expected more than rollout = {leads} times, found {len(part)}; pass longer trajectories"
                )
        runs = [np.moveaxis(part.reshape(len(part), -1, sites), 0, 1) for part in parts]  # (member, time, site)
        self.states = _arrays.plain(np.concatenate([run.reshape(-1, sites) for run in runs]))
        _arrays.finite(self.states, name)
        if self.states.min() == self.states.max():
            raise ValueError(f"{name}: expected states that change, found the same number everywhere; check the data")
        lengths = [length for run in runs for length in [run.shape[1]] * run.shape[0]]
        ends = np.cumsum(lengths)
        self.rows = np.concatenate([np.arange(end - n, end - leads) for end, n in zip(ends, lengths)])
        left, right = training.halo
        inner = sites - left - right
        if not training.ring and inner < 1:
            raise ValueError(
                f"{name}: expected pieces of more than {left + right} sites, of which {left} to the left and {right} "
                f"to the right serve as input alone, found {sites}; pass longer pieces or take a smaller rollout"
            )
        region = training.region
        if region is not None and region > sites:
            raise ValueError(f"region: expected at most the {sites} sites of a state, found {region}; take a smaller")
        if not training.ring:
            region, self.starts, self.width = inner, np.zeros(1, np.int64), sites
        elif region is None or region + left + right >= sites:
            left, region, self.starts, self.width = 0, sites, np.zeros(1, np.int64), sites
        else:
            corners = np.minimum(np.arange(0, sites, region), sites - region)
            self.starts, self.width = (corners - left) % sites, left + region + right
        smallest = max(SMALLEST_RING, training.model.kernel.REACH)
        if self.width < smallest:
            raise ValueError(
                f"{name}: expected at least {smallest} sites for this network, found {self.width} in a sample; take "
                "longer rings or larger regions"
            )
        self.weight = np.zeros((leads, self.width), self.dtype)
        self.weight[:, left : left + region] = 1 / (leads * region)
        self.count = len(self.rows) * len(self.starts)

    def numbered(self, chosen):
        """Row and first site (..., 2) of samples."""
        row, region = np.divmod(chosen, len(self.starts))
        return np.stack([self.rows[row], self.starts[region]], axis=-1)

    def rollouts(self, chosen):
        """The states (lead, sample, site) of samples, the first at lead 0."""
        row, start = self.numbered(chosen).T
        leads = np.arange(len(self.weight) + 1)[:, None, None]
        sites = (start[:, None] + np.arange(self.width)) % self.states.shape[-1]
        return self.states[row[:, None] + leads, sites]


class Orders:
    """The order in which each seed goes through the samples: another permutation in each epoch."""

    def __init__(self, seeds, count, batch):
        self.seeds, self.count, self.batch = seeds, count, batch
        self._permutations = {}

    def minibatches(self, index, done, updates):
        """The samples (update, sample) of the updates after the first `done`."""
        per_epoch = self.count // self.batch
        found = []
        for epoch in range(done // per_epoch, (done + updates - 1) // per_epoch + 1):
            begin, end = max(done - epoch * per_epoch, 0), min(done + updates - epoch * per_epoch, per_epoch)
            order = self._permutation(index, epoch)
            found.append(order[begin * self.batch : end * self.batch].reshape(-1, self.batch))
        return np.concatenate(found)

    def _permutation(self, index, epoch):
        if self._permutations.get(index, (None, None))[0] != epoch:
            order = np.random.default_rng((self.seeds[index], epoch)).permutation(self.count)
            self._permutations[index] = epoch, order
        return self._permutations[index][1]

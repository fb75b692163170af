"""The part of `l96kit.validation.speed` that is about emulators: training, rollouts, Jacobians, 4D-Var."""

from typing import NamedTuple

import numpy as np

from l96kit.validation._emulator_contestants import OurEmulators, work_for
from l96kit.validation._timing import in_turn, row, summary


class Task(NamedTuple):
    """What is timed on both sides, and how many times faster than PyTorch we mean to be.

    `small` is the work after which both sides must have the same numbers, to within `agreement`.
    """

    label: str
    kind: str
    network: str
    work: dict
    small: dict
    agreement: float
    bar: float


SMALL_UPDATE, UPDATE = {"members": 32, "count": 3}, ", training update, batch 32, K = 40, RK4"
SMALL_ANALYSIS = {"members": 1, "count": 2, "window": 8}
ANALYSIS, FULL_ANALYSIS = ", 4D-Var, window of 64 steps, 20 iterations", {"members": 1, "count": 20, "window": 64}

TASKS = (
    Task("deepNet" + UPDATE, "update", "deepNet", {"members": 320, "count": 20}, SMALL_UPDATE, 1e-3, 1.6),
    Task(
        "deepNet, forward, 64 members x 20 steps",
        "forward",
        "deepNet",
        {"members": 64, "count": 20},
        {"members": 3, "count": 2},
        1e-5,
        2.8,
    ),
    Task("sqNet" + UPDATE, "update", "sqNet", {"members": 320, "count": 200}, SMALL_UPDATE, 1e-3, 15),
    Task("bilinNet" + UPDATE, "update", "bilinNet", {"members": 320, "count": 200}, SMALL_UPDATE, 1e-3, 15),
    Task(
        "deepNet, Jacobians of a step, 1,000 states",
        "jacobians",
        "deepNet",
        {"members": 1000, "count": 1},
        {"members": 3, "count": 1},
        1e-5,
        3,
    ),
    Task("deepNet" + ANALYSIS, "analysis", "deepNet", FULL_ANALYSIS, SMALL_ANALYSIS, 1e-2, 3),
    Task("sqNet" + ANALYSIS, "analysis", "sqNet", FULL_ANALYSIS, SMALL_ANALYSIS, 1e-2, 20),
)


def measure(peers, rounds):
    """Rows like those of `speed`."""
    ours, rows = OurEmulators(), []
    for task in TASKS:
        check_agreement(ours, peers, task)
        work = work_for(task.kind, task.network, **task.work)
        calls = [contestant.prepare(task.kind, task.network, work) for contestant in (ours, *peers)]
        calls[0]()
        seconds = in_turn(calls, rounds if task.kind in ("update", "forward") else 5, task.label)
        for peer, theirs in zip(peers, seconds[1:]):
            rows.append(
                row(
                    f"{task.label}, against {peer.name}",
                    theirs / seconds[0],
                    task.bar if peer.name == "PyTorch" else None,
                    seconds=summary(seconds[0] / task.work["count"]),
                    peer_seconds=summary(theirs / task.work["count"]),
                )
            )
    return rows


def check_agreement(ours, peers, task):
    work = work_for(task.kind, task.network, **task.small)
    mine = np.asarray(ours.prepare(task.kind, task.network, work)())
    for peer in peers:
        theirs = np.asarray(peer.prepare(task.kind, task.network, work)())
        error = np.abs(mine - theirs).max() / np.abs(mine).max()
        if not error <= task.agreement:
            raise ArithmeticError(
                f"{peer.name}, {task.label}: expected the same numbers as ours to {task.agreement:g}, found a "
                f"difference of {error:.2g}; one of the two does not compute what the other does"
            )

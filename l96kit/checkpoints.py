"""Going backwards through a window that is too long to keep: states are kept here and there and computed again."""

from itertools import pairwise


def reverse_in_segments(start, intervals, segment, checkpoints, advance, reverse):
    """Call reverse(state, first, last) for all segments of a window, the last one first.

    Parameters
    ----------
    start : the state at interval 0
    intervals, segment : how many intervals the window and a segment have
    checkpoints : how many states may wait at once; None keeps the start of every segment
    advance : (state, first, last) -> the state at interval `last`, from the one at `first`

    Source: Griewank & Walther (2000), by way of the package checkpoint-schedules.
    """
    bounds = [*range(0, intervals, segment), intervals]
    segments = list(pairwise(bounds)) if intervals else [(0, 0)]
    if len(segments) == 1:
        reverse(start, *segments[0])
        return
    if checkpoints is None or checkpoints >= len(segments):
        states = [start]
        for first, last in segments[:-1]:
            states.append(advance(states[-1], first, last))
        for first, last in reversed(segments):
            reverse(states.pop(), first, last)
        return
    _follow_schedule(start, segments, checkpoints, advance, reverse)


def _follow_schedule(start, segments, checkpoints, advance, reverse):
    from checkpoint_schedules import Copy, EndReverse, Forward, Move, MultistageCheckpointSchedule, Reverse

    kept, state = {}, start
    for action in MultistageCheckpointSchedule(len(segments), checkpoints, 0):
        if isinstance(action, Forward):
            if action.write_ics:
                kept[action.n0] = state
            if not action.write_adj_deps:  # otherwise the segment's own forward is part of its reverse
                for index in range(action.n0, action.n1):
                    state = advance(state, *segments[index])
        elif isinstance(action, Reverse):
            reverse(state, *segments[action.n0])
        elif isinstance(action, Move):
            state = kept.pop(action.n)
        elif isinstance(action, Copy):
            state = kept[action.n]
        elif isinstance(action, EndReverse):
            return

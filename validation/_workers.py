"""Work spread over processes, each with Numba to itself."""

import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from unittest import mock

from l96kit._progress import progress_bar


def run_all(function, tasks, label, unit="rows", environment=None):
    """[function(*task) for task in tasks], by as many processes as there are cores.

    `environment` is set before they start: Numba reads its settings when it is imported. `function` must be importable
    from its module, since the processes are new ones.
    """
    workers = max(1, min(os.cpu_count() or 1, len(tasks)))
    results = [None] * len(tasks)
    with (
        mock.patch.dict(os.environ, environment or {}),
        progress_bar(len(tasks), unit, label=label) as bar,
        ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool,
    ):
        waiting = {pool.submit(function, *task): index for index, task in enumerate(tasks)}
        for done in as_completed(waiting):
            results[waiting[done]] = done.result()
            bar.update(1)
    return results

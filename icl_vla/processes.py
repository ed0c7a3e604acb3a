"""Independent jobs over processes, their results in order."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")


def in_processes(
    work: Callable[..., T], jobs: Sequence[tuple[Any, ...]], workers: int
) -> Iterator[T]:
    """``work(*job)`` for every job, in order; in this process when one worker is enough.

    Processes are spawned, since a physics client must not be forked, and run BLAS on one thread:
    two processes' threads would fight over the cores. An interrupt reaches this process only; jobs
    that have begun are finished, the others dropped.
    """
    if workers <= 1 or len(jobs) <= 1:
        for job in jobs:
            yield work(*job)
        return
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    pool = ProcessPoolExecutor(
        min(workers, len(jobs)), mp_context=get_context("spawn"), initializer=_begin
    )
    try:
        futures = [pool.submit(work, *job) for job in jobs]
        for future in futures:
            yield future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        if before is None:
            os.environ.pop("OMP_NUM_THREADS", None)
        else:
            os.environ["OMP_NUM_THREADS"] = before


def spread(
    work: Callable[..., T], jobs: Sequence[tuple[Any, ...]], workers: int, ray: str | None
) -> Iterator[T]:
    """:func:`in_processes`, or, with a Ray cluster's address ("local" starts one), over machines.

    Raises:
        ReportedError: Ray is not installed, or does not answer.
    """
    if ray is None:
        yield from in_processes(work, jobs, workers)
    else:
        from .cluster import in_ray

        yield from in_ray(work, jobs, workers, ray)


def _begin() -> None:
    """Leave interrupts to the parent, and end with it even when it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)

"""Independent jobs over the machines of a Ray cluster, their results in order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from icl_vla_embodiments import ReportedError

T = TypeVar("T")


def in_ray(
    work: Callable[..., T], jobs: Sequence[tuple[Any, ...]], workers: int, address: str
) -> Iterator[T]:
    """``work(*job)`` for every job, in order.

    Paths in the jobs must lead to the same files on every machine: ``ICL_VLA_HOME`` on a shared
    folder. Jobs depend on nothing else, so the results are those of one machine.

    Args:
        work: A function of an importable module.
        jobs: Arguments of each call.
        workers: Jobs at a time on a local cluster; a running one decides for itself.
        address: As ``ray.init`` takes it; "local" starts a cluster on this machine.

    Raises:
        ReportedError: Ray is not installed, or no cluster answers.
    """
    try:
        import ray
    except ImportError as error:
        raise ReportedError(
            "Ray is not installed", value=address, remedy="pip install 'icl-vla[ray]'"
        ) from error
    quiet = {"log_to_driver": False, "runtime_env": {"env_vars": {"OMP_NUM_THREADS": "1"}}}
    home = os.environ.get("ICL_VLA_HOME")
    if home is not None:
        quiet["runtime_env"]["env_vars"]["ICL_VLA_HOME"] = home  # type: ignore[index]
    try:
        if address == "local":
            ray.init(num_cpus=workers, include_dashboard=False, **quiet)
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ReportedError(
            "no Ray cluster answers",
            value=address,
            remedy=f"start one: ray start --head ({error})",
        ) from error
    try:
        remote = ray.remote(work)
        for answer in [remote.remote(*job) for job in jobs]:
            result: T = ray.get(answer)
            yield result
    finally:
        ray.shutdown()

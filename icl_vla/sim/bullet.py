"""PyBullet without the banners that it prints on standard output when loaded and connected."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _quietly() -> Iterator[None]:
    """Send the C library's standard output and error nowhere."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(1), os.dup(2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        yield
    finally:
        if os.name == "posix":  # into a pipe C writes late: now, not when it is ours again
            ctypes.CDLL(None).fflush(None)
        for number, original in enumerate(saved, 1):
            os.dup2(original, number)
            os.close(original)
        os.close(nowhere)


with _quietly():
    import pybullet
    from pybullet_utils.bullet_client import BulletClient  # type: ignore[import-untyped]

__all__ = ["connect", "pybullet", "undamped"]


def connect() -> BulletClient:
    """A new physics client without a window."""
    with _quietly():
        return BulletClient(connection_mode=pybullet.DIRECT)


def undamped(client: BulletClient, body: int, friction: float) -> None:
    """Leave a body to its own dynamics: nothing damps it or bounces; it rubs by ``friction``."""
    for index in range(-1, client.getNumJoints(body)):
        client.changeDynamics(
            body,
            index,
            linearDamping=0,
            angularDamping=0,
            jointDamping=0,
            lateralFriction=friction,
            restitution=0,
        )

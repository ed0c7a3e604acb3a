"""What is trained before any test, by ``benchmarks/baselines.py``, and what all of it reads."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from icl_vla_embodiments import ReportedError
from icl_vla_embodiments.home import home
from icl_vla_embodiments.types import Array
from icl_vla_retrieval.text import TextEncoder

if TYPE_CHECKING:
    import torch

    from .networks import ChunkPolicy, Design

CAMERAS = 2  # of the recorded demonstrations


def weights_path(name: str) -> Path:
    """Where the weights of a trained baseline are."""
    return home() / "baselines" / f"{name}.safetensors"


def base_design() -> Design:
    """Of the multi-task network that fine-tuning starts from."""
    from .networks import Design

    return Design("pictures", "chunk", words=True, cameras=CAMERAS)


def make_network(name: str) -> ChunkPolicy:
    """A baseline's network before training: ``base``, ``ricl`` or ``instant``."""
    from .in_context import GraphPolicy, RetrievalTransformer
    from .networks import ChunkPolicy, Design

    if name == "ricl":
        return RetrievalTransformer(base_design())
    if name == "instant":
        return GraphPolicy(Design("tokens", "flow"))
    return ChunkPolicy(base_design())


def trained(name: str) -> ChunkPolicy:
    """A trained baseline; it is read once, and nobody may change it.

    Raises:
        ReportedError: It was never trained here.
    """
    path = weights_path(name)
    if not path.exists():
        raise ReportedError(
            f"the baseline {name!r} has not been trained here",
            where=path,
            remedy=f"python benchmarks/baselines.py {name} ROBOT",
        )
    return _loaded(name, path, path.stat().st_mtime_ns)


def weights_digest(name: str) -> str:
    """Hex digest of a baseline's weights; empty where it was never trained."""
    path = weights_path(name)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""


@lru_cache(maxsize=4)
def _loaded(name: str, path: Path, changed: int) -> ChunkPolicy:
    from .fitting import load

    network = make_network(name)
    load(network, path)
    return network


def check_cameras(design: Design, cameras: Sequence[str]) -> None:
    """Whether a network can read the pictures of these cameras.

    Raises:
        ReportedError: It was trained with another number of them.
    """
    if design.cameras != len(cameras):
        raise ReportedError(
            "this baseline was trained with another number of cameras",
            value=list(cameras),
            valid=[f"{design.cameras} cameras"],
            remedy="choose a rig with as many",
        )


def sentence(text: str) -> torch.Tensor:
    """An instruction's embedding ``(1, 384)``."""
    import torch

    return torch.as_tensor(np.array(_embedded(text)))[None].float()


@lru_cache(maxsize=1024)
def _embedded(text: str) -> Array:
    return np.asarray(_encoder()([text])[0])


@lru_cache(maxsize=1)
def _encoder() -> TextEncoder:
    return TextEncoder()

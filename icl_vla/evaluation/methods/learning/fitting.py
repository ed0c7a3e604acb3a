"""Training that gives the same weights each time, and the weights on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from icl_vla_embodiments.home import write_atomically

from .moments import Moments
from .networks import rows

Draw = Callable[[torch.Generator], Moments]
Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Schedule:
    """How long and how boldly is trained.

    Attributes:
        steps: Of the optimiser.
        rate: Highest learning rate.
        batch: Moments a step.
        blind: Whether the eyes are left as they are.
    """

    steps: int
    rate: float
    batch: int = 32
    blind: bool = False


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums in one order, so that the number of cores and of workers changes no bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def evenly(moments: Moments, batch: int) -> Draw:
    """Batches drawn from all moments alike."""
    count = len(moments["state"])
    return lambda generator: rows(moments, torch.randint(count, (batch,), generator=generator))


def fit(
    network: nn.Module,
    loss: Callable[[Moments], Tensor],
    draw: Draw,
    schedule: Schedule,
    seed: int,
    tell: Callable[[int, float], None] | None = None,
) -> None:
    """AdamW with warm-up and cosine, gradients clipped at 1.

    Args:
        network: Trained in place.
        loss: Of a batch.
        draw: The next batch.
        schedule: How long.
        seed: Of the batches, dropout and noise.
        tell: Called with each step and its loss.
    """
    steps, warm = schedule.steps, max(1, schedule.steps // 20)
    weights = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=schedule.rate, weight_decay=1e-3)
    rise = torch.optim.lr_scheduler.LinearLR(optimiser, 1 / warm, total_iters=warm)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(1, steps - warm))
    rate = torch.optim.lr_scheduler.SequentialLR(optimiser, [rise, fall], [warm])
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        network.train()
        for step in range(steps):
            optimiser.zero_grad()
            value = loss(draw(generator))
            value.backward()
            nn.utils.clip_grad_norm_(weights, 1.0)
            optimiser.step()
            rate.step()
            if tell is not None:
                tell(step, float(value.detach()))
        network.eval()


def seeded(make: Callable[[], Network], seed: int) -> Network:
    """A network with the same first weights each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def save(network: nn.Module, path: Path) -> None:
    """Write weights, whole or not at all."""
    from safetensors.torch import save as to_bytes

    write_atomically(path, to_bytes(dict(network.state_dict())))


def load(network: nn.Module, path: Path) -> None:
    """Read weights into a network of the same design."""
    from safetensors.torch import load as from_bytes

    network.load_state_dict(from_bytes(path.read_bytes()))
    network.eval()

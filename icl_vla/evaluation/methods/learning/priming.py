"""Training over many tasks: what a batch is made of, for each network that is trained before."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .augment import elsewhere
from .fitting import Draw, evenly
from .in_context import (
    DEMONSTRATIONS,
    NEIGHBOURS,
    GraphPolicy,
    RetrievalTransformer,
    nearby,
    waypoints,
)
from .moments import Moments, together
from .networks import ChunkPolicy, rows

Tasks = Sequence[Sequence[Moments]]
"""Demonstrations of each task."""


def flat(tasks: Tasks) -> Moments:
    """All moments of all tasks."""
    return together([m for task in tasks for m in task])


def draw_plain(tasks: Tasks, batch: int) -> Draw:
    """Moments of all tasks alike."""
    return evenly(flat(tasks), batch)


def draw_retrieved(network: RetrievalTransformer, tasks: Tasks, batch: int) -> Draw:
    """Moments with the nearest frames of the same task's other demonstrations.

    Sets the network's scale of keys and its largest distance, and leaves its eyes as they are.
    """
    assert network.eyes is not None
    network.eyes.requires_grad_(False)
    seen = [[network.perceive(m) for m in task] for task in tasks if len(task) > 1]
    every = flat(seen)
    network.key_scale.fill_(1.0)
    network.key_scale.copy_(network.keys(every).std(0).clamp_min(1e-4))
    index, nearest, begin = [], [], 0
    for task in seen:
        owner = torch.cat([torch.full((len(m["state"]),), i) for i, m in enumerate(task)])
        keys = network.keys(together(task))
        distance = torch.cdist(keys, keys).masked_fill(owner[:, None] == owner, torch.inf)
        least, at = distance.topk(NEIGHBOURS, largest=False)
        index.append(at + begin)
        nearest.append(least[:, 0])
        begin += len(owner)
    network.farthest.fill_(float(torch.cat(nearest).max()))
    indices, shares = torch.cat(index), torch.cat(nearest) / network.farthest

    def draw(generator: torch.Generator) -> Moments:
        chosen = torch.randint(len(shares), (batch,), generator=generator)
        return nearby(rows(every, chosen), every, indices[chosen], shares[chosen])

    return draw


def draw_shown(tasks: Tasks, batch: int) -> Draw:
    """Moments with waypoints of other demonstrations of the same task, drawn anew each time."""
    tasks = [task for task in tasks if len(task) > DEMONSTRATIONS]
    every = flat(tasks)
    ways = together([waypoints(m) for task in tasks for m in task])
    owner: list[torch.Tensor] = []
    first: list[torch.Tensor] = []
    count: list[torch.Tensor] = []
    for task in tasks:
        before = len(owner)
        for m in task:
            length = len(m["state"])
            owner.append(torch.full((length,), len(owner)))
            first.append(torch.full((length,), before))
            count.append(torch.full((length,), len(task)))
    of, begin, many = (torch.cat(x) for x in (owner, first, count))

    def draw(generator: torch.Generator) -> Moments:
        chosen = torch.randint(len(of), (batch,), generator=generator)
        order = torch.rand(batch, int(many.max()), generator=generator)
        at = torch.arange(order.shape[1])
        order[at >= many[chosen, None]] = torch.inf
        order.scatter_(1, (of - begin)[chosen, None], torch.inf)  # never the moment's own
        shown = begin[chosen, None] + order.argsort(1)[:, :DEMONSTRATIONS]
        return rows(every, chosen) | {name: x[shown] for name, x in ways.items()}

    return draw


def drawing(network: ChunkPolicy, tasks: Tasks, batch: int) -> Draw:
    """How a network's batches are drawn; what frozen eyes saw cannot be moved about."""
    if isinstance(network, RetrievalTransformer):
        return draw_retrieved(network, tasks, batch)
    if isinstance(network, GraphPolicy):
        return elsewhere(draw_shown(tasks, batch))
    return elsewhere(draw_plain(tasks, batch))

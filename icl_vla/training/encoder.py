"""Training of the network that sees (:mod:`icl_vla.perception.network`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from icl_vla_embodiments import ReportedError
from icl_vla_embodiments.home import write_atomically
from icl_vla_retrieval.text import TextEncoder

from ..perception.backbone import save_network
from ..perception.network import NetworkConfig, SceneNetwork, Seen
from .calibration import batches, pairs_between, scale_of
from .encoder_recipe import EncoderRecipe
from .views import Views, views

FEWEST = 6  # pixels of a picture of half the size that make a region
PULL, PUSH = 0.5, 3.0  # embeddings of one thing lie this near their mean, means this far apart
ALIKE = 1.5  # how much more a look-alike counts, as a logit
WEIGHTS = {"keep": 1.0, "pull": 1.0, "push": 1.0, "same": 1.0, "words": 0.5}
_FRESH = 1_000_000  # added to the seed for pictures that nothing was learned from
KEEP = 50  # steps from one saved state to the next


class Contrasts(nn.Module):
    """The network, and how sharply likeness is told in training."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.network = SceneNetwork(config)
        self.sharpness = nn.Parameter(torch.full((2,), np.log(10.0), dtype=torch.float32))

    def losses(self, batch: Views) -> dict[str, Tensor]:
        """Parts of the loss, by name."""
        pictures = (torch.from_numpy(a) for a in (batch.rgb, batch.points, batch.valid))
        with torch.autocast("cpu", torch.bfloat16):
            seen = self.network(*pictures)
        thing = torch.from_numpy(batch.thing[:, ::2, ::2])
        keep = F.binary_cross_entropy_with_logits(
            seen.keep, (thing >= 0).float(), pos_weight=torch.tensor(2.0)
        )
        regions = regions_of(seen, thing, len(batch.words))
        sharp, clear = self.sharpness.clamp(max=np.log(40.0)).exp()
        return {
            "keep": keep,
            **_apart(regions),
            "same": _same(regions, torch.from_numpy(batch.group), sharp),
            "words": self._words(regions, batch.words, clear),
        }

    def _words(self, regions: Regions, words: Sequence[str], clear: Tensor) -> Tensor:
        """Which of the collection's names is a region's?"""
        named = torch.tensor([i for i, w in enumerate(words) if w])
        rows = torch.isin(regions.thing, named)
        if not rows.any():
            return regions.feature.sum() * 0.0
        described = self.network.described(sentences([words[i] for i in named.tolist()]))
        logits = clear * regions.feature[rows] @ described.T
        return F.cross_entropy(logits, torch.searchsorted(named, regions.thing[rows]))


@dataclass(frozen=True)
class Regions:
    """``R`` things as they are seen in pictures.

    Attributes:
        picture: ``(R,)``.
        thing: ``(R,)``.
        feature: ``(R, F)`` mean over its pixels, of length 1.
        middle: ``(R, E)`` mean embedding.
        spread: ``(R,)`` how far its pixels' embeddings lie from there, beyond :data:`PULL`.
    """

    picture: Tensor
    thing: Tensor
    feature: Tensor
    middle: Tensor
    spread: Tensor


def regions_of(seen: Seen, thing: Tensor, kinds: int) -> Regions:
    """Means over the pixels ``(N, H/2, W/2)`` of each of ``kinds`` things in each picture."""
    n, y, x = torch.nonzero(thing >= 0, as_tuple=True)
    key = n * kinds + thing[n, y, x]
    keys, row, count = torch.unique(key, return_inverse=True, return_counts=True)

    def mean(values: Tensor) -> Tensor:
        sums = values.new_zeros(len(keys), *values.shape[1:]).index_add(0, row, values)
        return sums / count.view(-1, *[1] * (values.ndim - 1))

    embedding = seen.embedding[n, :, y, x]
    middle = mean(embedding)
    spread = mean(F.relu((embedding - middle[row]).norm(dim=1) - PULL) ** 2)
    feature = F.normalize(mean(seen.feature[n, :, y, x]), dim=1)
    large = count >= FEWEST
    picture = torch.div(keys, kinds, rounding_mode="floor")
    parts = (picture, keys % kinds, feature, middle, spread)
    return Regions(*(p[large] for p in parts))


def _apart(r: Regions) -> dict[str, Tensor]:
    """One thing's pixels alike, different things of a picture far from each other."""
    pair = (r.picture[:, None] == r.picture[None]).triu(1)
    i, j = torch.nonzero(pair, as_tuple=True)
    gap = (r.middle[i] - r.middle[j]).norm(dim=1)
    push = _mean(F.relu(PUSH - gap) ** 2)
    return {"pull": _mean(r.spread), "push": push + 1e-3 * _mean(r.middle.norm(dim=1))}


def _same(r: Regions, group: Tensor, sharp: Tensor) -> Tensor:
    """InfoNCE over pairs of regions: the same thing elsewhere among all that is not it."""
    same = r.thing[:, None] == r.thing[None]
    alike = group[r.thing][:, None] == group[r.thing][None]
    logits = sharp * r.feature @ r.feature.T
    others = (logits + ALIKE * alike).masked_fill(same, -torch.inf).logsumexp(dim=1)
    i, j = torch.nonzero(same & (r.picture[:, None] != r.picture[None]), as_tuple=True)
    return _mean(F.softplus(others[i] - logits[i, j]))


def _mean(x: Tensor) -> Tensor:
    """Of what may be empty: then 0."""
    return x.sum() / max(len(x), 1)


def accuracy(network: SceneNetwork, batch: Views) -> dict[str, float]:
    """How often a thing is recognised among what another picture shows, and named rightly.

    Returns:
        ``match``: share of the regions whose most similar one in a picture that shows the thing
        is the thing; ``name``: share whose own name, of all the collection's, fits best.
    """
    with torch.inference_mode():
        r = seen_regions(network, batch)
        distance = torch.cdist(r.feature, r.feature)
        hits = []
        for p in r.picture.unique():
            there = torch.nonzero(r.picture == p)[:, 0]
            again = torch.isin(r.thing, r.thing[there]) & (r.picture != p)
            elsewhere = torch.nonzero(again)[:, 0]
            nearest = there[distance[elsewhere][:, there].argmin(dim=1)]
            hits.append(r.thing[nearest] == r.thing[elsewhere])
        named = torch.tensor([i for i, w in enumerate(batch.words) if w])
        described = network.described(sentences([w for w in batch.words if w]))
        rows = torch.isin(r.thing, named)
        said = named[(r.feature[rows] @ described.T).argmax(dim=1)]
    return {
        "match": float(torch.cat(hits).float().mean()),
        "name": float((said == r.thing[rows]).float().mean()),
    }


def measured_scale(network: SceneNetwork, seed: int, count: int) -> float:
    """Of the network's features, on that many batches; see :func:`.calibration.scale_of`."""
    parts = []
    with torch.inference_mode():
        for batch in batches(seed, count):
            r = seen_regions(network, batch)
            parts.append(pairs_between(r.feature, r.thing, r.picture))
    distance, same = (torch.cat(part) for part in zip(*parts, strict=True))
    return scale_of(distance, same)


def seen_regions(network: SceneNetwork, batch: Views) -> Regions:
    """What the network makes of the things in pictures."""
    seen = network(*(torch.from_numpy(a) for a in (batch.rgb, batch.points, batch.valid)))
    return regions_of(seen, torch.from_numpy(batch.thing[:, ::2, ::2]), len(batch.words))


def sentences(words: Sequence[str]) -> Tensor:
    """``(n, 384)`` embeddings; each is made once."""
    return torch.stack([_sentence(w) for w in words])


@cache
def _sentence(words: str) -> Tensor:
    return torch.from_numpy(_text()([words])[0])


@cache
def _text() -> TextEncoder:
    return TextEncoder()


def train(
    recipe: EncoderRecipe, folder: Path, progress: Callable[[str], None] | None = None
) -> SceneNetwork:
    """Train, from the last saved state on, and write ``checkpoint``.

    Args:
        recipe: What is done; a resumed run may have more stages.
        folder: For the checkpoint, the state, the log and the curves.
        progress: Called with a line every :data:`KEEP` steps.

    Raises:
        ReportedError: The folder holds a run of another recipe.
    """
    torch.manual_seed(recipe.seed)
    sizes: dict[str, Any] = dict(recipe.network)
    if "widths" in sizes:
        sizes["widths"] = tuple(sizes["widths"])
    model = Contrasts(NetworkConfig(**sizes))
    model.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(model.parameters(), weight_decay=recipe.decay)
    begun, log = _resume(folder, recipe, model, optimiser)
    sums: dict[str, float] = {}
    for step in range(begun, recipe.total):
        stage, number = recipe.at(step)
        for group in optimiser.param_groups:
            group["lr"] = stage.rate_at(number)
        rng = np.random.default_rng([recipe.seed, step])
        batch = views(rng, recipe.pictures, recipe.robots, stage.scenes)
        parts = model.losses(batch)
        loss = torch.stack([WEIGHTS[k] * v for k, v in parts.items()]).sum()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        for k, v in parts.items():
            sums[k] = sums.get(k, 0.0) + float(v.detach())
        if (step + 1) % KEEP == 0 or step + 1 == recipe.total:
            steps = step + 1 - (log[-1]["step"] if log else 0)
            log.append({"step": step + 1, **{k: round(v / steps, 4) for k, v in sums.items()}})
            sums = {}
            _keep(folder, recipe, model, optimiser, log)
            if progress is not None:
                progress(f"same {log[-1]['same']:.2f}, names {log[-1]['words']:.2f}")
    network = model.network.eval()
    scale = measured_scale(network, recipe.seed + _FRESH, recipe.checks)
    save_network(folder / "checkpoint", network, scale)
    return network


def _draw(log: list[dict[str, float]], file: Path) -> None:
    """Each part of the loss over the steps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3 * len(WEIGHTS), 2.6), layout="constrained")
    for axis, part in zip(figure.subplots(1, len(WEIGHTS)), WEIGHTS, strict=True):
        axis.plot([r["step"] for r in log], [r[part] for r in log])
        axis.set_title(part)
        axis.set_xlabel("steps")
    figure.savefig(file, dpi=110)


def _keep(
    folder: Path,
    recipe: EncoderRecipe,
    model: Contrasts,
    optimiser: torch.optim.Optimizer,
    log: list[dict[str, float]],
) -> None:
    buffer = BytesIO()
    state = {
        "model": model.state_dict(), "optimiser": optimiser.state_dict(), "log": log,
        "recipe": asdict(recipe),
    }  # fmt: skip
    torch.save(state, buffer)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "state.pt", buffer.getvalue())
    write_atomically(folder / "log.jsonl", "".join(json.dumps(row) + "\n" for row in log))
    _draw(log, folder / "curves.png")


def _resume(
    folder: Path, recipe: EncoderRecipe, model: Contrasts, optimiser: torch.optim.Optimizer
) -> tuple[int, list[dict[str, float]]]:
    """Steps that are done already, and their log.

    Raises:
        ReportedError: They are those of another recipe.
    """
    file = folder / "state.pt"
    if not file.exists():
        return 0, []
    state: dict[str, Any] = torch.load(file, weights_only=True)
    if not recipe.continues(state["recipe"]):
        raise ReportedError(
            "this folder holds a run of another recipe",
            where=folder,
            remedy="choose another folder with --out, or delete this one",
        )
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["log"][-1]["step"]), list(state["log"])

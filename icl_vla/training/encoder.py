"""Training of the network that sees (:mod:`icl_vla.perception.network`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from icl_vla_retrieval.text import TextEncoder

from ..perception.backbone import save_network
from ..perception.network import NetworkConfig, SceneNetwork, Seen
from .calibration import batches, pairs_between, scale_of
from .encoder_recipe import EncoderRecipe
from .fitting import FRESH, fit
from .views import Views

FEWEST = 6  # pixels of a picture of half the size that make a region
PULL, PUSH = 0.5, 3.0  # embeddings of one thing lie this near their mean, means this far apart
ALIKE = 1.5  # how much more a look-alike counts, as a logit
WEIGHTS = {"keep": 1.0, "pull": 1.0, "push": 1.0, "same": 1.0, "words": 0.5}


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
    model = Contrasts(NetworkConfig.of(recipe.network))
    model.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    fit(recipe, folder, model, model, WEIGHTS, progress)
    network = model.network.eval()
    scale = measured_scale(network, recipe.seed + FRESH, recipe.checks)
    save_network(folder / "checkpoint", network, scale)
    return network

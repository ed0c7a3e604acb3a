"""Finds the remembered moments that are nearest to the present one."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from icl_vla_embodiments.types import Array, Neighbour

from .errors import KeyIndexError, KeySchemaError
from .index import KeyIndex, Kind, choose_kind

FORMAT = 1
SAMPLE = 2_000  # frames that are enough to know how far apart demonstrations lie


@dataclass(frozen=True)
class EpisodeLabels:
    """What an episode can be chosen by.

    Attributes:
        embodiment: Name of the robot.
        action_space: Name of what its actions mean.
        instruction: What is done.
        source: Where it came from: the bank, the data set, the operator.
    """

    embodiment: str = ""
    action_space: str = ""
    instruction: str = ""
    source: str = ""


class Retriever:
    """Keys of demonstrations' frames and a search over them by L2 distance.

    A few demonstrations are compared exactly, a fleet's are indexed (:mod:`.index`); either way
    the distances are exact.

    Args:
        schema: Says how keys are made (encoder, version, scaling); a hash or a description. Keys of
            two schemas live in different spaces, so a query must name the same one.

    Attributes:
        kind: Kind of index, once built.
        reason: Why that kind, in words.
    """

    def __init__(self, schema: str) -> None:
        self.schema = schema
        self.kind: Kind = "flat"
        self.reason = "no keys yet"
        self._blocks: list[NDArray[np.float32]] = []  # keys, as long as they are not indexed
        self._index: KeyIndex | None = None
        self._numbers: list[int] = []  # of the episodes
        self._starts = [0]  # first row of each episode, and the end
        self._labels: list[EpisodeLabels] = []
        self._count: int | None = None  # rows selected, where not all are

    def __len__(self) -> int:
        return self._starts[-1] if self._count is None else self._count

    @property
    def labels(self) -> Mapping[int, EpisodeLabels]:
        """Episode -> labels."""
        return dict(zip(self._numbers, self._labels, strict=True))

    def add(
        self,
        episode: int,
        keys: ArrayLike,
        *,
        schema: str | None = None,
        labels: EpisodeLabels | None = None,
    ) -> None:
        """Remember an episode; the next query indexes anew.

        Args:
            episode: Its index in the bank.
            keys: ``(T, d)``, one for each frame.
            schema: How the keys were made; the retriever's own if not given.
            labels: What it can be selected by.

        Raises:
            KeySchemaError: Keys of another schema or size, not finite, or an episode added twice.
        """
        rows = np.ascontiguousarray(keys, dtype=np.float32)
        self._check(rows, schema)
        if rows.ndim != 2 or not rows.size or episode in self._numbers:
            raise KeySchemaError(
                f"the keys of episode {episode} cannot be added",
                value="it was added before" if episode in self._numbers else rows.shape,
                valid=["(T, d), once for each episode"],
            )
        if self._index is not None:
            self._blocks, self._index = [self._index.keys], None
        self._blocks.append(rows)
        self._numbers.append(episode)
        self._starts.append(self._starts[-1] + len(rows))
        self._labels.append(labels or EpisodeLabels())

    def build(self, kind: Kind | None = None) -> None:
        """Index what was added; without a kind, the one that suits the size."""
        if self._index is not None and kind in (None, self.kind):
            return
        keys = self._index.keys if self._index else np.concatenate(self._blocks)
        suited, reason = choose_kind(*keys.shape)
        self.kind, self.reason = (suited, reason) if kind in (None, suited) else (kind, "as asked")
        self._index, self._blocks = KeyIndex.build(keys, self.kind), []

    def select(
        self,
        *,
        embodiment: str | None = None,
        action_space: str | None = None,
        instruction: str | None = None,
        source: str | None = None,
    ) -> Retriever:
        """The episodes with these labels, as a retriever of their own that shares the keys."""
        wanted = {
            "embodiment": embodiment,
            "action_space": action_space,
            "instruction": instruction,
            "source": source,
        }
        asked = {name: value for name, value in wanted.items() if value is not None}
        chosen = [
            i
            for i, labels in enumerate(self._labels)
            if all(getattr(labels, name) == value for name, value in asked.items())
        ]
        out = Retriever(self.schema)
        out.reason = f"no episode has {asked}"
        if not chosen:
            return out
        self.build()
        assert self._index is not None
        rows = np.concatenate([np.arange(self._starts[i], self._starts[i + 1]) for i in chosen])
        out._index = self._index.only(rows)
        out.kind, out.reason = out._index.kind, f"{len(rows):,} of {len(self):,} keys: {asked}"
        out._numbers, out._starts, out._labels = self._numbers, self._starts, self._labels
        out._count = len(rows)
        return out

    def query(
        self, key: ArrayLike, k: int, *, schema: str | None = None, per_episode: int = 2
    ) -> tuple[Neighbour, ...]:
        """The ``k`` nearest frames, at most ``per_episode`` of each episode, nearest first.

        Neighbouring frames of one episode say nearly the same, hence the cap. The weights are
        equal: what a neighbour is worth is for the policy to say.

        Args:
            key: ``(d,)``.
            k: How many; fewer come back where there are not so many.
            schema: How the key was made; the retriever's own if not given.
            per_episode: The cap.

        Raises:
            KeySchemaError: A key of another schema or size, or not finite.
        """
        row = np.ascontiguousarray(key, dtype=np.float32).reshape(-1)
        self._check(row, schema)
        if not len(self) or k < 1:
            return ()
        self.build()
        assert self._index is not None
        depth = min(len(self), max(4 * k, 64))
        while True:
            squared, rows = self._index.nearest(row, depth)
            episodes = np.searchsorted(self._starts, rows, side="right") - 1
            taken = _capped(episodes, k, per_episode)
            if len(taken) == k or depth == len(self):
                break
            depth = min(len(self), 4 * depth)
        return tuple(
            self._neighbour(int(episodes[i]), int(rows[i]), float(squared[i]), 1.0 / len(taken))
            for i in taken
        )

    def distances_between_demonstrations(self, seed: int = 0) -> Array:
        """How far a frame of one demonstration lies from the nearest of all others: ``(n,)``.

        At most ``SAMPLE`` frames, drawn at random. What :class:`Familiarity` is made from.
        """
        self.build()
        assert self._index is not None
        rng = np.random.default_rng(seed)
        episode = np.repeat(np.arange(len(self._numbers)), np.diff(self._starts))
        out = []
        for row in rng.permutation(len(self._index.keys))[:SAMPLE]:
            others = (
                n.distance
                for n in self.query(self._index.keys[row], 2, per_episode=1)
                if n.episode != self._numbers[episode[row]]
            )
            out += [next(others)] if len(self._numbers) > 1 else []
        return np.array(out)

    def save(self, folder: Path | str) -> None:
        """Write keys, index and labels into a new folder, whole or not at all.

        Raises:
            KeyIndexError: The folder exists, or this is a selection.
        """
        target = Path(folder)
        if self._count is not None or not len(self) or target.exists():
            raise KeyIndexError(
                "this cannot be stored here",
                where=target,
                value="the folder exists" if target.exists() else f"{len(self)} selected keys",
                remedy="store a whole retriever in a new folder",
            )
        self.build()
        assert self._index is not None
        facts = {
            "format": FORMAT,
            "schema": self.schema,
            "kind": self.kind,
            "reason": self.reason,
            "episodes": self._numbers,
            "starts": self._starts,
            "labels": [asdict(labels) for labels in self._labels],
        }
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
        try:
            self._index.save(fresh)
            (fresh / "retriever.json").write_text(json.dumps(facts))
            fresh.rename(target)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    @classmethod
    def open(cls, folder: Path | str) -> Retriever:
        """Map a stored retriever; a million keys take well under a second.

        Raises:
            KeyIndexError: The folder holds none, one of another format, or a damaged one.
        """
        path = Path(folder)
        try:
            facts = json.loads((path / "retriever.json").read_text())
            if facts["format"] != FORMAT:
                raise ValueError(f"format {facts['format']}, not {FORMAT}")
            out = cls(facts["schema"])
            out.kind, out.reason = facts["kind"], facts["reason"]
            out._numbers, out._starts = facts["episodes"], facts["starts"]
            out._labels = [EpisodeLabels(**labels) for labels in facts["labels"]]
            out._index = KeyIndex.open(path, out.kind)
            if len(out._index.keys) != out._starts[-1]:
                raise ValueError(f"{len(out._index.keys)} keys, {out._starts[-1]} frames")
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise KeyIndexError(
                "no retriever can be opened here",
                where=path,
                value=str(error),
                remedy="build it again from its banks",
            ) from error
        return out

    def _neighbour(self, i: int, row: int, squared: float, weight: float) -> Neighbour:
        start, end = self._starts[i], self._starts[i + 1]
        return Neighbour(
            episode=self._numbers[i],
            step=row - start,
            distance=float(np.sqrt(max(squared, 0.0))),
            weight=weight,
            phase=(row - start) / max(end - start - 1, 1),
        )

    def _check(self, rows: NDArray[np.float32], schema: str | None) -> None:
        if schema is not None and schema != self.schema:
            raise KeySchemaError(
                "these keys were made in another way than those that are remembered",
                value=schema,
                valid=[self.schema],
                remedy="compute the keys of all demonstrations again with one encoder",
            )
        known = self._index.keys if self._index else self._blocks[0] if self._blocks else None
        if known is not None and rows.shape[-1] != known.shape[1]:
            raise KeySchemaError(
                "a key has the wrong size", value=rows.shape[-1], valid=[known.shape[1]]
            )
        if not np.isfinite(rows).all():
            raise KeySchemaError("a key holds numbers that are not finite", value=rows.shape)


def _capped(episodes: NDArray[np.int64], k: int, per_episode: int) -> list[int]:
    """Positions of the first ``k`` frames that keep the cap."""
    seen: dict[int, int] = {}
    taken: list[int] = []
    for i, episode in enumerate(episodes.tolist()):
        seen[episode] = seen.get(episode, 0) + 1
        if seen[episode] <= per_episode:
            taken.append(i)
            if len(taken) == k:
                break
    return taken

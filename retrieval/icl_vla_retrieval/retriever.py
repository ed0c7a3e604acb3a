"""Finds the remembered moments that are nearest to the present one, exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from icl_vla_embodiments.types import Neighbour

from .errors import KeySchemaError

if TYPE_CHECKING:
    import faiss


class Retriever:
    """Keys of demonstrations' frames and an exact L2 search over them (``faiss.IndexFlatL2``).

    Args:
        schema: Says how keys are made (encoder, version, scaling); a hash or a description. Keys of
            two schemas live in different spaces, so a query must name the same one.
    """

    def __init__(self, schema: str) -> None:
        self.schema = schema
        self._index: faiss.IndexFlatL2 | None = None
        self._episodes: NDArray[np.int64] = np.zeros(0, np.int64)
        self._steps: NDArray[np.int64] = np.zeros(0, np.int64)
        self._lengths: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._steps)

    def add(self, episode: int, keys: ArrayLike, *, schema: str | None = None) -> None:
        """Remember an episode.

        Args:
            episode: Its index in the bank.
            keys: ``(T, d)``, one for each frame.
            schema: How the keys were made; the retriever's own if not given.

        Raises:
            KeySchemaError: Keys of another schema or size, not finite, or an episode added twice.
        """
        import faiss

        rows = np.ascontiguousarray(keys, dtype=np.float32)
        self._check(rows, schema)
        if rows.ndim != 2 or not rows.size or episode in self._lengths:
            raise KeySchemaError(
                f"the keys of episode {episode} cannot be added",
                value="it was added before" if episode in self._lengths else rows.shape,
                valid=["(T, d), once for each episode"],
            )
        if self._index is None:
            self._index = faiss.IndexFlatL2(rows.shape[1])
        self._index.add(rows)
        self._episodes = np.append(self._episodes, np.full(len(rows), episode))
        self._steps = np.append(self._steps, np.arange(len(rows)))
        self._lengths[episode] = len(rows)

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
        row = np.ascontiguousarray(key, dtype=np.float32).reshape(1, -1)
        self._check(row, schema)
        if self._index is None or k < 1:
            return ()
        depth = min(len(self), max(4 * k, 64))
        while True:
            squared, order = self._index.search(row, depth)
            taken = self._capped(order[0], k, per_episode)
            if len(taken) == k or depth == len(self):
                break
            depth = min(len(self), 4 * depth)
        return tuple(
            Neighbour(
                episode=int(self._episodes[order[0][i]]),
                step=int(self._steps[order[0][i]]),
                distance=float(np.sqrt(max(squared[0][i], 0.0))),
                weight=1.0 / len(taken),
                phase=self._phase(int(order[0][i])),
            )
            for i in taken
        )

    def _capped(self, order: NDArray[np.int64], k: int, per_episode: int) -> list[int]:
        """Positions in ``order`` of the first ``k`` frames that keep the cap."""
        seen: dict[int, int] = {}
        taken: list[int] = []
        for i, frame in enumerate(order):
            episode = int(self._episodes[frame])
            seen[episode] = seen.get(episode, 0) + 1
            if seen[episode] <= per_episode:
                taken.append(i)
                if len(taken) == k:
                    break
        return taken

    def _phase(self, frame: int) -> float:
        return int(self._steps[frame]) / self._lengths[int(self._episodes[frame])]

    def _check(self, rows: NDArray[np.float32], schema: str | None) -> None:
        if schema is not None and schema != self.schema:
            raise KeySchemaError(
                "these keys were made in another way than those that are remembered",
                value=schema,
                valid=[self.schema],
                remedy="compute the keys of all demonstrations again with one encoder",
            )
        if self._index is not None and rows.shape[-1] != self._index.d:
            raise KeySchemaError(
                "a key has the wrong size", value=rows.shape[-1], valid=[self._index.d]
            )
        if not np.isfinite(rows).all():
            raise KeySchemaError("a key holds numbers that are not finite", value=rows.shape)

"""The nearest of many keys: exact for a few demonstrations, approximate for a fleet's.

Every kind keeps the keys themselves beside it, in memory or mapped from disk, and an approximate
kind only proposes candidates: their distances are exact, and so is the order among them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from .errors import KeyIndexError

Kind = Literal["flat", "hnsw", "ivfpq"]
Rows = NDArray[np.int64]
Keys = NDArray[np.float32]

FLAT = 20_000
"""Keys up to which each is compared: about a millisecond at 384 numbers."""
MEMORY = 4 * 2**30
"""Bytes of raw keys beyond which a graph over them becomes too large for a robot's computer."""
CANDIDATES = 64
"""Candidates that an approximate index proposes beyond the neighbours asked for."""


def _faiss() -> Any:
    """The library, loaded late; its stubs leave out half of what it has."""
    import faiss

    return faiss


def choose_kind(count: int, size: int) -> tuple[Kind, str]:
    """Which kind of index suits ``count`` keys of ``size`` numbers, and why, in words."""
    what = f"{count:,} keys of {size} numbers"
    if count <= FLAT:
        return "flat", f"{what}: each is compared, exactly (up to {FLAT:,})"
    if 4 * count * size <= MEMORY:
        return "hnsw", f"{what}: a graph finds the nearest (beyond {FLAT:,})"
    return "ivfpq", f"{what}: compressed to bytes (beyond {MEMORY / 2**30:.0f} GiB raw)"


class KeyIndex:
    """The nearest of ``N`` keys by L2 distance.

    ``flat`` compares all; ``hnsw`` is a navigable small-world graph over 8-bit keys (Malkov and
    Yashunin 2018); ``ivfpq`` an inverted file of product codes (Jegou et al. 2011).

    Attributes:
        keys: ``(N, d)`` float32, an array or a memory map.
        kind: Which search.
    """

    def __init__(
        self, keys: Keys, kind: Kind, structure: Any = None, rows: Rows | None = None
    ) -> None:
        self.keys, self.kind = keys, kind
        self._structure, self._rows = structure, rows
        self._selector: Any = None
        if structure is not None and rows is not None:
            faiss = _faiss()
            allowed = np.zeros(len(keys), dtype=bool)
            allowed[rows] = True
            self._selector = faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))

    @classmethod
    def build(cls, keys: Keys, kind: Kind) -> KeyIndex:
        """Index keys ``(N, d)``; a million take minutes.

        Raises:
            KeyIndexError: A kind that there is not.
        """
        faiss = _faiss()
        count, size = keys.shape
        if kind == "flat":
            return cls(keys, kind)
        if kind == "hnsw":
            structure = faiss.IndexHNSWSQ(size, faiss.ScalarQuantizer.QT_8bit, 16)
            structure.hnsw.efConstruction = 100
        elif kind == "ivfpq":
            parts = next(m for m in range(max(size // 8, 1), 0, -1) if size % m == 0)
            lists = max(1, int(2 * np.sqrt(count)))
            structure = faiss.IndexIVFPQ(faiss.IndexFlatL2(size), size, lists, parts, 8)
            structure.cp.max_points_per_centroid = structure.pq.cp.max_points_per_centroid = 40
            structure.pq.cp.niter = 10
        else:
            raise KeyIndexError("no such kind of index", value=kind, valid=get_args(Kind))
        sample = np.random.default_rng(0).permutation(count)[:100_000]
        structure.train(np.ascontiguousarray(keys[np.sort(sample)]))
        structure.add(keys)
        return cls(keys, kind, structure)

    def only(self, rows: Rows) -> KeyIndex:
        """The same, restricted to some rows ``(n,)``, ascending; a few are compared exactly."""
        if self._structure is None or len(rows) <= FLAT:
            return KeyIndex(np.ascontiguousarray(self.keys[rows]), "flat", rows=rows)
        return KeyIndex(self.keys, self.kind, self._structure, rows)

    def nearest(self, key: Keys, k: int, effort: int = 512) -> tuple[Keys, Rows]:
        """The ``k`` nearest, nearest first.

        Args:
            key: ``(d,)``.
            k: How many; an approximate kind may find fewer.
            effort: Nodes of the graph that are visited, or eight times the inverted lists.

        Returns:
            Squared distances and row numbers.
        """
        faiss = _faiss()
        query = np.ascontiguousarray(key, dtype=np.float32).reshape(1, -1)
        if self._structure is None:
            squared, found = faiss.knn(query, self.keys, min(k, len(self.keys)))
            return squared[0], found[0] if self._rows is None else self._rows[found[0]]
        count = min(k + CANDIDATES, len(self.keys))
        _, found = self._structure.search(query, count, params=self._parameters(count, effort))
        candidates = found[0][found[0] >= 0]
        squared = ((self.keys[candidates] - query) ** 2).sum(axis=1)
        order = np.argsort(squared, kind="stable")[:k]
        return squared[order], candidates[order]

    def _parameters(self, count: int, effort: int) -> Any:
        faiss = _faiss()
        options: dict[str, Any] = {}
        if self._rows is not None:
            options["sel"] = self._selector
            effort = int(effort * len(self.keys) / len(self._rows))  # most of a visit is in vain
        if self.kind == "hnsw":
            return faiss.SearchParametersHNSW(efSearch=max(effort, count), **options)
        return faiss.SearchParametersIVF(nprobe=max(1, effort // 8), **options)

    def save(self, folder: Path) -> None:
        """Write ``keys.npy`` and, for an approximate kind, ``search.faiss``."""
        faiss = _faiss()
        np.save(folder / "keys.npy", self.keys)
        if self._structure is not None:
            faiss.write_index(self._structure, str(folder / "search.faiss"))

    @classmethod
    def open(cls, folder: Path, kind: Kind) -> KeyIndex:
        """Map what :meth:`save` wrote; nothing is read before it is needed."""
        faiss = _faiss()
        keys = np.load(folder / "keys.npy", mmap_mode="r", allow_pickle=False)
        if kind == "flat":
            return cls(keys, kind)
        flags = faiss.IO_FLAG_MMAP_IFC if kind == "hnsw" else faiss.IO_FLAG_MMAP
        return cls(keys, kind, faiss.read_index(str(folder / "search.faiss"), flags))

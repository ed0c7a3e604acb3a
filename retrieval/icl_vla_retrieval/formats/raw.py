"""What every format is read into: columns as stored, nothing interpreted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..demonstration import CameraTrack, Value
from ..errors import DatasetError

LARGEST = 2**28  # [bytes] of one column of one episode: hours of joint positions


@dataclass(frozen=True)
class Given:
    """What is settled about columns, by a person or by the format's own documentation.

    Attributes:
        map: Column, or one number of it as ``column.3`` or by its name -> what it is.
        unit: The same -> its unit.
        rate: Frames per second [Hz].
        camera: Camera as recorded -> its name in the bank.
    """

    map: Mapping[str, str] = field(default_factory=dict)
    unit: Mapping[str, str] = field(default_factory=dict)
    rate: float | None = None
    camera: Mapping[str, str] = field(default_factory=dict)

    def over(self, weaker: Given) -> Given:
        """Both; where they differ, this one."""
        return Given(
            map={**weaker.map, **self.map},
            unit={**weaker.unit, **self.unit},
            rate=weaker.rate if self.rate is None else self.rate,
            camera={**weaker.camera, **self.camera},
        )


@dataclass(frozen=True, eq=False)
class RawEpisode:
    """One episode as recorded, ``T`` frames.

    Attributes:
        format: Name of the format.
        source: The file, and the episode in it.
        columns: Column -> ``(T, D)`` numbers as stored.
        names: Column -> a name for each of its D numbers, where there are any.
        cameras: Camera -> pictures, decoded when asked for.
        times: ``(T,)`` [s], where recorded.
        rate: Frames per second [Hz], where stated.
        instruction: What is done; empty where the data do not tell.
        given: What the format's own documentation settles.
        notes: What else is known of it.
    """

    format: str
    source: str
    columns: Mapping[str, NDArray]
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    cameras: Mapping[str, CameraTrack] = field(default_factory=dict)
    times: NDArray[np.float64] | None = None
    rate: float | None = None
    instruction: str = ""
    given: Given = field(default_factory=Given)
    notes: Mapping[str, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lengths = {name: len(x) for name, x in self.columns.items()}
        if self.times is not None:
            lengths["times"] = len(self.times)
        if len(set(lengths.values())) > 1:
            raise DatasetError(
                "the columns of an episode have different lengths",
                where=self.source,
                value=", ".join(f"{name} {n}" for name, n in lengths.items()),
                remedy="record it again, or cut the columns to the same frames",
            )
        if not lengths or not next(iter(lengths.values())):
            raise DatasetError(
                "an episode has no frames",
                where=self.source,
                remedy="remove it from what is imported",
            )

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), self.times if self.times is not None else ()))


def as_column(values: NDArray, source: str, name: str) -> NDArray[np.float64] | None:
    """``(T, D)`` of a column of numbers; None for anything else.

    Raises:
        DatasetError: It is larger than any column of an episode would be.
    """
    if values.dtype.kind not in "fiub" or values.ndim not in (1, 2) or 0 in values.shape[1:]:
        return None
    check_size(values.nbytes, source, name)
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(float).reshape(len(values), -1)


def check_size(size: int, source: str, name: str) -> None:
    """Refuse what would not fit into memory, before it is read."""
    if size > LARGEST:
        raise DatasetError(
            "a column is too large for an episode",
            where=source,
            value=f"{name}: {size / 1e6:.0f} MB",
            valid=[f"at most {LARGEST / 1e6:.0f} MB"],
            remedy="split the recording into episodes",
        )

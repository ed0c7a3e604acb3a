"""The pictures that a calibration looks at, and what in them is not background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.types import Array

from ..demonstration import Demonstration

WIDEST = 400  # [px] of the pictures that are looked at


@dataclass(frozen=True)
class Pictures:
    """``F`` frames of several demonstrations of one camera.

    Attributes:
        rgb: ``(F, H, W, 3)`` uint8.
        depth: ``(F, H, W)`` [m], 0 for no return; or None.
        q: ``(F, n)``.
        episode: ``(F,)`` which demonstration a frame is of.
        scale: Of these pictures to those that the camera took.
    """

    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32] | None
    q: Array
    episode: NDArray[np.int64]
    scale: float = 1.0

    @property
    def size(self) -> tuple[int, int]:
        """Height and width [px]."""
        return self.rgb.shape[1], self.rgb.shape[2]

    def __len__(self) -> int:
        return len(self.q)

    @classmethod
    def of(
        cls, demonstrations: Sequence[Demonstration], camera: str, count: int, *, depth: bool = True
    ) -> Pictures:
        """About ``count`` frames, evenly spread over the demonstrations and their time.

        Large pictures are made smaller by a whole number, to :data:`WIDEST` or less.
        """
        each = max(2, round(count / len(demonstrations)))
        rgb, metres, q, episode = [], [], [], []
        for i, d in enumerate(demonstrations):
            frames = np.unique(np.linspace(0, len(d) - 1, min(each, len(d))).round().astype(int))
            track = d.cameras[camera]
            whole = track.frames()[frames]  # not .rgb: whole videos need not stay in memory
            factor = -(-whole.shape[2] // WIDEST)
            rgb.append(_smaller(whole, factor))
            if depth and track.depths is not None:
                h, w = rgb[-1].shape[1:3]
                sampled = track.depths()[frames, factor // 2 :: factor, factor // 2 :: factor]
                metres.append(sampled[:, :h, :w])
            q.append(d.q[frames])
            episode.append(np.full(len(frames), i))
        return cls(
            np.concatenate(rgb),
            np.concatenate(metres) if len(metres) == len(rgb) else None,
            np.concatenate(q),
            np.concatenate(episode),
            1 / factor,
        )

    @classmethod
    def at(
        cls, demonstrations: Sequence[Demonstration], camera: str, frames: Sequence[int]
    ) -> Pictures:
        """One frame of each demonstration."""
        pairs = list(zip(demonstrations, frames, strict=True))
        return cls(
            np.stack([d.cameras[camera].frames()[t] for d, t in pairs]),
            None,
            np.stack([d.q[t] for d, t in pairs]),
            np.arange(len(pairs)),
        )

    def part(self, chosen: NDArray) -> Pictures:
        """Some of the frames."""
        depth = None if self.depth is None else self.depth[chosen]
        return replace(
            self,
            rgb=self.rgb[chosen],
            depth=depth,
            q=self.q[chosen],
            episode=self.episode[chosen],
        )

    def colour(self) -> Pictures:
        """Without depth."""
        return replace(self, depth=None)

    def every(self, count: int) -> Pictures:
        """About ``count`` of the frames, evenly."""
        return self.part(np.unique(np.linspace(0, len(self) - 1, count).round().astype(int)))

    def halves(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Every other demonstration, or every other frame of a single one: ``(F,)`` each."""
        alone = len(np.unique(self.episode)) == 1
        odd = (np.arange(len(self)) if alone else self.episode) % 2 == 1
        return ~odd, odd

    def common_background(self) -> NDArray[np.float32]:
        """``(H, W, 3)``: the middle of the shortest interval that holds a quarter of the frames.

        Unlike a median it is the table's colour also where the robot is for most of the time: the
        robot's is another in each posture (Robertson and Cryer, *An iterative procedure for
        estimating the mode*, 1974).
        """
        quarter = max(len(self) // 4, 1)
        ordered = np.sort(self.rgb, axis=0).astype(np.int16)
        shortest = (ordered[quarter:] - ordered[:-quarter]).argmin(axis=0)[None]
        ends = [np.take_along_axis(ordered, shortest + k, axis=0)[0] for k in (0, quarter)]
        return (0.5 * (ends[0] + ends[1])).astype(np.float32)

    def foreground(self, background: NDArray[np.float32]) -> NDArray[np.float32]:
        """``(F, H, W)`` 0 to 1: how surely a pixel differs from the background."""
        out = np.empty(self.rgb.shape[:3], np.float32)
        for t, frame in enumerate(self.rgb):
            out[t] = np.abs(frame - background).max(axis=-1)
        noise = max(float(np.median(out)), 1.0)
        return np.clip(out / (4 * noise) - 1.0, 0.0, 1.0)

    def backgrounds(self, masks: NDArray[np.bool_], least: int = 3) -> NDArray[np.float32]:
        """``(E, H, W, 3)``: each demonstration's median over the frames without robot there.

        Args:
            masks: ``(F, H, W)`` where the robot may be.
            least: With fewer free frames than this a pixel is taken from all demonstrations
                together; where they have not as many either, it is NaN.
        """
        common = _free_median(self.rgb, masks, least)
        each = []
        for e in np.unique(self.episode):
            own = _free_median(self.rgb[self.episode == e], masks[self.episode == e], least)
            each.append(np.where(np.isnan(own), common, own))
        return np.stack(each)


def _smaller(rgb: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """``(F, H, W, 3)`` made smaller by a whole number; what does not fill a pixel is cut."""
    if factor == 1:
        return rgb
    import cv2

    h, w = rgb.shape[1] // factor, rgb.shape[2] // factor
    cut = rgb[:, : h * factor, : w * factor]
    each = [cv2.resize(x, (w, h), interpolation=cv2.INTER_AREA) for x in cut]
    return np.stack(each).astype(np.uint8)


def _free_median(
    values: NDArray[np.uint8], masks: NDArray[np.bool_], least: int
) -> NDArray[np.float32]:
    """``(H, W, 3)`` median over frames of the values that no mask covers."""
    stack = np.where(masks[..., None], np.uint16(999), values.astype(np.uint16))
    stack.sort(axis=0)
    free = (~masks).sum(axis=0)
    middle = np.maximum(free - 1, 0) // 2
    median = np.take_along_axis(stack, middle[None, ..., None], axis=0)[0].astype(np.float32)
    median[free < least] = np.nan
    return median

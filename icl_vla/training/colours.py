"""What cameras and files make of the colours of drawn pictures."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray


def sensed(rgb: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Colours as a camera gives them: tinted, brighter or darker, noisy."""
    gain = rng.uniform(0.75, 1.2) * rng.uniform(0.93, 1.07, 3)
    speckle = 255 * rng.uniform(0, 0.03) * rng.standard_normal(rgb.shape, dtype=np.float32)
    return np.clip(gain * rgb + speckle, 0, 255).astype(np.uint8)


def colourless(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What a camera without colours gives (luma, ITU-R BT.601)."""
    luma = rgb @ np.array([0.299, 0.587, 0.114])
    return np.repeat(luma[..., None].astype(np.uint8), 3, axis=-1)


def as_in_video(rgb: NDArray[np.uint8], loss: float) -> NDArray[np.uint8]:
    """A picture as a recording gives it back: H.264, colours at half the resolution.

    Args:
        rgb: ``(H, W, 3)``; H and W are even.
        loss: Constant rate factor: 18 can hardly be told from the original, 34 is coarse.
    """
    coder = av.CodecContext.create("libx264", "w")
    assert isinstance(coder, av.VideoCodecContext)
    coder.height, coder.width, coder.pix_fmt = rgb.shape[0], rgb.shape[1], "yuv420p"
    coder.time_base = Fraction(1, 10)
    coder.options = {"preset": "veryfast", "crf": f"{loss:.1f}", "bf": "0", "threads": "1"}
    packets = [*coder.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")), *coder.encode()]
    reader = av.CodecContext.create("h264", "r")
    assert isinstance(reader, av.VideoCodecContext)
    frames = [f for packet in [*packets, None] for f in reader.decode(packet)]
    return np.asarray(frames[0].to_ndarray(format="rgb24"), dtype=np.uint8)

"""Where a robot's cameras are."""

from __future__ import annotations

import numpy as np

from .. import se3
from ..embodiment import FrameSpec
from .evidence import Evidence

CAMERA = r"camera|cam|webcam|rgbd"
NO_CAMERA = (
    r"mount|base|body|holder|bracket|screw|visor|axis|imu|laser|laserscan|cable|plate|default"
)
SAME = 0.05  # [m] within which two frames belong to one camera
# Columns: optical axes (x right, y down, z ahead) in a link that looks along x (ROS REP 103).
X_FORWARD = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])


def find_cameras(evidence: Evidence) -> dict[str, FrameSpec]:
    """Name -> mount of each camera, the best evidence first.

    Optical frames; links that a simulator's camera is mounted to; links at an end of the tree that
    are called camera. The last two look along x. A frame near one of better evidence on the same
    body is the same camera.
    """
    tree = evidence.tree
    optical = [link for link in tree.links if "optical" in link.lower()]
    simulated = [link for link in tree.links if link in tree.camera_links]
    called = [
        link
        for link in tree.links
        if link != tree.root
        and not tree.below[link]
        and not tree.above[link].moves
        and evidence.says(CAMERA, link)
        and not evidence.called(NO_CAMERA, link)
    ]
    cameras = {link: FrameSpec.at(link) for link in optical}
    for links in (simulated, called):
        better = list(cameras)
        for link in links:
            if not any(_same(evidence, link, other) for other in better):
                cameras[link] = FrameSpec.at(link, se3.pose(X_FORWARD))
    return cameras


def _same(evidence: Evidence, one: str, other: str) -> bool:
    apart = evidence.poses[one][:3, 3] - evidence.poses[other][:3, 3]
    body = evidence.tree.body
    return body[one] == body[other] and float(np.linalg.norm(apart)) < SAME

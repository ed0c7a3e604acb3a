"""The picture shows the robot where it is, in its groups' colours."""

import io
import time

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from icl_vla_embodiments import FrameSpec, se3
from icl_vla_embodiments.picture import picture_of
from icl_vla_embodiments.picture_marks import PALETTE
from icl_vla_embodiments.picture_render import SIZE
from icl_vla_embodiments.urdf import embodiment_from_urdf


def pixels(robot, q=None) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(picture_of(robot, q))).convert("RGB")) / 255


def area(image, kind) -> float:
    """Share of pixels of a hue, whatever the shading, left of the legend."""
    image = image[:, : int(0.78 * SIZE[0])]
    colour = np.array(to_rgb(PALETTE[kind][0]))
    flat = image - image.mean(axis=2, keepdims=True)
    hue = colour - colour.mean()
    close = (flat @ hue) > 0.97 * np.linalg.norm(flat, axis=2) * np.linalg.norm(hue)
    return float((close & (np.linalg.norm(flat, axis=2) > 0.08)).mean())


def test_groups_have_their_colours_and_motion_is_seen(panda):
    here = pixels(panda)
    assert here.shape == (SIZE[1], SIZE[0], 3)
    assert area(here, "arm") > 0.05 and area(here, "gripper") > 0.0005
    assert area(here, "leg") < 1e-3
    moved = panda.neutral_q.copy()
    moved[0] += 1.0
    assert np.abs(pixels(panda, moved) - here).mean() > 0.01


@pytest.mark.parametrize(
    ("file", "kind"), [("mini_cheetah/mini_cheetah.urdf", "leg"), ("husky/husky.urdf", None)]
)
def test_other_robots_are_drawn_quickly(data, file, kind):
    robot = embodiment_from_urdf(data / file)
    start = time.process_time()
    image = pixels(robot)
    assert time.process_time() - start < 4.0  # [s of CPU], measured 0.6
    assert kind is None or area(image, kind) > 0.02


def test_a_robot_without_shapes_is_drawn_as_rods(write):
    joint = '<joint name="j" type="revolute"><parent link="a"/><child link="b"/>'
    joint += '<origin xyz="0 0 1"/><axis xyz="0 1 0"/></joint>'
    image = pixels(embodiment_from_urdf(write(f'<link name="a"/><link name="b"/>{joint}')))
    middle = image[150:750, 100:900]
    assert (np.ptp(middle, axis=2).max() > 0.2) and middle.min() < 0.8


def test_cameras_and_frames_are_drawn(panda):
    """Each in its own colours, where it is."""
    plain = pixels(panda)
    ahead = FrameSpec.at("panda_link0", se3.pose(p=np.array([0.3, 0.3, 0.5])))
    seen = np.abs(pixels(panda.with_(cameras={"front": ahead})) - plain).max(axis=2)
    dark = pixels(panda.with_(cameras={"front": ahead})).max(axis=2) < 0.3
    assert 20 < (dark & (seen > 0.3))[:, : int(0.78 * SIZE[0])].sum() < 5000
    assert np.abs(pixels(panda.with_(frames={"socket": ahead})) - plain).max() > 0.3

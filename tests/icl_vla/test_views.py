"""Tokens of several cameras: each thing once."""

from __future__ import annotations

import numpy as np

from icl_vla.evaluation.rigs import RIGS
from icl_vla.perception.tokens import CLOUD, SceneTokens
from icl_vla.perception.views import merged, size_features

RED, BLUE = (2.0, 1.0, 0.5), (0.5, 1.0, 2.0)


def view(*things: tuple[tuple[float, float], tuple[float, float, float], float]) -> SceneTokens:
    """Boxes 4 cm high on the table: place, colour, width."""
    positions = np.array([(x, y, 0.02) for (x, y), _, _ in things])
    extents = np.array([(w, 0.04, 0.04) for _, _, w in things])
    features = np.column_stack([np.array([c for _, c, _ in things]), size_features(extents)])
    clouds = np.repeat(positions[:, None], CLOUD, axis=1)
    return SceneTokens(positions, features, extents, clouds, np.full(len(things), 50.0))


def test_what_two_views_share_stands_once():
    one = view(((0.50, 0.0), RED, 0.04), ((0.60, 0.0), BLUE, 0.04))
    two = view(((0.61, 0.0), BLUE, 0.04), ((0.51, 0.0), RED, 0.04), ((0.70, 0.1), RED, 0.04))
    both = merged([one, two])
    np.testing.assert_allclose(both.positions[:, 0], [0.505, 0.605, 0.70])
    np.testing.assert_allclose(both.extents[:2, 0], 0.05)  # what either shows
    np.testing.assert_allclose(both.pixels, [100, 100, 50])
    np.testing.assert_allclose(both.features[:, 3:], size_features(both.extents))
    assert both.clouds.shape == (3, CLOUD, 3)
    sides = np.unique(both.clouds[0, :, 0])
    np.testing.assert_allclose(sides, [0.50, 0.51])


def test_neighbours_and_other_colours_stay_apart():
    red, blue = view(((0.50, 0.0), RED, 0.04)), view(((0.50, 0.0), BLUE, 0.04))
    beside = view(((0.545, 0.0), RED, 0.04))
    assert len(merged([red, blue])) == len(merged([red, beside])) == 2


def test_two_things_that_one_view_shows_as_one_are_two():
    apart = view(((0.50, 0.0), RED, 0.03), ((0.55, 0.0), RED, 0.03))
    blob = view(((0.525, 0.0), RED, 0.08))
    for views in ([apart, blob], [blob, apart]):
        np.testing.assert_allclose(np.sort(merged(views).positions[:, 0]), [0.50, 0.55])


def test_one_view_and_none_are_as_they_were():
    one = view(((0.50, 0.0), RED, 0.04))
    empty = SceneTokens.empty(5)
    for views in ([one], [one, empty], [empty, one]):
        np.testing.assert_array_equal(merged(views).positions, one.positions)
    assert len(merged([empty, empty])) == 0


def test_a_second_camera_adds_no_second_thing(cell):
    """In physics: as many tokens as things, each where a thing is."""
    at_task = cell("pick-place")
    cameras = RIGS["pair"](at_task)
    laid_out = at_task.driver.scenes
    at_task.driver.scenes = lambda seed: laid_out(seed).with_(cameras=cameras)
    try:
        for seed in range(3):
            tokens = at_task.encoder.encode(at_task.reset(seed))
            world = at_task.driver.world
            places = np.array([world.pose(name)[:2, 3] for name in world.bodies])
            away = np.linalg.norm(tokens.positions[:, None, :2] - places[None], axis=-1)
            assert away.min(axis=1).max() < 0.045  # a bowl may be seen in pieces
            assert len(tokens) <= len(places) + 1
            assert len(set(away.argmin(axis=1))) >= len(places) - 1
    finally:
        at_task.driver.scenes = laid_out

"""Where a camera stands, and its focal length, from a robot that moves before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array

from ..demonstration import Demonstration
from .body import Body
from .errors import CalibrationError
from .pictures import Pictures
from .pinhole import Pinhole
from .refine import LAST, ROUGH, Fit, refine
from .search import search

FRAMES = 120  # that the result is computed from
SEARCHED = 40  # of them, that the search looks at
CANDIDATES = 4  # that are fitted in each attempt
ATTEMPTS = 3  # searches, as long as no candidate is sure
SURE = 0.3  # share of the outline that only the right camera finds; wrong ones find 0.05
CORRELATED = 0.25  # least correlation of the pictures' changes with the robot's motion
SHIFT, TURN, OUTLINE = 0.01, np.radians(1.0), 0.1  # beyond, a result is doubted: [m], [rad], share


@dataclass(frozen=True)
class Calibration:
    """A camera that was found, and how far it can be trusted.

    Attributes:
        camera: Its name.
        pinhole: Where it stands and how it projects.
        reprojection: Median distance of the robot's found from its predicted outline [px].
        share: Of the predicted outline, what was found within 2 px of the pictures looked at.
        surface: Median distance of seen depth from the robot's surface [m]; None without depth.
        position_error: Standard error of the position [m], from halves of the demonstrations that
            were fitted apart. What errs alike in all of them (the robot's shapes) is not in it.
        angle_error: Of the orientation [rad].
        focal_error: Of the focal length, as a share.
        demonstrations: How many were looked at.
        frames: Of them.
        doubts: Reasons not to trust it; none is good.
    """

    camera: str
    pinhole: Pinhole
    reprojection: float
    share: float
    surface: float | None
    position_error: float
    angle_error: float
    focal_error: float
    demonstrations: int
    frames: int
    doubts: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """One line for a demonstration's provenance."""
        kind = "colour" if self.surface is None else "colour and depth"
        return (
            f"calibrated from {kind} of {self.demonstrations} demonstrations: reprojection"
            f" {self.reprojection:.2f} px, position to {1e3 * self.position_error:.1f} mm,"
            f" direction to {np.degrees(self.angle_error):.2f} deg"
            + "".join(f"; doubtful: {doubt}" for doubt in self.doubts)
        )


def calibrate_camera(
    demonstrations: Sequence[Demonstration],
    camera: str,
    model: RobotModel,
    *,
    intrinsics: Array | None = None,
    depth: bool = True,
    seed: int = 0,
    say: Callable[[str], object] = lambda _: None,
) -> Calibration:
    """Find a camera that stood still, in the robot's base frame, from scratch.

    What the demonstrations say about the camera's calibration is not looked at. Pixels are taken to
    be square, the principal point to be the picture's middle and the lens to be without
    distortion, unless ``intrinsics`` say otherwise.

    Args:
        demonstrations: In which the camera and the robot's base stood in the same places.
        camera: Name of the camera.
        model: Kinematics of the robot.
        intrinsics: Known ``(3, 3)`` matrix.
        depth: Whether depth is used where there is some.
        seed: The search is random.
        say: Called with what is being done.

    Raises:
        CalibrationError: The pictures do not show the robot's motion.
    """
    say("reading the pictures")
    pictures = Pictures.of(demonstrations, camera, FRAMES, depth=depth)
    body = Body(model, pictures.q)
    if not body.moving.any():
        raise CalibrationError(
            "the robot stands still in all demonstrations",
            where=f"camera {camera!r}",
            remedy="give demonstrations in which it moves",
        )
    say("looking for the camera from all sides")
    known = None if intrinsics is None else Pinhole.of(intrinsics, np.eye(4)).scaled(pictures.scale)
    best = _found(camera, pictures.colour().every(SEARCHED), model, known, seed)
    say("fitting the robot's outline")
    zoom = known is None
    fit = best and refine(best.camera, pictures.colour(), body, zoom=zoom)
    if fit and pictures.depth is not None:
        say("fitting the robot's surface")
        fit = refine(fit.camera, pictures, body, LAST, zoom=zoom)
    if fit is None:
        raise CalibrationError(
            "the robot's outline is not found in the pictures",
            where=f"camera {camera!r}",
            remedy="give more demonstrations, or a camera that sees more of the arm before a calm"
            " background",
        )
    say("fitting halves of the demonstrations apart")
    return _judged(camera, fit, pictures, model, zoom)


def _found(
    camera: str, few: Pictures, model: RobotModel, known: Pinhole | None, seed: int
) -> Fit | None:
    """The first sure one of what a search and rough fits find, or the best of several searches.

    Raises:
        CalibrationError: The pictures do not show the robot's motion.
    """
    body, rng = Body(model, few.q), np.random.default_rng(seed)
    best = None
    for _ in range(ATTEMPTS):
        found = search(few, body, rng, known, keep=CANDIDATES)
        correlation = max((score for score, _ in found), default=0.0)
        if correlation < CORRELATED:
            raise CalibrationError(
                "the pictures do not change as the robot moves",
                where=f"camera {camera!r}",
                value=f"correlation {correlation:.2f}",
                valid=[f"at least {CORRELATED}"],
                remedy="give a camera that stands still and sees the arm; for one on the robot"
                " itself, or several that share a name, give the calibration by hand",
            )
        for _, start in found:
            fit = refine(start, few, body, ROUGH, zoom=known is None)
            if fit is not None and (best is None or fit.share > best.share):
                best = fit
            if best is not None and best.share > SURE:
                return best
    return best


def _judged(
    camera: str, fit: Fit, pictures: Pictures, model: RobotModel, zoom: bool
) -> Calibration:
    """The fit with what can be said against it."""
    halves = []
    for chosen in pictures.halves():
        part = pictures.part(chosen)
        halves.append(refine(fit.camera, part, Body(model, part.q), LAST, zoom=zoom))
    episodes = len(np.unique(pictures.episode))
    result = Calibration(
        camera=camera,
        pinhole=fit.camera.scaled(1 / pictures.scale),
        reprojection=fit.reprojection / pictures.scale,
        share=fit.share,
        surface=fit.surface,
        position_error=np.inf,
        angle_error=np.inf,
        focal_error=np.inf,
        demonstrations=episodes,
        frames=len(pictures),
    )
    a, b = halves
    doubts = []
    if a is None or b is None:
        doubts.append("half of the demonstrations are too few to find the robot's outline")
    else:
        # the whole is about the mean of two halves, whose standard error is half their difference
        shift, turn = a.camera.difference(b.camera)
        zoomed = abs(float(np.log(a.camera.focal / b.camera.focal)))
        result = replace(
            result, position_error=shift / 2, angle_error=turn / 2, focal_error=zoomed / 2
        )
        if shift / 2 > SHIFT or turn / 2 > TURN:
            doubts.append(
                f"two halves of the demonstrations are {1e3 * shift:.0f} mm and"
                f" {np.degrees(turn):.1f} deg apart: the motion does not determine it"
            )
    if fit.share < OUTLINE:
        doubts.append(f"only {fit.share:.0%} of the robot's outline was found where it should be")
    if episodes < 3:
        doubts.append(f"{episodes} demonstrations show the robot in few places only")
    return replace(result, doubts=tuple(doubts))


@dataclass(frozen=True)
class CalibrationCheck:
    """How far a stored calibration is from what the pictures say.

    Attributes:
        shift: Distance of the stored from the fitted position [m].
        turn: Angle between the stored and the fitted orientation [rad].
        reprojection: Median distance of the robot's outline from where the stored calibration
            puts it [px].
        share: Of the predicted outline, what was found.
        fitted: The camera that the pictures say.
    """

    shift: float
    turn: float
    reprojection: float
    share: float
    fitted: Pinhole


def calibration_error(
    demonstrations: Demonstration | Sequence[Demonstration],
    camera: str,
    model: RobotModel,
    *,
    frames: int = 60,
) -> CalibrationCheck | None:
    """Compare the calibration that demonstrations carry with their pictures, depth included.

    The intrinsics are trusted; the pose is fitted from the stored one. More demonstrations make it
    surer: to a few millimetres from ten.

    Args:
        demonstrations: One or several with the same calibration of a fixed camera.
        camera: Name of the camera.
        model: Kinematics of the robot.
        frames: How many to look at.

    Returns:
        None where there is no calibration of a fixed camera, or the outline cannot be found.
    """
    several = [demonstrations] if isinstance(demonstrations, Demonstration) else demonstrations
    track = several[0].cameras[camera]
    if track.intrinsics is None or track.T_mount_camera is None or track.mount is not None:
        return None
    pictures = Pictures.of(several, camera, frames)
    stored = Pinhole.of(track.intrinsics, track.T_mount_camera).scaled(pictures.scale)
    body = Body(model, pictures.q)
    attempt = partial(refine, body=body, zoom=False)
    fit = attempt(stored, pictures.colour(), reaches=ROUGH)
    if fit is not None and pictures.depth is not None:
        fit = attempt(fit.camera, pictures, reaches=LAST)
    if fit is None:
        return None
    shift, turn = stored.difference(fit.camera)
    errors, _ = fit.borders.rows(stored)
    return CalibrationCheck(
        shift=shift,
        turn=turn,
        reprojection=float(np.median(np.abs(errors))) / pictures.scale,
        share=fit.share,
        fitted=fit.camera.scaled(1 / pictures.scale),
    )

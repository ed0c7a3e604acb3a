"""Things that stand fast on a table and have a part that moves, in PyBullet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .bullet import pybullet
from .scene import ObjectSpec

Vector = Sequence[float]
FRAME = (0.45, 0.45, 0.47)  # colour of what stands fast


def button(client: Any, o: ObjectSpec) -> int:
    """A plate with a cap that sinks by half of the fixture's height and springs back."""
    x, y, z = o.size
    plate = [((0.0, 0.0, -0.35 * z), (x, y, 0.3 * z))]
    cap = [((0.0, 0.0, 0.0), (0.6 * x, 0.6 * y, 0.5 * z))]
    down = (0.0, 0.0, -1.0)
    at = (0.0, 0.0, 0.25 * z)
    body = jointed(
        client, o, plate, cap, at=at, axis=down, kind=pybullet.JOINT_PRISMATIC, mass=0.02
    )
    client.changeDynamics(body, 0, jointLowerLimit=0.0, jointUpperLimit=0.4 * z)
    client.setJointMotorControl2(
        body, 0, pybullet.POSITION_CONTROL, targetPosition=0.0, positionGain=0.1, force=3.0
    )
    return body


def jointed(
    client: Any,
    o: ObjectSpec,
    fixed: Sequence[tuple[Vector, Vector]],
    moving: Sequence[tuple[Vector, Vector]],
    *,
    at: Vector,
    axis: Vector,
    kind: int,
    mass: float,
) -> int:
    """A fixture of boxes with one joint.

    Args:
        client: PyBullet.
        o: The thing.
        fixed: Middles and edges of the boxes that stand fast, in the fixture's frame.
        moving: The same of those that move, in the joint's frame.
        at: Place of the joint in the fixture's frame.
        axis: Of the joint.
        kind: PyBullet's.
        mass: Of what moves [kg].
    """
    shapes = []
    for boxes, color in ((fixed, (0.45, 0.45, 0.47)), (moving, o.color)):
        middles, halves = (
            [list(m) for m, _ in boxes],
            [[e / 2 for e in edges] for _, edges in boxes],
        )
        n = len(boxes)
        blank = {"radii": [0.0] * n, "lengths": [0.0] * n, "shapeTypes": [pybullet.GEOM_BOX] * n}
        shapes.append(
            (
                client.createCollisionShapeArray(
                    halfExtents=halves,
                    collisionFramePositions=middles,
                    collisionFrameOrientations=[[0, 0, 0, 1]] * n,
                    **blank,
                ),
                client.createVisualShapeArray(
                    halfExtents=halves,
                    visualFramePositions=middles,
                    visualFrameOrientations=[[0, 0, 0, 1]] * n,
                    rgbaColors=[[*color, 1]] * n,
                    **blank,
                ),
            )
        )
    body = client.createMultiBody(
        0,
        *shapes[0],
        o.position,
        client.getQuaternionFromEuler([0, 0, o.yaw]),
        linkMasses=[mass],
        linkCollisionShapeIndices=[shapes[1][0]],
        linkVisualShapeIndices=[shapes[1][1]],
        linkPositions=[at],
        linkOrientations=[[0, 0, 0, 1]],
        linkInertialFramePositions=[[0, 0, 0]],
        linkInertialFrameOrientations=[[0, 0, 0, 1]],
        linkParentIndices=[0],
        linkJointTypes=[kind],
        linkJointAxis=[axis],
    )
    for link in (-1, 0):
        client.changeVisualShape(body, link, specularColor=[0, 0, 0])
        client.changeDynamics(body, link, lateralFriction=o.friction)
    client.setJointMotorControl2(body, 0, pybullet.VELOCITY_CONTROL, force=0)
    return int(body)


FIXTURES: dict[str, Callable[[Any, ObjectSpec], int]] = {"button": button}

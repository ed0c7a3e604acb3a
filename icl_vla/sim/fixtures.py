"""Things that stand fast on a table and have a part that moves, in PyBullet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .bullet import pybullet
from .scene import ObjectSpec

Vector = Sequence[float]
TRAVEL = 0.4  # share of a button's height by which its cap sinks
LEANS = 1.9  # [rad] at which an open lid rests, past the vertical
FIN, SLIDES = 0.55, 0.5  # shares of a drawer's depth: its fin's length, how far it comes out
SWINGS, PANEL = 1.4, 0.4  # [rad] to a gate's stop; its panel's thickness as a share of its post's
_WALL = 0.06  # thickness of a box with a lid, as a share of its length
FRAME = (0.45, 0.45, 0.47)  # colour of what stands fast


def button(client: Any, o: ObjectSpec) -> int:
    """A plate with a cap that sinks by four tenths of the fixture's height and stays down."""
    x, y, z = o.size
    plate = [((0.0, 0.0, -0.35 * z), (x, y, 0.3 * z))]
    cap = [((0.0, 0.0, 0.0), (0.6 * x, 0.6 * y, 0.5 * z))]
    down = (0.0, 0.0, -1.0)
    at = (0.0, 0.0, 0.25 * z)
    body = jointed(
        client, o, plate, cap, at=at, axis=down, kind=pybullet.JOINT_PRISMATIC, mass=0.02
    )
    client.changeDynamics(body, 0, jointLowerLimit=0.0, jointUpperLimit=TRAVEL * z)
    rub(client, body, 1.5)
    return body


def lid(client: Any, o: ObjectSpec) -> int:
    """A box with a hinged lid, which a fin on it lifts; it stays open where it leans back."""
    x, y, z = o.size
    wall = _WALL * x
    height, middle = z - wall, -0.5 * wall
    box = [
        ((0.0, 0.0, 0.5 * (wall - z)), (x, y, wall)),
        *(((s * 0.5 * (x - wall), 0.0, middle), (wall, y, height)) for s in (-1, 1)),
        *(((0.0, s * 0.5 * (y - wall), middle), (x, wall, height)) for s in (-1, 1)),
    ]
    cover = [((0.5 * x, 0.0, 0.0), (x, y, wall)), fin(o)]
    at, axis = (-0.5 * x, 0.0, 0.5 * (z - wall)), (0.0, -1.0, 0.0)
    kind, balance = pybullet.JOINT_REVOLUTE, cover[0][0]
    body = jointed(client, o, box, cover, at=at, axis=axis, kind=kind, mass=0.06, middle=balance)
    client.changeDynamics(
        body, 0, jointLowerLimit=0.0, jointUpperLimit=LEANS, lateralFriction=0.4, jointDamping=2e-3
    )
    rub(client, body, 0.002)
    return body


def drawer(client: Any, o: ObjectSpec) -> int:
    """A chest, open at its -x side, from which a tray slides out by a fin on its front."""
    x, y, z = o.size
    wall = 0.06 * x
    chest = [
        ((0.0, 0.0, 0.5 * (wall - z)), (x, y, wall)),
        ((0.0, 0.0, 0.5 * (z - wall)), (x, y, wall)),
        *(((0.0, s * 0.5 * (y - wall), 0.0), (x, wall, z - 2 * wall)) for s in (-1, 1)),
        ((0.5 * (x - wall), 0.0, 0.0), (wall, y - 2 * wall, z - 2 * wall)),
    ]
    wide, deep = y - 3 * wall, x - 2 * wall
    low = -0.5 * z + 1.8 * wall
    tray = [
        ((-0.5 * x, 0.0, 0.0), (wall, y - wall, z - wall)),
        ((-0.5 * wall, 0.0, low), (deep, wide, 0.6 * wall)),
        *(
            ((-0.5 * wall, s * 0.5 * (wide - wall), 0.4 * low), (deep, wall, 1.2 * abs(low)))
            for s in (-1, 1)
        ),
        ((-0.5 * (x + FIN * x), 0.0, 0.1 * z), (FIN * x, 0.16 * x, 0.5 * z)),
    ]
    body = jointed(
        client,
        o,
        chest,
        tray,
        at=(0.0, 0.0, 0.0),
        axis=(-1.0, 0.0, 0.0),
        kind=pybullet.JOINT_PRISMATIC,
        mass=0.1,
    )
    client.changeDynamics(body, 0, jointLowerLimit=0.0, jointUpperLimit=SLIDES * x)
    rub(client, body, 0.5)
    return body


def gate(client: Any, o: ObjectSpec) -> int:
    """A post at the -x end and a panel that swings about it, to its left, until it meets a stop."""
    x, y, z = o.size
    post = [
        ((0.5 * (y - x), 0.0, 0.0), (y, y, z)),
        ((0.0, 0.0, 0.02 * z - 0.5 * z), (x, y, 0.04 * z)),
    ]
    length = x - 0.5 * y
    panel = [((0.5 * (length + 0.6 * y), 0.0, 0.04 * z), (length - 0.6 * y, PANEL * y, 0.9 * z))]
    body = jointed(
        client,
        o,
        post,
        panel,
        at=(0.5 * (y - x), 0.0, 0.0),
        axis=(0.0, 0.0, 1.0),
        kind=pybullet.JOINT_REVOLUTE,
        mass=0.06,
        middle=panel[0][0],
    )
    client.changeDynamics(body, 0, jointLowerLimit=0.0, jointUpperLimit=SWINGS)
    rub(client, body, 0.02)
    return body


def slot(client: Any, o: ObjectSpec) -> int:
    """A block with a hole straight down through it, of the edges ``o.hollow``."""
    x, y, z = o.size
    u, v = o.hollow
    boxes = [
        *(((s * 0.25 * (x + u), 0.0, 0.0), (0.5 * (x - u), y, z)) for s in (-1, 1)),
        *(((0.0, s * 0.25 * (y + v), 0.0), (u, 0.5 * (y - v), z)) for s in (-1, 1)),
    ]
    shapes = box_shapes(client, boxes, o.color)
    turn = client.getQuaternionFromEuler([0, 0, o.yaw])
    body = client.createMultiBody(0, *shapes, o.position, turn)
    client.changeVisualShape(body, -1, specularColor=[0, 0, 0])
    client.changeDynamics(body, -1, lateralFriction=o.friction)
    return int(body)


def fin(o: ObjectSpec) -> tuple[Vector, Vector]:
    """Middle and edges of the fin on a lid, in the moving part's frame."""
    x = o.size[0]
    edges = (0.22 * x, 0.14 * x, 0.3 * x)
    return (x - 0.5 * edges[0], 0.0, 0.5 * (_WALL * x + edges[2])), edges


def rub(client: Any, body: int, force: float) -> None:
    """Dry friction [N or Nm] in a fixture's joint."""
    client.setJointMotorControl2(
        body, 0, pybullet.VELOCITY_CONTROL, targetVelocity=0.0, force=force
    )


def box_shapes(
    client: Any, boxes: Sequence[tuple[Vector, Vector]], color: Vector
) -> tuple[int, int]:
    """Collision and visual shape of boxes, each with its middle and its edges."""
    middles, halves = [list(m) for m, _ in boxes], [[e / 2 for e in edges] for _, edges in boxes]
    n = len(boxes)
    blank = {"radii": [0.0] * n, "lengths": [0.0] * n, "shapeTypes": [pybullet.GEOM_BOX] * n}
    return (
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
    middle: Vector = (0.0, 0.0, 0.0),
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
        middle: Of that mass, in the joint's frame.
    """
    shapes = [box_shapes(client, fixed, FRAME), box_shapes(client, moving, o.color)]
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
        linkInertialFramePositions=[middle],
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


FIXTURES: dict[str, Callable[[Any, ObjectSpec], int]] = {
    "button": button,
    "lid": lid,
    "drawer": drawer,
    "slot": slot,
    "gate": gate,
}

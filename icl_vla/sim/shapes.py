"""Bodies of the things on a table, in PyBullet."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from .bullet import pybullet
from .fixtures import FIXTURES
from .scene import ObjectSpec

_BOWL_SEGMENTS = 12
_CLEARANCE = 0.001  # [m] of a bowl's wall over the table: one contact patch, not thirteen
_WALL = 0.005  # [m] thickness of a bowl's wall
_BAR = 1 / 3  # width of the bars of which a cross, tee or ell is made, as a share of its length
Vector = Sequence[float]


def build(client: Any, o: ObjectSpec) -> int:
    """Make a thing's body; its number in the client."""
    if o.shape in ("mark", "line"):
        visual = client.createVisualShape(**_paint(o), **_look(o))
        return int(client.createMultiBody(0, -1, visual, o.position, _turn(client, o)))
    if o.shape in FIXTURES:
        body = FIXTURES[o.shape](client, o)
        if o.joint:
            client.resetJointState(body, 0, o.joint)
        return body
    body = _MOVABLE.get(o.shape, _primitive)(client, o)
    client.changeDynamics(
        body,
        -1,
        lateralFriction=o.friction,
        # [m] both; what is in a cup shall roll out of it
        rollingFriction=0.0 if o.shape == "cup" else 0.05 * min(o.size),
        # a disc's: 2/3 of its radius; a ball touches in a point
        spinningFriction=0.0 if o.shape == "sphere" else 0.25 * max(o.size[:2]),
        linearDamping=0.2,
        angularDamping=0.3,
        activationState=pybullet.ACTIVATION_STATE_ENABLE_SLEEPING,
    )
    return body


def _paint(o: ObjectSpec) -> dict[str, Any]:
    if o.shape == "line":
        return {"shapeType": pybullet.GEOM_BOX, "halfExtents": [s / 2 for s in o.size]}
    return {"shapeType": pybullet.GEOM_CYLINDER, "radius": o.size[0] / 2, "length": o.size[2]}


def _look(o: ObjectSpec) -> dict[str, Any]:
    color = o.color if o.pattern == "plain" else (1.0, 1.0, 1.0)  # the texture has the colours
    return {"rgbaColor": [*color, 1], "specularColor": [0, 0, 0]}


def _turn(client: Any, o: ObjectSpec) -> Vector:
    turn: Vector = client.getQuaternionFromEuler([0, 0, o.yaw])
    return turn


def _primitive(client: Any, o: ObjectSpec) -> int:
    x, _, height = o.size
    shapes: dict[str, tuple[int, dict[str, Any]]] = {
        "box": (pybullet.GEOM_BOX, {"halfExtents": [s / 2 for s in o.size]}),
        "bar": (pybullet.GEOM_BOX, {"halfExtents": [s / 2 for s in o.size]}),
        "cylinder": (pybullet.GEOM_CYLINDER, {"radius": x / 2}),
        "sphere": (pybullet.GEOM_SPHERE, {"radius": x / 2}),
    }
    kind, size = shapes[o.shape]
    tall = {"height": height} if o.shape == "cylinder" else {}
    long = {"length": height} if o.shape == "cylinder" else {}
    return int(
        client.createMultiBody(
            o.mass,
            client.createCollisionShape(kind, **size, **tall),
            client.createVisualShape(kind, **size, **long, **_look(o)),
            o.position,
            _turn(client, o),
        )
    )


def _boxes(client: Any, o: ObjectSpec, boxes: Sequence[tuple[Vector, Vector]], mass: float) -> int:
    """One body of several boxes, each with its middle and its edges."""
    middles = [list(middle) for middle, _ in boxes]
    halves = [[e / 2 for e in edges] for _, edges in boxes]
    n = len(boxes)
    collision = client.createCollisionShapeArray(
        shapeTypes=[pybullet.GEOM_BOX] * n,
        halfExtents=halves,
        radii=[0.0] * n,
        lengths=[0.0] * n,
        collisionFramePositions=middles,
        collisionFrameOrientations=[[0, 0, 0, 1]] * n,
    )
    visual = client.createVisualShapeArray(
        shapeTypes=[pybullet.GEOM_BOX] * n,
        halfExtents=halves,
        radii=[0.0] * n,
        lengths=[0.0] * n,
        rgbaColors=[_look(o)["rgbaColor"]] * n,
        visualFramePositions=middles,
        visualFrameOrientations=[[0, 0, 0, 1]] * n,
    )
    body = client.createMultiBody(mass, collision, visual, o.position, _turn(client, o))
    client.changeVisualShape(body, -1, specularColor=[0, 0, 0])
    return int(body)


def _bars(client: Any, o: ObjectSpec) -> int:
    """A cross, tee or ell of two bars, its origin in the middle of its outline."""
    x, y, z = o.size
    wide, deep = _BAR * x, _BAR * y
    along = ((0.0, 0.0, 0.0), (x, deep, z))
    across = ((0.0, 0.0, 0.0), (wide, y, z))
    parts = {
        "cross": [along, across],
        "tee": [((0.0, (y - deep) / 2, 0.0), (x, deep, z)), across],
        "ell": [
            ((0.0, -(y - deep) / 2, 0.0), (x, deep, z)),
            ((-(x - wide) / 2, 0.0, 0.0), (wide, y, z)),
        ],
    }
    return _boxes(client, o, parts[o.shape], o.mass)


def _hook(client: Any, o: ObjectSpec) -> int:
    """A stick along x, its origin in the middle of it, and a bar to the +y side at the +x end."""
    x, y, z = o.size
    stick = ((0.0, 0.0, 0.0), (x, z, z))
    bar = ((0.5 * (x - z), 0.5 * (y - z), 0.0), (z, y, z))
    return _boxes(client, o, [stick, bar], o.mass)


def _bowl(client: Any, o: ObjectSpec) -> int:
    """A round base with a ring of upright plates; its origin is the centre of its height.

    In contact the base is two square slabs, the upper one turned by an eighth: a disc on a
    plane has contact points that wander, and what lies in such a bowl may rock for ever.
    """
    radius, height = o.size[0] / 2, o.size[2]
    plate = [
        _WALL / 2,
        (radius + _WALL) * math.tan(math.pi / _BOWL_SEGMENTS),
        (height - _CLEARANCE) / 2,
    ]
    angles = [2 * math.pi * i / _BOWL_SEGMENTS for i in range(_BOWL_SEGMENTS)]
    ring = radius - _WALL / 2
    positions = [[ring * math.cos(a), ring * math.sin(a), _CLEARANCE / 2] for a in angles]
    turns = [client.getQuaternionFromEuler([0, 0, a]) for a in angles]
    base_z = -height / 2 + _WALL / 2
    slab = [0.7 * radius, 0.7 * radius, _WALL / 2]
    collision = client.createCollisionShapeArray(
        shapeTypes=[pybullet.GEOM_BOX] * (_BOWL_SEGMENTS + 2),
        halfExtents=[*([plate] * _BOWL_SEGMENTS), slab, slab],
        radii=[0.0] * (_BOWL_SEGMENTS + 2),
        lengths=[0.0] * (_BOWL_SEGMENTS + 2),
        collisionFramePositions=[*positions, [0, 0, base_z], [0, 0, base_z + _CLEARANCE / 2]],
        collisionFrameOrientations=[
            *turns,
            [0, 0, 0, 1],
            client.getQuaternionFromEuler([0, 0, math.pi / 4]),
        ],
    )
    visual = client.createVisualShapeArray(
        shapeTypes=[pybullet.GEOM_BOX] * _BOWL_SEGMENTS + [pybullet.GEOM_CYLINDER],
        halfExtents=[*([plate] * _BOWL_SEGMENTS), [0.0, 0.0, 0.0]],
        radii=[*([0.0] * _BOWL_SEGMENTS), radius],
        lengths=[*([0.0] * _BOWL_SEGMENTS), _WALL],
        rgbaColors=[_look(o)["rgbaColor"]] * (_BOWL_SEGMENTS + 1),
        visualFramePositions=[*positions, [0, 0, base_z]],
        visualFrameOrientations=[*turns, [0, 0, 0, 1]],
    )
    body = client.createMultiBody(o.mass, collision, visual, o.position, _turn(client, o))
    for link in range(-1, client.getNumJoints(body)):
        client.changeVisualShape(body, link, specularColor=[0, 0, 0])
    return int(body)


_MOVABLE: dict[str, Callable[[Any, ObjectSpec], int]] = {
    "bowl": _bowl,
    "cup": _bowl,
    "hook": _hook,
    "cross": _bars,
    "tee": _bars,
    "ell": _bars,
}

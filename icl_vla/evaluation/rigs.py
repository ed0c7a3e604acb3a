"""Cameras of a workplace, from the patch that the robot works on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from icl_vla_embodiments import ReportedError
from icl_vla_retrieval import CameraSpec as StoredCamera

from ..sim.floor import Floor
from ..sim.scene import CameraSpec
from ..sim.workcell import Workcell
from ..sim.workspace import Workspace

_SMALL = 96  # [px]


def _front(cell: Workcell) -> dict[str, CameraSpec]:
    """A camera for each patch: ``front``, and ``other`` for a second arm's."""
    workspace = cell.workspace
    return (
        workspace.cameras() if isinstance(workspace, Workspace) else {"front": workspace.camera()}
    )


def _fronts(cell: Workcell) -> dict[str, CameraSpec]:
    return {n: replace(c, width=_SMALL, height=_SMALL) for n, c in _front(cell).items()}


def _small(workspace: Workspace) -> CameraSpec:
    return replace(workspace.camera(), width=_SMALL, height=_SMALL)


def _side(workspace: Workspace) -> CameraSpec:
    """The same patch from the other side."""
    cx, cy = workspace.center
    span = max(workspace.half)
    small = _small(workspace)
    return replace(
        small,
        eye=(cx + 1.6 * span, cy - 1.7 * span, 2.6 * span),
        target=(cx + 0.02 * span, cy - 0.03 * span, 0.1 * span),
    )


def _wrist(cell: Workcell) -> CameraSpec:
    """Beside the tool, looking past its tip."""
    workspace = cell.workspace
    tool = cell.embodiment.tcp[workspace.effector]
    wide = workspace.aperture
    in_tool = CameraSpec(
        eye=(1.2 * wide + 0.05, 0.0, -0.5 * wide - 0.05),
        target=(0.3 * wide, 0.0, 0.5 * wide + 0.05),
        width=_SMALL,
        height=_SMALL,
        fov=60.0,
        link=tool.link,
        up=(1.0, 0.0, 0.0),
    )
    return replace(in_tool.carried(tool.matrix), link=tool.link)


def _base(cell: Workcell) -> dict[str, CameraSpec]:
    """On a base that drives, above the front of its body, looking ahead and down."""
    floor = cell.workspace
    if not isinstance(floor, Floor):
        raise ReportedError("only a base that drives about carries a camera", value="base")
    tip = float(floor.outline[1, 0])
    root = next(iter(cell.model.link_poses(cell.model.neutral)))  # the tree's first link
    eye, target = (tip, 0.0, 0.35), (tip + 0.6, 0.0, 0.0)
    return {"base": CameraSpec(eye, target, width=_SMALL, height=_SMALL, fov=70.0, link=root)}


RIGS: Mapping[str, Callable[[Workcell], dict[str, CameraSpec]]] = {
    "front": _front,
    "single": _fronts,
    "pair": lambda s: {**_fronts(s), "side": _side(s.workspace)},
    "wrist": lambda s: {**_fronts(s), "wrist": _wrist(s)},
    "base": lambda s: {"front": _small(s.workspace), **_base(s)},
    "base and wrist": lambda s: {**RIGS["base"](s), "wrist": _wrist(s)},
    "three": lambda s: {**RIGS["pair"](s), "wrist": _wrist(s)},
}
"""Name -> cameras: ``front`` is the usual one; those of the others have 96 px."""


def stored(cameras: Mapping[str, CameraSpec]) -> dict[str, StoredCamera]:
    """The same cameras as a bank keeps their pictures."""
    return {n: StoredCamera(c.height, c.width, depth=True) for n, c in cameras.items()}

"""Shapes and joints as URDF elements."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable

from .. import se3
from ..types import Array
from .tree import Joint, Shape


def _text(values: Iterable[float]) -> str:
    return " ".join(repr(float(v)) for v in values)


def origin_element(T: Array) -> ET.Element:
    """``<origin>`` of a pose."""
    return ET.Element("origin", xyz=_text(T[:3, 3]), rpy=_text(se3.euler_xyz(T[:3, :3])))


def shape_element(shape: Shape) -> ET.Element:
    """``<visual>`` or ``<collision>`` of a shape."""
    part = ET.Element(shape.role)
    part.append(origin_element(shape.T_link_shape))
    geometry = ET.SubElement(part, "geometry")
    if shape.kind == "mesh":
        ET.SubElement(geometry, "mesh", filename=str(shape.mesh), scale=_text(shape.size))
    elif shape.kind == "box":
        ET.SubElement(geometry, "box", size=_text(shape.size))
    elif shape.kind == "sphere":
        ET.SubElement(geometry, "sphere", radius=_text(shape.size))
    else:
        radius, length = shape.size
        ET.SubElement(geometry, shape.kind, radius=repr(radius), length=repr(length))
    if shape.role == "visual" and shape.rgba is not None:
        name = "rgba_" + "_".join(f"{c:.4g}" for c in shape.rgba)
        material = ET.SubElement(part, "material", name=name)
        ET.SubElement(material, "color", rgba=_text(shape.rgba))
    return part


def joint_element(joint: Joint) -> ET.Element:
    """``<joint>``; followers stay plain joints beside their ``<mimic>``."""
    element = ET.Element("joint", name=joint.name, type=joint.type)
    element.append(origin_element(joint.T))
    ET.SubElement(element, "parent", link=joint.parent)
    ET.SubElement(element, "child", link=joint.child)
    if not joint.moves:
        return element
    ET.SubElement(element, "axis", xyz=_text(joint.axis))
    limit = {"effort": repr(joint.effort or 0.0), "velocity": repr(joint.velocity or 0.0)}
    if joint.type != "continuous":
        limit |= {"lower": repr(float(joint.lower or 0)), "upper": repr(float(joint.upper or 0))}
    ET.SubElement(element, "limit", limit)
    if joint.mimic is not None:
        ET.SubElement(
            element,
            "mimic",
            joint=joint.mimic.master,
            multiplier=repr(joint.mimic.multiplier),
            offset=repr(joint.mimic.offset),
        )
    return element

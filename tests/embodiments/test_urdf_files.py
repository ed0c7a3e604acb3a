"""Where mesh files are looked for."""

import pytest

from icl_vla_embodiments.urdf.files import resolve


@pytest.fixture
def tree(tmp_path):
    """``ws/acme_description`` (package ``acme``) with ``urdf/`` and ``meshes/a.stl``."""
    root = tmp_path / "ws" / "acme_description"
    (root / "urdf").mkdir(parents=True)
    (root / "meshes").mkdir()
    (root / "meshes" / "a.stl").write_text("solid")
    (root / "package.xml").write_text("<package><name>acme</name></package>")
    return root


@pytest.mark.parametrize(
    "filename",
    [
        "package://acme/meshes/a.stl",  # by its package.xml
        "package://acme_description/meshes/a.stl",  # by the folder's name
        "model://acme_description/meshes/a.stl",
        "package://meshes/a.stl",  # no package at all: by the tail of the path
        "package://elsewhere/deep/meshes/a.stl",
        "../meshes/a.stl",
        "..\\meshes\\a.stl",
        "{root}/meshes/a.stl",
        "file://{root}/meshes/a.stl",
    ],
)
def test_found(tree, filename):
    found = resolve(filename.format(root=tree), tree / "urdf", {})
    assert found == (tree / "meshes" / "a.stl").resolve()


def test_given_package_comes_first(tree, tmp_path):
    other = tmp_path / "other" / "meshes"
    other.mkdir(parents=True)
    (other / "a.stl").write_text("solid")
    found = resolve("package://acme/meshes/a.stl", tree / "urdf", {"acme": other.parent})
    assert found == other / "a.stl"


def test_ros_environment(tree, tmp_path, monkeypatch):
    monkeypatch.setenv("ROS_PACKAGE_PATH", str(tree.parent))
    folder = tmp_path / "far" / "away"
    folder.mkdir(parents=True)
    assert resolve("package://acme_description/meshes/a.stl", folder, {}) is not None
    assert resolve("package://acme_description/meshes/b.stl", folder, {}) is None

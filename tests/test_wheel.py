"""What `pip install vidu-pipe` installs: the packages, whole, and nothing else; and it works far from the checkout."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("schemas", "workers", "pipeline")
LIBRARY = "pipeline/api/"  # here lies the folder of the package vidu_pipe
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-cache-dir")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel, built of a copy of the sources: a build leaves folders behind, and takes what an older one left."""
    folder = tmp_path_factory.mktemp("wheel")
    skipped = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in (*PACKAGES, "tests", "examples"):
        shutil.copytree(ROOT / name, folder / "sources" / name, ignore=skipped)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "sources")
    subprocess.run(
        [*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, folder / "sources"], check=True
    )
    (built,) = folder.glob("*.whl")
    return built


def test_a_wheel_holds_every_file_of_the_packages_and_no_tests_and_no_examples(wheel):
    files = (path.relative_to(ROOT) for name in PACKAGES for path in (ROOT / name).rglob("*") if path.is_file())
    expected = {path.as_posix().removeprefix(LIBRARY) for path in files if path.parent.name != "__pycache__"}
    assert {"vidu_pipe/__init__.py", "vidu_pipe/py.typed", "pipeline/cli/__init__.py"} <= expected
    with zipfile.ZipFile(wheel) as opened:
        names = set(opened.namelist())
    assert {name for name in names if ".dist-info/" not in name} == expected


SAY = """
import sys, vidu_pipe
light = {"torch", "ray", "h5py", "cv2", "av"}.isdisjoint(sys.modules)
import pipeline, schemas, workers
print(light, vidu_pipe.__version__, *(package.__file__ for package in (vidu_pipe, pipeline, schemas, workers)))
"""


def test_what_is_installed_works_outside_the_checkout(wheel, tmp_path):
    installed, away = tmp_path / "installed", tmp_path / "away"
    away.mkdir()
    subprocess.run([*PIP, "install", "--no-deps", "--target", installed, wheel], check=True)

    def run(*command):
        return subprocess.run(
            command,
            cwd=away,
            env=os.environ | {"PYTHONPATH": str(installed)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    light, version, *files = run(sys.executable, "-c", SAY).split()
    assert light == "True", "the library imports nothing heavy until it is used"
    assert version == wheel.name.split("-")[1]
    assert all(Path(file).is_relative_to(installed) for file in files)
    assert "train-fusion" in run(installed / "bin" / "vidu-pipe", "--help")

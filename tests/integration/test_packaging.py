"""What the wheel carries, and that importing the library stays light."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import movideo

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"movideo", "stages", "datamodules"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT],
        check=True,
        capture_output=True,
    )
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_installs_three_packages_and_nothing_else(wheel):
    top = {name.split("/")[0] for name in wheel.namelist()}
    assert top == PACKAGES | {f"movideo-{movideo.__version__}.dist-info"}


def test_the_wheel_carries_types_configs_weights_and_command(wheel):
    names = set(wheel.namelist())
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    for folder, inside in [("configs", "movideo/configs"), ("movideo/weights", "movideo/weights")]:
        files = [p.relative_to(ROOT / folder) for p in (ROOT / folder).rglob("*") if p.is_file()]
        assert {f"{inside}/{file.as_posix()}" for file in files} <= names
    info = f"movideo-{movideo.__version__}.dist-info"
    assert b"movideo = movideo.cli:main" in wheel.read(f"{info}/entry_points.txt")
    assert f"{info}/licenses/LICENSE" in names


def test_importing_movideo_is_light():
    heavy = ["torch", "diffusers", "open_clip", "lightning", "transformers", "cv2", "av"]
    code = f"import sys, movideo, movideo.models; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT
    )
    assert result.stdout.strip() == "[]"


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = movideo.no_such_name

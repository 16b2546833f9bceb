"""Two processes train as one: losses, weights, averages, and which steps are skipped."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.stages.two_processes import BAD_STEP, STEPS, train

SCRIPT = Path(__file__).with_name("two_processes.py")
# Sums of other lengths, over ten steps: in float32, and in double precision.
ROUNDING, IN_DOUBLE = 1e-4, 1e-9


@pytest.mark.timeout(600)  # half a minute; more where others use the cores that two need
@pytest.mark.parametrize(
    "stages",
    ["23d", pytest.param("01", marks=pytest.mark.slow)],
    ids=["stages 2 3", "stages 0 1"],
)
def test_two_processes_train_as_one(tmp_path, stages):
    """Stage 3 past the start of its GAN, its batches in four parts on two processes."""
    out = tmp_path / "two.pt"
    command = [sys.executable, str(SCRIPT), "2", stages, str(out)]
    subprocess.run(command, check=True, capture_output=True, timeout=500)
    together = torch.load(out, weights_only=True)
    for number in stages:
        alone, both = train(number, 1, tmp_path), together[number]
        tolerance = IN_DOUBLE if number == "d" else ROUNDING
        finite = torch.arange(STEPS) != BAD_STEP
        assert torch.equal(alone["losses"].isfinite(), finite)
        assert torch.equal(both["losses"].isfinite(), finite)
        assert both["skipped"] == alone["skipped"] == 1
        assert_close(both["losses"][finite], alone["losses"][finite], tolerance)
        for kind in ("changes", "average"):
            networks, others = by_network(alone[kind]), by_network(both[kind])
            assert networks.keys() == others.keys()
            for name, expected in networks.items():
                assert expected.norm() > 0
                assert_close(others[name], expected, tolerance)


def by_network(tensors):
    """All numbers of each trained network in one vector: tiny gradients are rounding alone."""
    parts = {}
    for name, value in tensors.items():
        parts.setdefault(name.partition(".")[0], []).append(value.flatten())
    return {name: torch.cat(values) for name, values in parts.items()}


def assert_close(found, expected, tolerance):
    assert (found - expected).norm() <= tolerance * expected.norm()

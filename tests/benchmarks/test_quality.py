"""The embedded weights are as good as they were, and it is seen when they are not."""

import json

import pytest
import torch

from benchmarks.quality import BASELINE, STEPS, TOLERANCE, drop, measure
from movideo.hub import EMBEDDED
from movideo.pipeline import MoVideoPipeline

SCENES = 2


@pytest.fixture(scope="module")
def before():
    """By score, what the first scenes had when the weights were made."""
    return {name: values[:SCENES] for name, values in json.loads(BASELINE.read_text()).items()}


def test_no_score_of_the_embedded_weights_has_dropped(before):
    found = measure(MoVideoPipeline.from_pretrained(EMBEDDED), SCENES, film=None, steps=STEPS)
    dropped = {name: drop(values, before[name]) for name, values in found.items()}
    assert {name: d for name, d in dropped.items() if d[1] < -TOLERANCE} == {}
    assert {name for name in before if not name.startswith("film")} == found.keys()


def test_noise_on_a_network_is_seen(before):
    pipeline = MoVideoPipeline.from_pretrained(EMBEDDED)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in pipeline.video_unet.parameters():
            weight += (
                0.1 * weight.std(correction=0) * torch.randn(weight.shape, generator=generator)
            )
    found = measure(pipeline, SCENES, film=None, steps=STEPS)
    worse = {name for name, values in found.items() if drop(values, before[name])[1] < -TOLERANCE}
    assert "stage 2 over the still, true motion, dB" in worse
    assert "autoencoder, dB" not in worse

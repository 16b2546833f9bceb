"""CLIPSIM and frame consistency against open_clip, on a tiny CLIP saved as its own are."""

import json

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch.nn.functional import normalize

from movideo.errors import UserError
from movideo.metrics import CLIPSIM, FrameConsistency
from movideo.metrics.extractors import clip as clip_module
from tests.metrics.parts import judged, random_clips

MEAN, STD = [0.1, 0.2, 0.3], [0.5, 0.6, 0.7]
PROMPTS = ["a red ball rolls down a hill", "two dogs", "rain at night " * 40]  # the last too long


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Its folder and itself."""
    config = {
        "embed_dim": 16,
        "vision_cfg": {
            "image_size": 32, "patch_size": 16, "width": 32, "layers": 1, "head_width": 16,
        },
        "text_cfg": {
            "context_length": 77, "vocab_size": 49408, "width": 16, "heads": 1, "layers": 1,
        },
    }  # fmt: skip
    torch.manual_seed(3)
    clip = open_clip.CLIP(**config).eval()
    folder = tmp_path_factory.mktemp("clip")
    written = {"model_cfg": config, "preprocess_cfg": {"mean": MEAN, "std": STD}}
    (folder / "open_clip_config.json").write_text(json.dumps(written))
    save_file(clip.state_dict(), folder / "open_clip_model.safetensors")
    return str(folder), clip


@torch.no_grad()
def points_of(clip, video):
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STD))
    pixels = ((video + 1) / 2 - mean) / std
    return normalize(clip.encode_image(pixels.flatten(0, 1)), dim=1).view(*video.shape[:2], -1)


@pytest.mark.parametrize("prefix", ["", "local-dir:"])
@torch.no_grad()
def test_clipsim_is_the_mean_cosine_of_prompt_and_frames(clip, prefix):
    folder, model = clip
    video = random_clips(3)
    metric = CLIPSIM(prefix + folder)
    metric.update(judged(video, prompts=PROMPTS))
    sentences = normalize(model.encode_text(open_clip.tokenize(PROMPTS)), dim=1)
    expected = (points_of(model, video) * sentences[:, None]).sum(dim=2).mean(dim=1)
    # float32 sums over one video or three
    assert metric.compute().item() == pytest.approx(expected.mean().item(), abs=1e-6)
    assert "prompts" in metric.needs
    assert not metric.fits(judged(video))


def test_frame_consistency_is_the_mean_cosine_of_neighbours(clip):
    folder, model = clip
    video = random_clips(2)
    metric = FrameConsistency(folder)
    metric.update(judged(video))
    points = points_of(model, video)
    expected = (points[:, 1:] * points[:, :-1]).sum(dim=2).mean()
    assert metric.compute().item() == pytest.approx(expected.item(), abs=1e-6)


def test_a_frozen_clip_wins_frame_consistency(clip):
    video = random_clips(1)
    moving, frozen = FrameConsistency(clip[0]), FrameConsistency(clip[0])
    moving.update(judged(video))
    frozen.update(judged(video[:, :1].expand_as(video)))
    assert frozen.frozen_clip_wins
    assert frozen.compute().item() == pytest.approx(1)
    assert moving.compute().item() < 0.9999


def test_wide_frames_are_cut_at_the_centre(clip):
    """A frame twice as wide, its sides of another colour: only the middle counts."""
    folder, _ = clip
    square = random_clips(1)
    wide = torch.ones(1, 4, 3, 32, 64)
    wide[..., 16:48] = square
    metric = CLIPSIM(folder)
    metric.update(judged(wide, prompts=PROMPTS[:1]))
    other = CLIPSIM(folder)
    other.update(judged(square, prompts=PROMPTS[:1]))
    assert metric.compute() == other.compute()


def test_metrics_share_one_clip(clip):
    assert CLIPSIM(clip[0]).towers is FrameConsistency(clip[0]).clone().towers
    extractor = CLIPSIM(clip[0]).protocol()["extractor"]
    assert clip[0] in extractor
    assert len(extractor.rpartition(" ")[2]) == 64  # the hash of its weights


def test_what_a_hub_cannot_give_is_not_computed(monkeypatch):
    def unreachable(name):
        raise UserError(f"{name}: no image encoder could be loaded (offline)")

    monkeypatch.setattr(clip_module, "create_clip", unreachable)
    for name in ("ViT-B-32:openai", "hf-hub:owner/name"):
        assert CLIPSIM(name).unavailable() == f"{name}: no image encoder could be loaded (offline)"
    for name in ("ViT-B-32:gone.pt", "local-dir:gone"):
        with pytest.raises(UserError, match="no image encoder could be loaded"):
            CLIPSIM(name)


def test_a_missing_clip_is_named():
    assert CLIPSIM().unavailable().startswith("name a CLIP as its `pretrained`: open_clip's")
    assert FrameConsistency().unavailable() == CLIPSIM().unavailable()
    with pytest.raises(UserError, match="add a tag such as"):
        CLIPSIM("no-such-folder")

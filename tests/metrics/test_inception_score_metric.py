"""The Inception Score of videos from a classifier on disk."""

import pytest
import torch

from movideo.errors import UserError
from movideo.hub.weight_files import cache_folder
from movideo.metrics import InceptionScore, inception_score
from movideo.metrics.extractors import C3D
from tests.metrics.parts import Classifier, judged, random_clips, write_script


@pytest.fixture
def classifier(tmp_path):
    path = tmp_path / "classes.pt"
    return str(path), write_script(Classifier(), path)


def test_a_score_from_a_file(classifier):
    metric = InceptionScore(C3D(*classifier, frames=2), gives="logits", splits=2)
    video = random_clips(6)
    metric.update(judged(video))
    # bytes, of the two middle frames
    logits = ((video[:, 1:3] + 1) * 127.5).mean(dim=(1, 3, 4))
    _, rows = metric.table()
    assert sorted(rows.flatten().tolist()) == pytest.approx(
        sorted(logits.softmax(dim=1).flatten().tolist()), abs=1e-4
    )
    assert metric.compute().item() == pytest.approx(inception_score(rows, splits=2).item())
    low, high = metric.interval(replicates=20)
    assert low < metric.compute().item() < high
    assert metric.protocol()["splits"] == 2
    assert classifier[1] in metric.protocol()["extractor"]


def test_probabilities_are_taken_as_they_are(classifier):
    metric = InceptionScore(C3D(*classifier, frames=2, value_range=(0, 1)), splits=1)
    white = torch.ones(2, 4, 3, 8, 8)
    metric.update(judged(white))
    assert metric.rows[0].tolist() == [pytest.approx([1, 1, 1])]


def test_few_videos_are_warned_of(classifier):
    metric = InceptionScore(C3D(*classifier, frames=2), gives="logits", splits=2)
    metric.update(judged(random_clips(1)))
    assert "IS: 5 videos in 2 splits, for 3 classes" in metric.warning(5)
    assert metric.warning(6) is None
    assert metric.interval() is None
    assert metric.compute().item() == pytest.approx(1)


def test_what_cannot_be(classifier):
    path, _ = classifier
    with pytest.raises(UserError, match="TorchScript is code, so say which file you trust"):
        C3D(path)
    with pytest.raises(UserError, match="has sha256"):
        C3D(path, sha256="0" * 64)
    with pytest.raises(UserError, match="splits: 0; give at least 1"):
        InceptionScore(splits=0)
    assert InceptionScore().unavailable() == (
        f"name c3d_ucf101.pt (published with StyleGAN-V; its `sha256` beside it) as `path`, "
        f"or put it into {cache_folder()}"
    )
    assert InceptionScore(C3D(*classifier)).unavailable() is None
    assert InceptionScore().compute().isnan()

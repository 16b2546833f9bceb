"""FVD, FID and the embedded distance: their files, their sets, what they find good and bad."""

import pytest
import torch
from torch.nn.functional import avg_pool2d, pad
from torchmetrics.image.fid import FrechetInceptionDistance, NoTrainInceptionV3

from movideo.errors import UserError
from movideo.metrics import FID, FVD, EmbeddedVideoDistance, FrechetDistance, frechet_distance
from movideo.metrics.extractors import I3D, InceptionV3, VideoNetwork
from movideo.metrics.extractors import inception as inception_module
from movideo.metrics.extractors.video import I3D_SHA256
from tests.metrics.parts import (
    Classifier,
    Judge,
    judged,
    made_of,
    moving_scenes,
    part,
    random_clips,
    sha256_of,
    write_script,
)


@pytest.fixture
def judge(tmp_path):
    """A network of the I3D's signature on disk, and its hash."""
    path = tmp_path / "judge.pt"
    return str(path), write_script(Judge(), path)


def colours(video):
    """What `Classifier` sees."""
    return video.mean(dim=(1, 3, 4))


def test_two_sets_of_the_distance():
    """The true clips count once each, however many videos name them; the sets differ in size."""
    video, truth = random_clips(5), random_clips(3, seed=1)
    owner = [0, 0, 1, 2, 2]
    metric = FrechetDistance(VideoNetwork(Classifier()), "colours")
    metric.update(judged(video, truth=truth[owner], references=[f"clip {i}" for i in owner]))
    expected = frechet_distance(colours(video), colours(truth))
    # float32 features, summed in another order
    assert metric.compute().item() == pytest.approx(expected.item(), rel=1e-4)
    assert metric.name == "colours"


def test_equal_sets_have_none_and_a_shift_has_its_square():
    video = random_clips(4) / 2
    metric = FrechetDistance(VideoNetwork(Classifier()))
    metric.update(judged(video, truth=video))
    assert metric.compute().item() == pytest.approx(0, abs=1e-12)
    shifted = FrechetDistance(VideoNetwork(Classifier()))
    shifted.update(judged(video + 0.25, truth=video))
    assert shifted.compute().item() == pytest.approx(3 * 0.25**2, rel=1e-4)  # float32 features


class Frames(VideoNetwork):
    def forward(self, video):
        return video.mean(dim=(3, 4))


class Colours(torch.nn.Module):
    num_features = 3

    def forward(self, images):
        return images.mean(dim=(2, 3))


def test_samples_of_several_frames_a_video_against_torchmetrics():

    video, truth = random_clips(3), random_clips(2, seed=1)
    metric = FrechetDistance(Frames(Classifier()))
    metric.update(judged(video, truth=truth[[0, 1, 1]], references=["a", "b", "b"]))
    theirs = FrechetInceptionDistance(feature=Colours(), normalize=True).set_dtype(torch.float64)
    theirs.update(video.flatten(0, 1).double(), real=False)
    theirs.update(truth.flatten(0, 1).double(), real=True)
    # our features are float32
    assert metric.compute().item() == pytest.approx(theirs.compute().item(), rel=1e-4)
    assert metric.warning(3) is None  # 12 samples of 3 features
    assert metric.interval(replicates=5) is not None


def test_the_truth_is_looked_at_once_for_all_methods():
    seen = []

    class Counting(VideoNetwork):
        def forward(self, video):
            seen.append(video)
            return super().forward(video)

    metric = FrechetDistance(Counting(Classifier()))
    copy = metric.clone()
    clips = judged(random_clips(2), truth=random_clips(2, seed=1))
    metric.update(clips)
    copy.update(clips)
    assert len(seen) == 2 + 2 + 2  # both videos twice, both true clips once
    assert copy.compute() == metric.compute()


def test_few_videos_are_warned_of_and_one_is_refused():
    metric = FrechetDistance(VideoNetwork(Classifier()), "colours")
    clips = judged(random_clips(4), truth=random_clips(4, seed=1))
    metric.update(part(clips, [0]))
    assert metric.warning(1) == "colours: needs at least 2 videos and 2 true clips, not 1"
    assert metric.interval() is None
    with pytest.raises(UserError, match="a set of 1 samples has no covariance"):
        metric.compute()
    metric.update(part(clips, [1, 2]))
    assert "3 samples of 3 features; the covariance is not of full rank" in metric.warning(3)
    metric.update(part(clips, [3]))
    assert metric.warning(4) is None
    few = FrechetDistance(VideoNetwork(Classifier()), "colours")  # many videos of few true clips
    few.update(
        judged(random_clips(6), truth=clips.truth[[0] * 4 + [1] * 2], references=[*"aaaabb"])
    )
    assert "2 samples of 3 features; the covariance is not of full rank" in few.warning(6)
    assert len(few.true_rows) == 2  # and not one a video


def test_the_interval_holds_the_distance():
    metric = FrechetDistance(VideoNetwork(Classifier()))
    metric.update(judged(random_clips(20), truth=random_clips(20, seed=1)))
    low, high = metric.interval(replicates=50)
    assert 0 <= low < metric.compute().item() < high
    narrow = metric.interval(level=0.5, replicates=50)
    assert low <= narrow[0] < narrow[1] < high


def test_the_interval_draws_true_clips_with_their_videos():
    """A video of each clip that differs by a constant: the distance is the same in every draw."""
    truth = random_clips(6) / 2
    owner = [0, 1, 2, 3, 4, 5, 5]
    metric = FrechetDistance(VideoNetwork(Classifier()))
    metric.update(judged(truth + 0.25, truth=truth))
    low, high = metric.interval(replicates=20)
    assert low == pytest.approx(3 * 0.25**2, rel=1e-4)
    assert high == pytest.approx(low, rel=1e-4)
    doubled = FrechetDistance(VideoNetwork(Classifier()))
    references = [f"clip {i}" for i in owner]
    doubled.update(judged(truth[owner] + 0.25, truth=truth[owner], references=references))
    low, high = doubled.interval(replicates=20)
    assert high > 1.001 * low  # one clip has two videos, and so counts twice on one side


def test_fvd_is_of_the_middle_frames_at_its_size(judge):
    path, sha256 = judge
    network = I3D(path, frames=10, sha256=sha256)
    # a clip that is black but for its middle, in which it is white; wide, so that the sides go
    video = torch.full((1, 12, 3, 28, 56), -1.0)
    video[:, 1:11, :, :, 10:46] = 1
    found = network(video)
    assert found.tolist() == [pytest.approx([1, 1, 1, 0, 0, 0], abs=1e-6)]
    assert network(video[:, :10]).tolist()[0][3] > 0  # its first frame is black: that changes
    with pytest.raises(UserError, match="frames: 10, but clips have 9; give fewer"):
        network(video[:, :9])
    with pytest.raises(UserError, match="frames: 9; this network needs 10 or more"):
        I3D(path, sha256=sha256)(video[:, :9])


def test_fvd_from_a_file(judge):
    path, sha256 = judge
    metric = FrechetDistance(I3D(path, sha256=sha256), "FVD")
    video, truth = random_clips(4, frames=10), random_clips(4, frames=10, seed=1)
    metric.update(judged(video, truth=truth))
    features = []
    for clips in (video, truth):
        large = torch.nn.functional.interpolate(clips.flatten(0, 1), (224, 224), mode="bilinear")
        x = large.view(4, 10, 3, 224, 224).transpose(1, 2)
        features.append(Judge()(x, rescale=False, resize=False, return_features=True))
    assert metric.compute().item() == pytest.approx(frechet_distance(*features).item(), rel=1e-4)
    assert metric.protocol()["extractor"] == f"i3d_torchscript.pt, sha256 {sha256}"
    assert metric.protocol()["frames"] == "all"
    assert metric.unavailable() is None


def test_another_file_is_refused_by_name(judge, tmp_path):
    path, sha256 = judge
    with pytest.raises(UserError, match=f"judge.pt: has sha256 {sha256}, not {I3D_SHA256}"):
        FVD(path)
    with pytest.raises(UserError, match=r"gone.pt: cannot be read \(No such file"):
        FVD(str(tmp_path / "gone.pt"))
    text = tmp_path / "text.pt"
    text.write_text("no script")
    with pytest.raises(UserError, match=r"text.pt: no TorchScript network"):
        I3D(str(text), sha256=sha256_of(text))


def test_what_is_missing_is_named_with_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert FVD().unavailable() == (
        "name i3d_torchscript.pt (51,235,320 bytes, published with StyleGAN-V; sha256 "
        "bec6519f66ea534e953026b4ae2c65553c17bf105611c746d904657e5860a5e2) as `path`, "
        f"or put it into {tmp_path / 'checkpoints'}"
    )
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "i3d_torchscript.pt").write_bytes(b"another file")
    with pytest.raises(UserError, match=r"i3d_torchscript.pt: has sha256 \w+, not bec6519f"):
        FVD()
    monkeypatch.setattr(inception_module, "find_spec", lambda name: None)
    assert FID().unavailable() == ("needs the package torch-fidelity: pip install torch-fidelity")
    monkeypatch.setattr(inception_module, "find_spec", lambda name: name)
    assert "name weights-inception-2015-12-05-6726825d.pth (sha256 6726825d" in FID().unavailable()
    assert EmbeddedVideoDistance().unavailable() is None


def test_inception_sees_what_torchmetrics_shows_it(tmp_path, monkeypatch):
    fidelity = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    torch.manual_seed(0)
    monkeypatch.setattr(fidelity.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
    path = tmp_path / "weights.pth"
    torch.save({}, path)
    theirs = NoTrainInceptionV3("theirs", ["2048"], str(path), antialias=False)
    monkeypatch.undo()
    torch.save(theirs.state_dict(), path)
    with pytest.raises(UserError, match=r"weights.pth: has sha256 .*, not 6726825d"):
        InceptionV3(str(path))
    ours = InceptionV3(str(path), frames=2, sha256=sha256_of(path))
    video = random_clips(1, frames=8)
    as_bytes = ((video[0, [2, 6]] + 1) * 127.5).round().byte()  # the middles of both halves
    found = ours(video)
    assert found.shape == (1, 2, 2048)
    assert found.std() > 0
    torch.testing.assert_close(found[0], theirs(as_bytes), rtol=1e-4, atol=1e-5)


def test_the_embedded_distance_ranks_what_was_made_of_moving_scenes():
    scenes = moving_scenes(4)
    truth = scenes["truth"]
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(truth.shape[1], generator=generator)
    padded = pad(truth.flatten(0, 1), (2, 2, 2, 2), mode="replicate")
    videos = made_of(truth, scenes["motion"]) | {
        "blurred": avg_pool2d(padded, 5, stride=1).view_as(truth),
        "noisy": (truth + 0.2 * torch.randn(truth.shape, generator=generator)).clamp(-1, 1),
        "shuffled": truth[:, order],
        "true": truth,
    }
    found, first, shared = {}, EmbeddedVideoDistance(), {}
    for name, video in videos.items():
        metric = first.clone()
        metric.update(judged(video, truth=truth, shared=shared))
        found[name] = metric.compute().item()
    assert found["true"] == pytest.approx(0, abs=1e-6)
    worse = [found[name] for name in ("frozen", "blurred", "noisy", "shuffled")]
    assert 0 < 2 * found["warped"] < min(worse), found
    assert 5 * max(worse) < min(found["grey"], found["noise"]), found

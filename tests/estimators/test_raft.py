"""RAFT against torchvision's own call, at the sizes it takes and those it does not."""

import re

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models.optical_flow import raft_small

from movideo.errors import UserError
from movideo.estimators import RAFT


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(3)
    return raft_small().eval()


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 1, 3, 128, 136, generator=generator) * 2 - 1


@pytest.mark.parametrize("name", ["raft.pth", "raft.safetensors"])
def test_a_file_gives_torchvisions_flow(network, images, name, tmp_path):
    if name.endswith(".pth"):
        torch.save(network.state_dict(), tmp_path / name)
    else:
        save_file(network.state_dict(), tmp_path / name)
    estimator = RAFT(str(tmp_path / name), size="small", num_flow_updates=2)
    with torch.no_grad():
        expected = network(*images, num_flow_updates=2)[-1]
    assert torch.equal(estimator(*images), expected)
    assert torch.equal(estimator(*images), expected)  # and again


def test_other_sizes_are_resized_and_the_flow_brought_back(images):
    estimator = RAFT(size="small", num_flow_updates=1)
    asked = []

    class Network(torch.nn.Module):
        """Says that everything moves by (8, 4) pixels of the size that it sees."""

        def forward(self, source, target, num_flow_updates):
            asked.append(tuple(source.shape[-2:]))
            flow = torch.tensor([8.0, 4.0]).view(1, 2, 1, 1)
            return [flow.expand(len(source), 2, *source.shape[-2:])]

    estimator.network = Network()
    for size, seen in [((64, 64), (128, 128)), ((100, 203), (128, 256)), ((260, 136), (264, 136))]:
        source = torch.zeros(1, 3, *size)
        flow = estimator(source, source)
        assert flow.shape == (1, 2, *size)
        assert asked.pop() == seen or seen == (264, 136)
        height, width = seen
        ratio = torch.tensor([8 * size[1] / width, 4 * size[0] / height]).view(1, 2, 1, 1)
        if seen != (264, 136):
            torch.testing.assert_close(flow, ratio.expand_as(flow), rtol=1e-6, atol=0)


def test_random_weights_come_from_the_seed_alone():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = RAFT(size="small")
    assert torch.equal(torch.get_rng_state(), state)
    assert RAFT(size="small").settings() == first.settings()
    assert RAFT(size="small", seed=1).settings() != first.settings()


def test_settings_name_the_weights_and_not_their_place(network, tmp_path):
    torch.save(network.state_dict(), tmp_path / "a.pth")
    save_file(network.state_dict(), tmp_path / "b.safetensors")
    one, other = (RAFT(str(tmp_path / n), size="small") for n in ("a.pth", "b.safetensors"))
    assert one.settings() == other.settings()
    assert set(one.init_args()) == {"size", "num_flow_updates", "weights"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("none.pth", "No such file"),
        ("truncated.safetensors", "no safetensors file, or not all of one"),
        ("pickled.safetensors", "no safetensors file"),
        ("large.pth", "Error"),
        ("Raft_Large_Weights.C_T_V2", "neither such a file nor such a name"),
        ("Raft_Small_Weights.C_T_V2", "HF_HUB_OFFLINE is set"),
    ],
)
def test_what_cannot_be_loaded_is_told_in_one_line(name, reason, network, tmp_path, monkeypatch):
    monkeypatch.setattr("movideo.hub.weight_files.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    path = tmp_path / name if "Weights" not in name else name
    if name == "truncated.safetensors":
        save_file(network.state_dict(), path)
        path.write_bytes(path.read_bytes()[:1000])
    elif name == "pickled.safetensors":
        torch.save(network.state_dict(), path)
    elif name == "large.pth":
        torch.save({"feature_encoder": torch.zeros(1)}, path)
    with pytest.raises(UserError) as caught:
        RAFT(str(path), size="small")
    assert "\n" not in str(caught.value)
    assert re.search(reason, str(caught.value))
    assert str(caught.value).startswith(f"pretrained: {path} cannot be loaded as RAFT small")


def test_at_least_one_update():
    with pytest.raises(UserError, match="num_flow_updates: 0"):
        RAFT(num_flow_updates=0)

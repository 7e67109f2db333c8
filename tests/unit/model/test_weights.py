"""Weights under the names that other people give them."""

import re
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
import torchvision

from medaudit.core.errors import ModelError
from medaudit.model import network
from medaudit.model.model_config import ModelCard
from medaudit.model.network import AuditModel

TINY = "test_resnet"


def create(name: str, path: Path, n: int = 3, *, keep_head: bool = True) -> AuditModel:
    return network.create(name, n, weights=str(path), dropout=0.2, keep_head=keep_head)


def save(state: dict[str, torch.Tensor], path: Path) -> Path:
    torch.save(state, path)
    return path


def chexnet_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As `torch.nn.DataParallel` around a wrapper wrote them with torch 0.3."""
    dense = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", key): value
        for key, value in state.items()
        if not key.endswith("num_batches_tracked")
    }
    renamed = {key.replace("classifier.", "classifier.0."): value for key, value in dense.items()}
    return {f"module.densenet121.{key}": value for key, value in renamed.items()}


@pytest.mark.parametrize("old", [False, True])
def test_densenet_of_torchvision(tmp_path: Path, old: bool) -> None:
    torch.manual_seed(1)
    donor = torchvision.models.densenet121(weights=None, num_classes=3).eval()
    state = donor.state_dict()
    path = save({"state_dict": chexnet_names(state)} if old else state, tmp_path / "d.pth.tar")
    model = create("densenet121", path).eval()
    x = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.allclose(model(x), donor(model.normalised(x)), atol=1e-5)


@pytest.mark.parametrize("prefix", ["", "module.", "net.model."])
def test_resnet_of_torchvision(tmp_path: Path, prefix: str) -> None:
    torch.manual_seed(1)
    donor = torchvision.models.resnet18(weights=None, num_classes=3).eval()
    state = {f"{prefix}{key}": value for key, value in donor.state_dict().items()}
    model = create("resnet18", save(state, tmp_path / "r.pt")).eval()
    x = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.allclose(model(x), donor(model.normalised(x)), atol=1e-5)


@pytest.mark.parametrize("name", [TINY, "test_efficientnet", "test_byobnet", "test_vit"])
def test_heads_of_timm(tmp_path: Path, name: str) -> None:
    """They are called fc, classifier, head.fc and head."""
    torch.manual_seed(1)
    donor = timm.create_model(name, num_classes=3).eval()
    path = tmp_path / "t.safetensors"
    safetensors.torch.save_file(donor.state_dict(), path)
    model = create(name, path).eval()
    side = donor.pretrained_cfg["input_size"][-1]
    x = torch.randint(0, 256, (1, 3, side, side), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.allclose(model(x), donor(model.normalised(x)), atol=1e-5)


def test_without_training_the_head_has_to_fit(tmp_path: Path) -> None:
    path = save(timm.create_model(TINY, num_classes=5).state_dict(), tmp_path / "five.pt")
    with pytest.raises(ModelError, match=r"shape \(3, 96\), one row a class, found \(5, 96\)"):
        create(TINY, path)
    assert create(TINY, path, keep_head=False).head_is_new
    bare = save(timm.create_model(TINY, num_classes=0).state_dict(), tmp_path / "bare.pt")
    with pytest.raises(ModelError, match="found none; give the weights of a model for these cl"):
        create(TINY, bare)
    assert not create(TINY, path, n=5).head_is_new


@pytest.mark.parametrize("word", ["none", "imagenet", "bundled"])
def test_words_hold_no_trained_head(word: str) -> None:
    with pytest.raises(ModelError, match=f"`train.weights: {word}` holds no trained head"):
        network.create(TINY, 2, weights=word, dropout=0.0, keep_head=True)


def test_what_is_no_head_is_unknown(tmp_path: Path) -> None:
    state = timm.create_model(TINY, num_classes=3).state_dict()
    path = save(state | {"aux.weight": torch.zeros(3, 2)}, tmp_path / "aux.pt")
    with pytest.raises(ModelError, match=r"has unknown aux\.weight, fc\.bias, fc\.weight"):
        create(TINY, path)


def test_our_own_file_brings_its_channel_statistics(tmp_path: Path) -> None:
    donor = network.create(TINY, 3, weights="none", dropout=0.0)
    donor.renormalise((0.1, 0.2, 0.3), None)
    card = ModelCard(TINY, "multiclass", ("a", "b", "c"), 32, 0.0, (0.1, 0.2, 0.3), (1, 1, 1))
    network.save_network(donor, tmp_path, card=card)
    model = create(TINY, tmp_path / "model.safetensors")
    assert model.mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert torch.equal(model.std, donor.std)

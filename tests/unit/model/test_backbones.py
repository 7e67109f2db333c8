import json
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from torch import nn

from medaudit.core.errors import ModelError
from medaudit.model import network, weights
from medaudit.model.inference import prepare_model
from medaudit.model.model_config import ModelCard, read_card, weights_digest
from medaudit.model.network import AuditModel

TINY = "test_resnet"
CARD = ModelCard(
    backbone=TINY,
    task="multiclass",
    classes=("a", "b"),
    image_size=32,
    dropout=0.5,
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
)


def tiny(*, dropout: float = 0.5, weights: str = "none") -> AuditModel:
    torch.manual_seed(0)
    return network.create(TINY, 2, weights=weights, dropout=dropout)


def images(n: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, 32, 32), dtype=torch.uint8)


def test_dropout_is_a_module_and_active_in_train_mode_only() -> None:
    model, x = tiny(), images()
    assert [type(m) for m in model.head] == [nn.Dropout, nn.Linear]
    features = model.eval().forward_features_pooled(x)
    assert torch.equal(model.head(features), model.head(features))
    model.head.train()
    assert not torch.equal(model.head(features), model.head(features))


def test_forward_is_head_of_pooled_features() -> None:
    model, x = tiny().eval(), images()
    assert model(x).shape == (3, 2)
    assert torch.equal(model(x), model.head(model.forward_features_pooled(x)))


def test_input_is_normalised_inside_the_model() -> None:
    # mean 0.485, std 0.229 in red: 255 becomes (1 - 0.485) / 0.229 = 2.2489
    model = tiny()
    model.mean.copy_(torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
    model.std.copy_(torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))
    white = torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)
    assert model.normalised(white)[0, 0, 0, 0].item() == pytest.approx(2.2489, abs=1e-4)
    assert torch.equal(model.normalised(white), model.normalised(white.float()))


@pytest.mark.parametrize("name", ["test_efficientnet", "test_convnext", "test_vit", "test_nfnet"])
def test_other_families_fit_the_head(name: str) -> None:
    model = network.create(name, 4, weights="none", dropout=0.0, image_size=64).eval()
    x = torch.zeros((1, 3, 64, 64), dtype=torch.uint8)
    assert model(x).shape == (1, 4)


def test_the_head_fits_where_pooling_is_followed_by_a_layer() -> None:
    model = network.create("mobilenetv3_small_050", 3, weights="none", dropout=0.0).eval()
    assert model(images(1)).shape == (1, 3)


def test_unknown_backbone_names_close_ones() -> None:
    with pytest.raises(ModelError, match=r"unknown backbone 'resnet5'; did you mean .*resnet50"):
        network.create("resnet5", 2, weights="none", dropout=0.0)


def test_an_unknown_pretrained_tag_lists_the_known_ones() -> None:
    with pytest.raises(ModelError, match=r"no pretrained tag 'zzz'; known tags: \w+"):
        network.create(f"{TINY}.zzz", 2, weights="none", dropout=0)


def test_save_and_load_give_identical_logits_and_bytes(tmp_path: Path) -> None:
    model, x = tiny().eval(), images()
    network.save_network(model, tmp_path / "one", card=CARD)
    loaded = network.load_network(tmp_path / "one")
    assert torch.equal(loaded(x), model(x))
    assert read_card(tmp_path / "one") == CARD

    channels_last = prepare_model(model, torch.device("cpu"))
    network.save_network(channels_last, tmp_path / "two", card=CARD)
    assert weights_digest(tmp_path / "one") == weights_digest(tmp_path / "two")


def test_load_says_what_does_not_fit(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="run the train stage first"):
        network.load_network(tmp_path)
    network.save_network(tiny(), tmp_path, card=CARD)
    card = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps(card | {"classes": ["a", "b", "c"]}))
    with pytest.raises(ModelError, match=r"model\.safetensors: does not fit model\.json"):
        network.load_network(tmp_path)
    (tmp_path / "model.json").write_text(json.dumps(card | {"format": 7}))
    with pytest.raises(ModelError, match="expected format 2"):
        network.load_network(tmp_path)


def test_bundled_weights_fill_every_tensor() -> None:
    name = "tf_efficientnet_lite0"
    backbone = timm.create_model(name, num_classes=0)
    state = weights.bundled_state(name, backbone)
    assert set(state) == set(backbone.state_dict())
    model = network.create(name, 2, weights="bundled", dropout=0.0)
    stem = model.backbone.state_dict()["conv_stem.weight"]
    assert torch.equal(stem, state["conv_stem.weight"])


def test_lite_names() -> None:
    places = [(0, 0), (1, 0), (1, 1)]
    assert weights.lite_name("_bn1.running_mean", places) == "bn2.running_mean"
    assert (
        weights.lite_name("_blocks.0._project_conv.weight", places) == "blocks.0.0.conv_pw.weight"
    )
    assert weights.lite_name("_blocks.2._bn2.bias", places) == "blocks.1.1.bn3.bias"


def test_bundled_weights_elsewhere_name_the_backbones_that_have_them() -> None:
    with pytest.raises(ModelError, match=r"no bundled weights for test_resnet; .*lite0"):
        tiny(weights="bundled")


def test_imagenet_weights_without_network_fail_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"no network; use `train.weights: bundled` .*or `train.w"):
        network.create("resnet18", 2, weights="imagenet", dropout=0.0)


def test_backbone_without_pretrained_weights() -> None:
    with pytest.raises(ModelError, match="timm has no pretrained weights for efficientnet_b8"):
        weights.imagenet_state("efficientnet_b8")


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_weights_from_a_plain_state_dict(tmp_path: Path, suffix: str) -> None:
    torch.manual_seed(5)
    donor = timm.create_model(TINY, num_classes=2)
    path = tmp_path / f"donor{suffix}"
    if suffix == ".pt":
        state = {f"module.{k}": v for k, v in donor.state_dict().items()}
        torch.save({"state_dict": state, "epoch": 3}, path)
    else:
        safetensors.torch.save_file(donor.state_dict(), path)
    model = tiny(weights=str(path))
    own = donor.state_dict()
    assert all(torch.equal(v, own[k]) for k, v in model.backbone.state_dict().items())
    # two classes there, two here
    assert torch.equal(model.head.state_dict()["1.weight"], donor.fc.weight)


def test_weights_from_our_own_model_with_another_head(tmp_path: Path) -> None:
    donor = network.create(TINY, 5, weights="none", dropout=0.0)
    network.save_network(donor, tmp_path, card=CARD)
    model = tiny(weights=str(tmp_path / "model.safetensors"))
    assert model.head[1].out_features == 2
    assert torch.equal(model.backbone.conv1[0].weight, donor.backbone.conv1[0].weight)


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    safetensors.torch.save_file(timm.create_model("test_efficientnet").state_dict(), path)
    with pytest.raises(ModelError, match=r"other\.safetensors does not fit the backbone: it lacks"):
        tiny(weights=str(path))


def test_weights_word_or_path_that_does_not_exist() -> None:
    with pytest.raises(ModelError, match="no file imagnet; known words are none, imagenet and bun"):
        tiny(weights="imagnet")


def test_pickles_with_code_and_broken_files_are_refused(tmp_path: Path) -> None:
    torch.save(timm.create_model(TINY), tmp_path / "whole.pt")
    with pytest.raises(ModelError, match="which could run code when read"):
        tiny(weights=str(tmp_path / "whole.pt"))
    for name in ("empty.pt", "text.safetensors"):
        (tmp_path / name).write_bytes(b"" if name == "empty.pt" else b"no weights")
        with pytest.raises(ModelError, match="not a readable weights file"):
            tiny(weights=str(tmp_path / name))
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ModelError, match="expected a state dict of tensors, got list"):
        tiny(weights=str(tmp_path / "list.pt"))


def test_depthwise_networks_are_recognised() -> None:
    assert network.is_depthwise(timm.create_model("test_efficientnet"))
    assert not network.is_depthwise(timm.create_model(TINY))

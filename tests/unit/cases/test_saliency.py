from typing import ClassVar

import numpy as np
import pytest
import torch

from medaudit.cases import intervention_runner
from medaudit.core.errors import ModelError
from medaudit.model import network as networks
from medaudit.model.network import AuditModel

IMAGE = np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8)


def model(name: str = "test_resnet") -> AuditModel:
    torch.manual_seed(0)
    return networks.create(name, 3, weights="none", dropout=0.5).eval()


def set_weights(network: AuditModel, weights: torch.Tensor) -> None:
    state = network.head.state_dict()
    network.head.load_state_dict(state | {"1.weight": weights})


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "mobilenetv3_small_050"])
def test_map_has_the_size_of_the_image_and_lies_in_0_1(name: str) -> None:
    cam = intervention_runner.grad_cam(model(name), IMAGE, 1)
    assert cam.shape == (64, 48)
    assert cam.dtype == np.float32
    assert cam.min() == 0
    assert cam.max() == pytest.approx(1) or not cam.any()


def test_another_head_gives_another_map() -> None:
    network = model("test_efficientnet")

    def maps() -> np.ndarray:
        return np.stack([intervention_runner.grad_cam(network, IMAGE, k) for k in range(3)])

    before = maps()
    set_weights(network, torch.randn((3, 256), generator=torch.Generator().manual_seed(9)))
    assert before.any()
    assert np.abs(maps() - before).max() > 0.05


def test_no_gradient_gives_zeros() -> None:
    network = model()
    set_weights(network, torch.zeros(3, 96))
    assert not intervention_runner.grad_cam(network, IMAGE, 0).any()


def test_map_by_hand() -> None:
    """One channel of features, y = 2 mean(A): a = 2 / 4, so the map is A / 2, scaled to [0, 1]."""

    class Toy(torch.nn.Module):
        num_features = 1
        pretrained_cfg: ClassVar = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}

        def forward_features(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, :1]

        def forward_head(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean(dim=(2, 3))

    network = AuditModel(Toy(), n_outputs=1, dropout=0.0).eval()
    set_weights(network, torch.tensor([[2.0]]))
    image = np.zeros((2, 2, 3), dtype=np.uint8)
    image[..., 0] = [[0, 51], [102, 255]]
    cam = intervention_runner.grad_cam(network, image, 0)
    assert cam.tolist() == [[0.0, pytest.approx(0.2)], [pytest.approx(0.4), 1.0]]
    set_weights(network, torch.tensor([[-2.0]]))  # all evidence is against the class
    assert not intervention_runner.grad_cam(network, image, 0).any()


def test_scaling_uses_the_range() -> None:
    assert intervention_runner.normalise(np.array([2, 3, 6], dtype=np.float32)).tolist() == [
        0.0,
        0.25,
        1.0,
    ]
    assert intervention_runner.normalise(np.array([4, 4], dtype=np.float32)).tolist() == [0.0, 0.0]


def test_gradients_of_the_model_are_left_alone() -> None:
    network = model()
    intervention_runner.grad_cam(network, IMAGE, 0)
    assert all(p.grad is None and p.requires_grad for p in network.parameters())


def test_models_without_maps_or_in_train_mode_are_refused() -> None:
    transformer = networks.create("test_vit", 2, weights="none", dropout=0.0, image_size=64).eval()
    with pytest.raises(ModelError, match="needs feature maps"):
        intervention_runner.grad_cam(transformer, IMAGE[:48], 0)
    assert "convolutional" in (intervention_runner.obstacle(transformer, image_size=64) or "")
    assert intervention_runner.obstacle(model(), image_size=64) is None
    with pytest.raises(ValueError, match="evaluation mode"):
        intervention_runner.grad_cam(model().train(), IMAGE, 0)

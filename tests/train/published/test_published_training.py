"""Training the published systems: resumable, and it learns."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")
Image = pytest.importorskip("PIL.Image", reason="training needs the extra [train]")

from imagine_deblur.engines import describe  # noqa: E402
from imagine_deblur.errors import OptionsError  # noqa: E402
from imagine_deblur.train.export import round_kernels  # noqa: E402
from imagine_deblur.train.published import mgstnet, mgstnet_steps, mimo_unet  # noqa: E402
from imagine_deblur.train.published.export import export  # noqa: E402
from imagine_deblur.train.published.exported import read_exported  # noqa: E402
from imagine_deblur.train.published.initialise import scale_to_data  # noqa: E402
from imagine_deblur.train.published.systems import (  # noqa: E402
    Restorer,
    restore_image,
)
from imagine_deblur.train.published.trainer import (  # noqa: E402
    Trainer,
    load_network,
    read_checkpoint,
)
from publishedkit import CLASSES, GAN, assert_same, pair, tiny  # noqa: E402
from trainkit import train  # noqa: E402

# ---- training -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "rate", "steps", "fall"),
    [
        ("mimo-unet", 3e-3, 50, 0.8),
        ("mgstnet", 4e-3, 12, 0.5),
        ("autoencoder", 1e-2, 60, 0.6),
    ],
)
@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_one_batch_is_learnt(
    system: str, rate: float, steps: int, fall: float, precision: str
) -> None:
    config = tiny(system, {"steps": steps, "learning_rate": rate})
    config = dataclasses.replace(config, run=dataclasses.replace(config.run, precision=precision))
    trainer = Trainer(config)
    captured, sharp = pair()
    losses = [trainer.train_step(captured, sharp)["loss"] for _ in range(steps)]
    assert losses[-1] < fall * losses[0], losses[::8]


def test_vgg_learns_classes() -> None:
    config = tiny("vgg16", {"steps": 60, "learning_rate": 1e-3})
    trainer = Trainer(config, classes=CLASSES)
    captured, _ = pair(4)
    labels = torch.tensor([0, 1, 0, 1])
    losses = [trainer.train_step(captured, labels)["loss"] for _ in range(30)]
    assert losses[-1] < 0.5 * losses[0]


def test_a_loss_that_is_not_finite_stops_the_run() -> None:
    trainer = Trainer(tiny("mimo-unet"))
    captured, sharp = pair()
    captured[0, 0, 0, 0] = float("nan")
    with pytest.raises(Exception, match="not finite"):
        trainer.train_step(captured, sharp)


def test_generator_and_critic_work_against_each_other(labelled_dir: Path) -> None:
    config = tiny("mimo-unet", {"steps": 80, "loss": {"adversarial": 1.0, "content": 0.1}})
    trainer = Trainer(config)
    captured, sharp = pair(2, 64)
    rows = [trainer.train_step(captured, sharp) for _ in range(30)]
    assert rows[-1]["critic"] < rows[0]["critic"]  # it learns to tell them apart
    assert all(set(r) >= {"critic", "adversarial", "reconstruction"} for r in rows)
    # What the generator is asked for changes nothing in the discriminators.
    assert all(p.requires_grad for p in trainer.discriminator.parameters() if p.is_leaf)


@pytest.mark.parametrize("system", ["mimo-unet", "mgstnet", "autoencoder", "vgg16"])
def test_resumed_run_equals_an_uninterrupted_one(
    system: str, labelled_dir: Path, tmp_path: Path
) -> None:
    plateau = {"plateau_steps": 2, "plateau_patience": 1, "learning_rate": 1e-2}
    config = tiny(system, plateau)
    whole = train(config, labelled_dir, tmp_path / "whole")
    for until in (1, 3, None):
        parts = train(config, labelled_dir, tmp_path / "parts", until=until)
    assert read_checkpoint(whole)["step"] == 6
    assert_same(read_checkpoint(whole), read_checkpoint(parts))


def test_resumed_gan_equals_an_uninterrupted_one(labelled_dir: Path, tmp_path: Path) -> None:
    config = tiny("mimo-unet", *GAN)
    whole = train(config, labelled_dir, tmp_path / "whole")
    vgg = tmp_path / "whole" / "vgg16" / "checkpoint.pt"
    assert read_checkpoint(vgg)["classes"] == list(CLASSES)
    for until in (2, 3, 4, None):  # inside the phases, and between them
        parts = train(config, labelled_dir, tmp_path / "parts", until=until, perceptual=vgg)
    assert not (tmp_path / "parts" / "vgg16").exists()
    assert_same(read_checkpoint(whole), read_checkpoint(parts))
    rows = (tmp_path / "whole" / "log.csv").read_text().splitlines()
    assert rows[0].startswith("time,step,seconds,processor_seconds,learning_rate,loss")
    assert [row.split(",")[1] for row in rows[1:]] == ["2", "4", "6"]
    assert [row.endswith(",,,") for row in rows[1:]] == [True, False, False]  # the second phase


def test_another_configuration_or_folder_is_refused(
    labelled_dir: Path, scenes_dir: Path, tmp_path: Path
) -> None:
    train(tiny("mimo-unet"), labelled_dir, tmp_path, until=1)
    with pytest.raises(OptionsError, match="phases"):
        train(tiny("mimo-unet", {"batch": 1}), labelled_dir, tmp_path)
    with pytest.raises(OptionsError, match="data"):
        train(tiny("mimo-unet"), scenes_dir, tmp_path)


def test_initialise_starts_from_weights(labelled_dir: Path, tmp_path: Path) -> None:
    config = tiny("mimo-unet")
    first = train(config, labelled_dir, tmp_path / "a", until=2)
    trainer = Trainer(config)
    trainer.start_from(read_checkpoint(first)["network"])
    later = tiny("mimo-unet", {"degradation": "gauss", "learning_rate": 1e-9})
    second = train(later, labelled_dir, tmp_path / "b", until=1, initialise=first)
    state = read_checkpoint(second)
    (before,) = state["history"]
    assert (before["name"], before["steps"], before["crops"]) == ("tiny-mimo-unet", 2, 4)
    assert before["processor_seconds"] <= before["seconds"] + 1
    for name, tensor in trainer.network.state_dict().items():
        torch.testing.assert_close(state["network"][name], tensor, rtol=0, atol=1e-7)


@pytest.mark.parametrize("system", ["mimo-unet", "mgstnet", "autoencoder"])
def test_an_exported_file_holds_the_whole_network(
    system: str, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    """Outputs that only a loss looks at, too, and what the tracer computes in advance."""
    for rotations in (False, True):
        export(checkpoints[system], tmp_path / "x.onnx", rotations=rotations)
        held = read_exported(tmp_path / "x.onnx", "resume")
        network, _, state = load_network(checkpoints[system])
        round_kernels(network)
        assert held.network.keys() == network.state_dict().keys()
        for name, value in network.state_dict().items():
            torch.testing.assert_close(held.network[name], value, rtol=1e-3, atol=0)
        assert held.run() == {
            "name": f"tiny-{system}",
            "steps": 2,
            "crops": 4,
            "seconds": round(state["seconds"]),
            "processor_seconds": round(state["processor_seconds"]),
        }


def test_training_starts_from_an_exported_file(
    labelled_dir: Path, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    file = tmp_path / "mimo-unet.onnx"
    export(checkpoints["mimo-unet"], file)
    later = tiny("mimo-unet", {"learning_rate": 1e-9}, network={"width": 8, "blocks": 2})
    state = read_checkpoint(train(later, labelled_dir, tmp_path / "b", until=1, initialise=file))
    assert [(run["name"], run["steps"]) for run in state["history"]] == [("tiny-mimo-unet", 2)]
    for name, value in read_exported(file, "resume").network.items():
        torch.testing.assert_close(state["network"][name], value, rtol=0, atol=1e-7)
    with pytest.raises(OptionsError, match="initialise"):
        train(tiny("mgstnet"), labelled_dir, tmp_path / "c", initialise=file)


def test_a_grown_network_computes_the_same(labelled_dir: Path, tmp_path: Path) -> None:
    first = train(tiny("mimo-unet"), labelled_dir, tmp_path / "a")
    deeper = tiny("mimo-unet", network={"width": 8, "blocks": 3})
    small, large = load_network(first)[0], Trainer(deeper)
    large.start_from(read_checkpoint(first)["network"])
    captured, sharp = pair()
    with torch.inference_mode():
        torch.testing.assert_close(small(captured), large.network.eval()(captured))
    before = [block.second.weight.clone() for block in large.network.encode1]
    for _ in range(2):
        large.train_step(captured, sharp)
    after = [block.second.weight for block in large.network.encode1]
    assert all(bool((a != b).any()) for a, b in zip(after, before, strict=True))
    for wrong in ({"width": 4, "blocks": 3}, {"width": 8, "blocks": 0}):
        with pytest.raises(OptionsError, match="initialise"):
            train(
                tiny("mimo-unet", network=wrong), labelled_dir, tmp_path / "b", initialise=first,
            )  # fmt: skip


def test_further_stages_begin_as_gradient_steps(labelled_dir: Path, tmp_path: Path) -> None:
    one = {"stages": 1, "widths": [4, 4, 4], "blocks": 1, "kernel_width": 4, "kernel_size": 5}
    first = train(tiny("mgstnet", network=one), labelled_dir, tmp_path / "a")
    small, large = load_network(first)[0], Trainer(tiny("mgstnet", network={**one, "stages": 3}))
    large.start_from(read_checkpoint(first)["network"])
    captured, sharp = pair()
    with torch.inference_mode():
        (image,), (kernel,) = small(captured)
        images, kernels = large.network.eval()(captured)
    torch.testing.assert_close(images[-1], image)
    torch.testing.assert_close(kernels[-1], kernel)
    rho = large.network.stages[1].rho
    step = image - rho * mgstnet_steps.image_gradient(image, kernels[1], captured)
    torch.testing.assert_close(images[1], step)
    before = large.network.stages[2].image_proximal.tail.weight.clone()
    large.train_step(captured, sharp)
    assert bool((large.network.stages[2].image_proximal.tail.weight != before).any())
    with pytest.raises(ValueError, match="stages"):
        mgstnet.grow(large.network.state_dict(), small)


def test_an_untrained_network_changes_nothing() -> None:
    captured, _ = pair()
    torch.manual_seed(0)
    for restored, wanted in zip(
        mimo_unet.MimoUnet(8, 1)(captured), mimo_unet.pyramid(captured), strict=True
    ):
        torch.testing.assert_close(restored, wanted)


def test_fresh_features_have_mean_0_and_variance_1() -> None:
    torch.manual_seed(0)
    network = mimo_unet.MimoUnet(8, 2)
    captured, _ = pair(4)
    captured = 0.4 + 0.2 * (captured - 0.5)  # a blurred scene of low contrast
    found: dict[str, torch.Tensor] = {}

    def spreads() -> dict[str, float]:
        for name, part in (("head", network.head[0]), ("join1", network.join1[0])):
            part.register_forward_hook(lambda m, i, o, name=name: found.update({name: o.clone()}))
        with torch.inference_mode():
            network(captured)
        return {name: float(o.std(dim=(0, 2, 3)).min()) for name, o in found.items()}

    before = spreads()
    scale_to_data(network, captured)
    after = spreads()
    assert max(before.values()) < 0.05
    assert min(after.values()) == pytest.approx(1.0, abs=0.02)
    assert float(found["join1"].mean(dim=(0, 2, 3)).abs().max()) < 0.02
    torch.testing.assert_close(network(captured)[0], captured)


def test_mgstnet_goes_on_learning_its_kernel_wherever_training_threw_it() -> None:
    torch.manual_seed(0)
    network = mgstnet.Mgstnet(1, (4, 8, 8), 1, 4, 5, 2)
    last = network.stages[0].kernel_proximal.back[-1]
    with torch.no_grad():
        last.bias -= 50.0  # the whole kernel below zero
    captured, sharp = pair(4)
    _, kernels = network(captured)
    assert float(kernels[0].detach().std()) > 1e-4
    mgstnet.kernel_loss(kernels, sharp, captured).backward()
    assert float(last.weight.grad.abs().max()) > 1e-8


def test_scaled_mgstnet_starts_from_its_gradient_steps() -> None:
    torch.manual_seed(0)
    network = mgstnet.Mgstnet(2, (4, 8, 8), 1, 4, 5, 2)
    captured, _ = pair(4)
    kernels = {k: v.clone() for k, v in network.state_dict().items() if "kernel_proximal" in k}
    scale_to_data(network, captured)
    state = network.state_dict()
    assert all(torch.equal(state[name], before) for name, before in kernels.items())
    with torch.no_grad():
        images, (_, first) = network(captured)
    step = captured - network.stages[0].rho * mgstnet_steps.image_gradient(
        captured, first, captured
    )
    torch.testing.assert_close(images[1], step)
    head = network.stages[0].image_proximal.head
    assert float(head.weight.detach().sum(dim=(2, 3)).abs().max()) < 1e-5
    spread = head(step).detach().std(dim=(0, 2, 3))
    torch.testing.assert_close(spread, torch.ones_like(spread), rtol=0.05, atol=0.0)


def test_validation_table(scenes_dir: Path, tmp_path: Path) -> None:
    run = {"precision": "f32", "threads": 1, "evaluate_every": 1, "checkpoint_every": 0,
           "protocols": ["gauss", "spin"], "validate_aerial_every": 2}  # fmt: skip
    train(tiny("mgstnet", {"steps": 1}, run=run), scenes_dir, tmp_path)
    rows = [r.split(",") for r in (tmp_path / "validation.csv").read_text().splitlines()]
    assert rows[0] == [
        "step", "seconds", "processor_seconds", "protocol", "input", "ours", "gain_p5", "mnc",
    ]  # fmt: skip
    assert [(r[0], r[3]) for r in rows[1:]] == [("1", "gauss"), ("1", "spin")]
    assert 0 < float(rows[1][7]) <= 1
    assert rows[2][7] == "nan"
    export(tmp_path / "checkpoint.pt", tmp_path / "network.onnx")
    figures = describe(tmp_path / "network.onnx").training["validation"]
    assert figures["gauss"]["ours"] == pytest.approx(float(rows[1][5]), abs=1e-3)
    assert set(figures["spin"]) == {"step", "input", "ours", "gain_p5"}


@pytest.mark.parametrize("system", ["mimo-unet", "autoencoder"])
def test_whole_images_of_any_size(system: str) -> None:
    """A network that hands its input through leaves every image as it is."""

    class Through(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused = torch.nn.Parameter(torch.zeros(()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            assert x.shape[-1] % 32 == x.shape[-2] % 32 == 0
            return x

    fixed = system == "autoencoder"
    for rows, columns in ((1, 5), (32, 64), (75, 110)):
        image = np.random.default_rng(0).random((rows, columns, 3), np.float32)
        found = restore_image(Restorer(Through()), image, multiple_of=32, fixed=fixed)
        np.testing.assert_allclose(found, image, atol=1e-6)

"""`scanside demo`: train a small nnU-Net network here, export it with proof, and run it without PyTorch.

A pancreas demonstration replaces this one once the phantom exists; until then the problem is a toy and says so.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import numpy.typing as npt
import typer

from scanside.runtime.cli.main import require_extra, run
from scanside.runtime.errors import CaseError

if TYPE_CHECKING:
    from scanside.export.model_folder import ModelFolder
    from scanside.training.blobs import Toy

app = typer.Typer(add_completion=False, rich_markup_mode=None)
PATCH = (24, 32, 32)
CONFIGURATION = "3d_fullres"
BATCH = 2


@app.command()
def demo(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for everything it makes.")] = Path(
        "demo-out"
    ),
    steps: Annotated[int, typer.Option(metavar="N", min=1, help="Training steps of the toy network.")] = 100,
) -> None:
    """Train a toy network, export it, segment a volume with and without PyTorch, and show both. About two minutes.

    Example: scanside demo demo-out
    """
    require_extra("export", "torch", "nnunetv2", "onnx", "onnxscript")
    from scanside.training.blobs import make_toy

    _say(
        f"1/4  Training a toy network of nnU-Net's architecture for {steps} steps (synthetic blobs, not patients)"
    )
    model = train_toy(out / "nnUNetTrainer__nnUNetPlans__3d_fullres", steps, _say)
    _say("2/4  Exporting it: `scanside export nnunet`, with nnunetv2 as the judge")
    bundle = out / "demo.bundle"
    _scanside("export", "nnunet", str(model), "-o", str(bundle), "--overwrite", "--licence", "Apache-2.0")
    toy = make_toy((32, 46, 42), seed=2025)
    image, mask = out / "volume.nii.gz", out / "mask.nii.gz"
    _write_image(toy.image, image)
    _say("3/4  Segmenting a new volume: `scanside segment`, no PyTorch")
    _scanside("segment", str(bundle), str(image), "-o", str(mask), "--overwrite")
    _say("4/4  The same volume through nnunetv2's own predictor")
    _show(model, toy, mask, out)


def train_toy(path: Path, steps: int, say: Callable[[str], None]) -> Path:
    """Train a three-stage PlainConvUNet on toy volumes and write it as nnU-Net would.

    Args:
        steps: Optimiser steps of batch 2; 100 take half a minute on two cores.
    """
    import torch

    from scanside.export.results_folder import dataset_json, plain_unet, plans, write_results_folder
    from scanside.training.blobs import LABELS, make_toy

    torch.manual_seed(0)
    architecture = plain_unet((8, 16, 32), [(3, 3, 3)] * 3, [(1, 1, 1), (2, 2, 2), (2, 2, 2)])
    statistics = {"mean": 320.0, "std": 70.0, "min": 0.0, "max": 650.0}
    recipe = plans(
        "Dataset000_Blobs", CONFIGURATION, spacing=(1, 1, 1), patch_size=PATCH, architecture=architecture,
        statistics=statistics,
    )  # fmt: skip
    dataset = dataset_json(LABELS)
    weights: dict[str, Any] = {}
    folder = write_results_folder(
        path, recipe, dataset, weights, configuration=CONFIGURATION, mirror_axes=(0, 1, 2)
    )
    network = _network(recipe, dataset)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    start = time.perf_counter()
    for step in range(steps):
        toys = [make_toy(PATCH, seed=step * BATCH + index) for index in range(BATCH)]
        loss = _loss(network(_batch([toy.image for toy in toys])), toys)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if (step + 1) % 20 == 0:
            left = (time.perf_counter() - start) / (step + 1) * (steps - step - 1)
            say(f"     step {step + 1} of {steps}, loss {loss.item():.3f}, {left:.0f} s left")
    weights["0"] = network.state_dict()
    return write_results_folder(
        folder, recipe, dataset, weights, configuration=CONFIGURATION, mirror_axes=(0, 1, 2)
    )


def _network(recipe: dict[str, Any], dataset: dict[str, Any]) -> Any:
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    architecture = recipe["configurations"][CONFIGURATION]["architecture"]
    return get_network_from_plans(
        architecture["network_class_name"],
        architecture["arch_kwargs"],
        architecture["_kw_requires_import"],
        len(dataset["channel_names"]),
        len(dataset["labels"]),
        deep_supervision=False,
    )


def _batch(images: list[npt.NDArray[np.float32]]) -> Any:
    import torch

    normal = [(image - image.mean()) / image.std() for image in images]
    return torch.from_numpy(np.stack(normal)[:, None].astype(np.float32))


def _loss(logits: Any, toys: "list[Toy]") -> Any:
    """Cross-entropy plus soft Dice, as nnU-Net trains."""
    import torch

    target = torch.from_numpy(np.stack([toy.labels for toy in toys]).astype(np.int64))
    probabilities = logits.softmax(1)
    hot = torch.nn.functional.one_hot(target, logits.shape[1]).movedim(-1, 1).float()
    overlap = (probabilities * hot).sum((0, 2, 3, 4))
    total = (probabilities + hot).sum((0, 2, 3, 4))
    return torch.nn.functional.cross_entropy(logits, target) - (2 * overlap / total.clamp_min(1)).mean()


def _show(model: Path, toy: "Toy", mask_file: Path, out: Path) -> None:
    """Compare with nnunetv2 and the truth; draw both outlines."""
    import SimpleITK as sitk

    from scanside.export.model_folder import read_model_folder
    from scanside.runtime.golden import lowest_dice

    mask = sitk.GetArrayFromImage(sitk.ReadImage(str(mask_file)))
    folder = read_model_folder(model, folds=None, checkpoint="checkpoint_final.pth", trust_pickles=False)
    expected, seconds = _nnunet(folder, toy)
    differing = int((mask != expected).sum())
    picture = out / "mask.png"
    _draw(toy, mask, picture)
    _say("")
    _say(f"nnunetv2 took {seconds:.1f} s in a running process (its imports not counted).")
    _say(f"Voxels that differ from nnunetv2: {differing} of {mask.size}.")
    _say(f"Lowest Dice over the labels against the truth: {lowest_dice(mask, toy.labels):.3f} (toy data).")
    _say(f"Bundle {out / 'demo.bundle'}, mask {mask_file}, picture {picture}. Research use only.")
    if differing > max(2, mask.size * 1e-5):
        raise CaseError(f"The mask differs from nnunetv2's in {differing} voxels; please report this.")


def _nnunet(folder: "ModelFolder", toy: "Toy") -> tuple[npt.NDArray[np.unsignedinteger], float]:
    from scanside.export.network import build_network
    from scanside.export.plan import to_plan
    from scanside.export.reference import Reference

    plan = to_plan(folder)
    reference = Reference(folder, build_network(folder, plan.input_channels, plan.labels.heads), plan)
    start = time.perf_counter()
    labels = reference.predict(toy.image[None], (1.0, 1.0, 1.0)).labels
    return labels, time.perf_counter() - start


def _draw(toy: "Toy", mask: npt.NDArray[np.unsignedinteger], path: Path) -> None:
    """Five slices, image above and image with the outlines of the mask below, four times enlarged."""
    import SimpleITK as sitk
    from scipy import ndimage

    slices = np.linspace(0, len(mask) - 1, 7)[1:-1].astype(int)
    rows = []
    for outlined in (False, True):
        tiles = []
        for z in slices:
            grey = np.clip(toy.image[z] / 550 * 255, 0, 255).astype(np.uint8).repeat(4, 0).repeat(4, 1)
            colour = np.stack([grey] * 3, axis=-1)
            large = mask[z].repeat(4, 0).repeat(4, 1)
            for label, paint in ((1, (80, 200, 255)), (2, (255, 170, 0))):
                inside = large == label
                if outlined:
                    colour[inside & ~ndimage.binary_erosion(inside)] = paint
            tiles.append(colour)
        rows.append(np.concatenate(tiles, axis=1))
    sitk.WriteImage(sitk.GetImageFromArray(np.concatenate(rows), isVector=True), str(path))


def _write_image(image: npt.NDArray[np.float32], path: Path) -> None:
    import SimpleITK as sitk

    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(image), str(path))


def _scanside(*arguments: str) -> None:
    """Run a command as a user would, in this process."""
    _say(f"     $ scanside {' '.join(arguments)}")
    code = run(list(arguments))
    if code:
        raise CaseError(f"`scanside {arguments[0]}` ended with exit code {code}; see the sentence above.")


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)

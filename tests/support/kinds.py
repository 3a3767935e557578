"""Kinds of models that are compared file by file with what nnU-Net's own commands write: each made in seconds."""

import contextlib
import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk
import tifffile
import torch
from nnunetv2.ensembling.ensemble import ensemble_folders
from PIL import Image

from scanside.export.network import find_trainer
from scanside.export.results_folder import dataset_json, plain_unet, plans, write_results_folder
from scanside.runtime.bundle import open_bundle
from scanside.runtime.cli.main import run
from tests.support.nnunet_files import merge_by_threads, postprocessed, predict_files, predictor
from tests.support.phantoms import smooth
from tests.support.tiny_models import REGION_LABELS, Tiny, write_cascade, write_model

Pixels = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Kind:
    """A model of some kind, images, and the masks that nnU-Net writes of them.

    Attributes:
        models: What `export nnunet` is given.
        images, theirs: Folders.
        masks: Names of the mask files.
        options: Of `segment`, for what `also` looks at.
        also: What else this kind promises, given the bundle and the folder of our masks.
    """

    models: tuple[Path, ...]
    images: Path
    theirs: Path
    masks: tuple[str, ...]
    options: tuple[str, ...] = ()
    also: Callable[[Path, Path], None] = lambda bundle, ours: None


def read(path: Path) -> npt.NDArray[Any]:
    """The values of a mask file, whatever its format."""
    if path.suffix in (".tif", ".tiff"):
        return np.asarray(tifffile.imread(path))
    if path.suffix in (".png", ".bmp"):
        return np.asarray(Image.open(path))
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def _volumes(folder: Path) -> tuple[str, ...]:
    folder.mkdir()
    for number, shape in enumerate([(18, 40, 38), (14, 33, 27)]):
        image = sitk.GetImageFromArray(smooth(shape, 5 + number).astype(np.float32) * 100 + 200)
        image.SetSpacing((0.9, 1.1, 1.7))
        image.SetOrigin((-20.5, 14.25, 7.0))
        sitk.WriteImage(image, str(folder / f"case{number}_0000.nii.gz"))
    return ("case0.nii.gz", "case1.nii.gz")


# Ensembles of configurations: beside `nnUNetv2_predict --save_probabilities` and `nnUNetv2_ensemble`.

FLAT = Tiny(patch=(32, 24), spacing=(1.0, 1.2), mirror=(0, 1))


@dataclass(frozen=True)
class Ensemble:
    """Two models, and what nnU-Net found for both together."""

    members: tuple[Tiny, Tiny]
    postprocessing: tuple[object, ...] = ()
    cascade: bool = False

    def __call__(self, root: Path, patch: pytest.MonkeyPatch) -> Kind:
        merge_by_threads(patch)
        images, masks = root / "images", _volumes(root / "images")
        first = write_model(root, self.members[0])
        write = write_cascade if self.cascade else lambda root, tiny: (write_model(root, tiny),)
        stages = write(root, self.members[1])
        outs = [_with_probabilities(first, images, root / "p0")]
        outs.append(_with_probabilities(stages[0], images, root / "p1"))
        if self.cascade:
            outs[1] = _with_probabilities(stages[1], images, root / "p2", outs[1])
        members, theirs = (first, stages[-1]), root / "theirs"
        ensemble_folders([str(out) for out in outs], str(theirs), num_processes=1)
        alone = [[read(out / name) for name in masks] for out in outs]
        assert all((read(theirs / masks[k]) != one[k]).any() for one in alone for k in range(2))
        if self.postprocessing:
            self._postprocess(members, theirs, masks)

        def also(bundle: Path, ours: Path) -> None:
            """Probabilities are the mean; a bundle of two can prove itself, and run one of them."""
            for name in masks:
                file = name.replace(".nii.gz", ".npz")
                mean = sum(np.load(out / file)["probabilities"] for out in outs) / 2
                np.testing.assert_allclose(np.load(ours / file)["probabilities"], mean, atol=2e-3)
            if self.cascade:
                return
            opened = open_bundle(bundle)
            assert opened.role(None) == "ensemble" and opened.manifest.final_roles == ("ensemble",)
            assert run(["selftest", str(bundle), "--device", "cpu"]) == 0
            one = ["segment", str(bundle), str(images), "-o", str(root / "one"), "--role", "2d"]
            assert run([*one, "--device", "cpu"]) == 0
            np.testing.assert_array_equal(read(root / "one" / masks[0]), alone[0][0])

        return Kind(members, images, theirs, masks, ("--save-probabilities",), also)

    def _postprocess(self, members: tuple[Path, Path], theirs: Path, masks: tuple[str, ...]) -> None:
        """As find_best_configuration writes it, and applied to nnU-Net's masks."""
        name = "___".join(["ensemble", *(one.name for one in members), "0"])
        file = members[0].parent / "ensembles" / name / "postprocessing.json"
        file.parent.mkdir(parents=True)
        steps = {
            "postprocessing_fns": ["remove_all_but_largest_component_from_segmentation"]
            * len(self.postprocessing),
            "postprocessing_kwargs": [{"labels_or_regions": what} for what in self.postprocessing],
        }
        file.write_text(json.dumps(steps))
        for mask in masks:
            image = sitk.ReadImage(str(theirs / mask))
            done = sitk.GetImageFromArray(postprocessed(sitk.GetArrayFromImage(image), file))
            done.CopyInformation(image)
            sitk.WriteImage(done, str(theirs / mask))


def _with_probabilities(folder: Path, images: Path, out: Path, previous: Path | None = None) -> Path:
    out.mkdir(parents=True)
    predictor(folder, ("0",)).predict_from_files_sequential(
        str(images),
        str(out),
        save_probabilities=True,
        folder_with_segs_from_prev_stage=None if previous is None else str(previous),
    )
    return out


# Pictures.

PICTURE = replace(FLAT, spacing=(1.0, 1.0), reader="NaturalImage2DIO", file_ending=".png")


def grey(path: Path, pixels: Pixels) -> None:
    Image.fromarray(np.clip(pixels * 40 + 120, 0, 255).astype(np.uint8)).save(path)


def grey_16(path: Path, pixels: Pixels) -> None:
    Image.fromarray(np.clip(pixels * 4000 + 20_000, 0, 65_535).astype(np.uint16)).save(path)


def colour(path: Path, pixels: Pixels) -> None:
    shifted = np.stack([np.roll(pixels, k, axis=0) * (40 - 9 * k) + 120 for k in range(3)], axis=-1)
    Image.fromarray(np.clip(shifted, 0, 255).astype(np.uint8)).save(path)


def stack(path: Path, pixels: Pixels) -> None:
    tifffile.imwrite(path, (pixels * 100 + 300).astype(np.int16))


@dataclass(frozen=True)
class Picture:
    """A model, its pictures' shape and writer, and how many files a case has."""

    tiny: Tiny
    write: Callable[[Path, Pixels], None]
    files: int = 1
    shape: tuple[int, ...] = (57, 41)
    spacing: tuple[float, ...] | None = None

    def __call__(self, root: Path, patch: pytest.MonkeyPatch) -> Kind:
        images, folder = root / "imagesTs", write_model(root, self.tiny)
        images.mkdir()
        ending, cases = self.tiny.file_ending, []
        for number in range(2):
            case = [images / f"case{number}_{channel:04d}{ending}" for channel in range(self.files)]
            for channel, path in enumerate(case):
                self.write(path, smooth(self.shape, 10 * number + channel))
            if self.spacing:
                (images / f"case{number}.json").write_text(json.dumps({"spacing": self.spacing}))
            cases.append(case)
        theirs = root / "theirs"
        predict_files(folder, self.tiny.folds, cases, theirs)

        def also(bundle: Path, ours: Path) -> None:
            """Stacks have the files that nnU-Net writes beside them; sizes are told where a spacing is known."""
            for number in range(2) if self.tiny.reader == "Tiff3DIO" else ():
                both = [json.loads((side / f"case{number}.json").read_text()) for side in (ours, theirs)]
                assert both[0] == both[1]
            command = ["segment", str(bundle), str(images), "-o", str(ours), "--device", "cpu"]
            assert run(command) != 0  # the files are there
            with contextlib.redirect_stdout(io.StringIO()) as said:
                assert run([*command, "--overwrite", "--json", "--statistics", str(root / "sizes.csv")]) == 0
            sizes = [case["labels"] or case["areas_mm2"] for case in json.loads(said.getvalue())["cases"]]
            assert len(sizes) == 2 and all((size is not None) == bool(self.spacing) for size in sizes)
            with contextlib.redirect_stdout(io.StringIO()) as said:
                assert run(["evaluate", "masks", str(ours), str(theirs)]) == 0
            assert "Foreground Dice 1.0000" in said.getvalue()

        return Kind((folder,), images, theirs, (f"case0{ending}", f"case1{ending}"), (), also)


# An archive of nnUNetv2_export_model_to_zip, made by nnU-Net itself.

CONFIGURATION = "3d_fullres"


def archive(folder: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What nnU-Net's own exporter writes of a results folder."""
    for name in ("nnUNet_results", "nnUNet_raw", "nnUNet_preprocessed"):
        monkeypatch.setenv(name, str(folder.parents[1]))
    (folder / "dataset_fingerprint.json").write_text("{}")
    for fold in folder.glob("fold_*"):
        (fold / "progress.png").write_bytes(b"")
        (fold / "validation").mkdir(exist_ok=True)
        (fold / "validation" / "summary.json").write_text("{}")
    from nnunetv2.model_sharing import model_export

    monkeypatch.setattr(model_export, "nnUNet_results", str(folder.parents[1]))
    monkeypatch.setattr(model_export, "maybe_convert_to_dataset_name", lambda name: folder.parent.name)
    monkeypatch.setattr(model_export, "get_output_folder", lambda *arguments: str(folder))
    model_export.export_pretrained_model(
        folder.parent.name, str(file), (CONFIGURATION,), folds=(0,), export_crossval_predictions=False
    )
    return file


def zipped(root: Path, patch: pytest.MonkeyPatch) -> Kind:
    """The archive alone goes to `export nnunet`; nnU-Net predicts from the folder that it was made of."""
    folder, images = write_model(root / "results", Tiny()), root / "images"
    masks = _volumes(images)
    predict_files(folder, ("0",), [[path] for path in sorted(images.iterdir())], root / "theirs")
    return Kind((archive(folder, root / "model.zip", patch),), images, root / "theirs", masks)


# Primus, nnU-Net's transformer: real networks of nnunetv2's own classes.

PRIMUS_PATCH = (16, 24, 16)
PRIMUS_LABELS = {"background": 0, "near": 1, "far": 2}
SMALL = "nnUNet_Primus_Small_Trainer"
SOURCE = f'''
from dynamic_network_architectures.architectures.primus import Primus
from nnunetv2.training.nnUNetTrainer.primus.primus_trainers import AbstractPrimus


class {SMALL}(AbstractPrimus):
    """As nnUNet_Primus_S_Trainer, with fewer and narrower layers."""

    @staticmethod
    def build_network_architecture(plans_manager, configuration_manager, num_input_channels, num_output_channels,
                                   enable_deep_supervision=True):
        return Primus(num_input_channels, 48, (8, 8, 8), num_output_channels, 1, 4, configuration_manager.patch_size,
                      drop_path_rate=0.2, scale_attn_inner=True, init_values=0.1)
'''


def primus_importable(root: Path, patch: pytest.MonkeyPatch) -> None:
    """Let Primus be imported, and nnU-Net find `SMALL`; skips where nnunetv2 has no Primus.

    Primus needs timm, timm torchvision, and the latter's operators do not load beside another build of PyTorch.
    """
    patch.setattr(torch.library, "register_fake", lambda *_, **__: lambda function: function)
    pytest.importorskip("nnunetv2.training.nnUNetTrainer.primus.primus_trainers")
    folder = root / "trainers"
    folder.mkdir()
    (folder / "small.py").write_text(SOURCE)
    patch.setenv("nnUNet_extTrainer", os.pathsep.join(["", str(folder)]))


def write_primus(root: Path, trainer: str) -> Path:
    """A results folder whose network has random weights and labels of some size."""
    torch.manual_seed(1)
    network: Any = find_trainer(trainer).build_network_architecture(
        None, SimpleNamespace(patch_size=PRIMUS_PATCH), 1, len(PRIMUS_LABELS), enable_deep_supervision=False
    )
    network.eval()
    with torch.no_grad():
        image = torch.from_numpy(smooth(PRIMUS_PATCH, 3).astype(np.float32))[None, None]
        output = network(image)[0].flatten(1)
        head = [module for module in network.modules() if isinstance(module, torch.nn.ConvTranspose3d)][-1]
        factor = 4 / output.std(dim=1)
        head.weight.mul_(factor.reshape(1, -1, 1, 1, 1))
        head.bias.copy_((head.bias - output.mean(dim=1)) * factor)
    recipe = plans(
        "Dataset999_Tiny",
        "3d_fullres",
        spacing=(1.5, 1.0, 1.2),
        patch_size=PRIMUS_PATCH,
        architecture=plain_unet(
            (4, 8), ((3, 3, 3),) * 2, ((1, 1, 1), (2, 2, 2))
        ),  # Primus does not look at it
    )
    return write_results_folder(
        root / f"{trainer}__nnUNetPlans__3d_fullres",
        recipe,
        dataset_json(PRIMUS_LABELS),
        {"0": network.state_dict()},
        configuration="3d_fullres",
        mirror_axes=(1,),
        trainer=trainer,
    )


@dataclass(frozen=True)
class Primus:
    """A trainer of nnunetv2, or `SMALL`."""

    trainer: str

    def __call__(self, root: Path, patch: pytest.MonkeyPatch) -> Kind:
        primus_importable(root, patch)
        folder, images = write_primus(root, self.trainer), root / "images"
        images.mkdir()
        image = sitk.GetImageFromArray(smooth((18, 33, 30), 5).astype(np.float32) * 100 + 200)
        image.SetSpacing((1.1, 0.9, 1.6))
        sitk.WriteImage(image, str(images / "case_0000.nii.gz"))
        predict_files(folder, ("0",), [[images / "case_0000.nii.gz"]], root / "theirs")
        return Kind((folder,), images, root / "theirs", ("case.nii.gz",))


_REGIONS: dict[str, Any] = {"labels": REGION_LABELS, "regions_class_order": (1, 2, 3)}
KINDS: dict[str, Callable[[Path, pytest.MonkeyPatch], Kind]] = {
    "ensemble of 2d and 3d, postprocessed": Ensemble((FLAT, Tiny(transpose=(1, 0, 2))), ([1, 2],)),
    "ensemble of regions": Ensemble((replace(FLAT, **_REGIONS), Tiny(**_REGIONS))),
    "ensemble of 2d and cascade": Ensemble((FLAT, Tiny()), cascade=True),
    "picture, grey": Picture(PICTURE, grey),
    "picture, 16 bits": Picture(PICTURE, grey_16),
    "picture, colour, regions": Picture(
        replace(PICTURE, normalization=("RGBTo01Normalization",) * 3, file_ending=".bmp", **_REGIONS), colour
    ),
    "picture, two files a case": Picture(
        replace(PICTURE, normalization=("ZScoreNormalization",) * 2, file_ending=".tif"), grey_16, 2
    ),
    "stack with spacing": Picture(
        Tiny(reader="Tiff3DIO", file_ending=".tif"), stack, shape=(14, 38, 33), spacing=(2.0, 0.9, 1)
    ),
    "stack without spacing": Picture(Tiny(reader="Tiff3DIO", file_ending=".tiff"), stack, shape=(18, 26, 25)),
    "archive": zipped,
    "Primus, small": Primus(SMALL),
    "Primus-S": Primus("nnUNet_Primus_S_Trainer"),
}
"""Every kind, with what makes it below a folder."""
LONGER = {
    *("ensemble of regions", "ensemble of 2d and cascade"),
    *("picture, 16 bits", "picture, two files a case", "stack without spacing"),
    "Primus-S",
}
"""Kinds that `make soak` compares and `make test` leaves out."""

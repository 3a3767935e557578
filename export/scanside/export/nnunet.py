"""`scanside export nnunet`: results folder in, verified bundle out. Read this file first in this component."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from scanside.export import parity
from scanside.export.cases import Candidate, given_cases, synthetic_cases
from scanside.export.convert import in_precisions
from scanside.export.model_folder import (
    ModelFolder,
    postprocessing_file,
    postprocessing_of_other_folds,
    read_model_folder,
)
from scanside.export.network import build_network, load_weights
from scanside.export.onnx_graph import to_onnx
from scanside.export.plan import to_plan
from scanside.export.quantise import Tiles, calibration_tiles
from scanside.export.ranges import audit
from scanside.export.reference import Prediction, Reference
from scanside.export.tiles import tiles
from scanside.export.writer import BundleWriter
from scanside.runtime.backends.table import FilePrecision
from scanside.runtime.bundle import open_bundle
from scanside.runtime.errors import InputError
from scanside.runtime.golden import GoldenCase
from scanside.runtime.images.orient import reorient, restore_orientation
from scanside.runtime.manifest import SCHEMA, FileEntry, Golden, Manifest, Network, Segmenter
from scanside.runtime.plan import Plan
from scanside.runtime.stages.postprocess import postprocess

Say = Callable[[str], None]


@dataclass(frozen=True)
class ExportOptions:
    """Choices of an export.

    Attributes:
        folds: None for all that are there.
        golden: Images to prove the export on, besides the synthetic ones.
        keep_images: Store them in the bundle, for every machine to replay; else their figures alone.
        calibrate: Images that int8 takes its scales from, and on which its cost in accuracy is measured.
        previous: Results folder of a cascade's first stage; None looks beside the model folder.
        postprocessing: `auto` builds in the postprocessing.json found for exactly these folds, `none` leaves it
            out, anything else is a file.
    """

    folds: tuple[str, ...] | None = None
    checkpoint: str = "checkpoint_final.pth"
    precisions: tuple[FilePrecision, ...] = ("fp32", "mixed")
    golden: tuple[Path, ...] = ()
    keep_images: bool = True
    calibrate: tuple[Path, ...] = ()
    previous: Path | None = None
    postprocessing: str = "auto"
    trust_pickles: bool = False
    name: str | None = None
    intended_use: str = "Research use only."
    licence: str = "not stated"
    overwrite: bool = False


@dataclass(frozen=True, eq=False)
class _Stage:
    """A stage of the model, ready to be exported and to serve as reference."""

    role: str
    folder: ModelFolder
    plan: Plan
    network: nn.Module = field(repr=False)


def export_nnunet(model: Path, out: Path, options: ExportOptions, say: Say) -> dict[str, Any]:
    """Export a results folder to a bundle, or raise and leave nothing behind.

    Args:
        model: nnU-Net v2 results folder.
        out: The bundle folder to make.
        say: Receives progress, a sentence at a time.

    Returns:
        The parity report.

    Raises:
        InputError: What cannot be exported, by name.
        BackendError: If no backend here can check a precision.
        BundleError: If the parity gate fails.
        OutputError: If the bundle cannot be written.
    """
    if "fp32" not in options.precisions:
        raise InputError("A bundle needs its fp32 networks: every other precision is judged against them.")
    targets = parity.targets(options.precisions)
    stages = _stages(model, options)
    others = postprocessing_of_other_folds(stages[-1].folder)
    if options.postprocessing == "auto" and others and not stages[-1].plan.postprocessing:
        say(
            f"The postprocessing found for folds {', '.join(others)} is left out: folds "
            f"{'_'.join(stages[-1].folder.folds)} are exported"
        )
    candidates = _candidates(stages[-1], options)
    images, calibration = _calibration(stages, options)
    with BundleWriter(out, overwrite=options.overwrite) as writer:
        _say_what_is_stored(candidates, options, say)
        say(f"Running {len(candidates)} golden case(s) through nnunetv2")
        results: dict[str, list[tuple[GoldenCase, Prediction]]] = {stage.role: [] for stage in stages}
        golden = []
        for candidate in candidates:
            for role, (case, prediction) in _reference_cases(stages, candidate).items():
                if candidate.origin == "synthetic" or options.keep_images:
                    path = f"golden/{case.name}.npz"
                    writer.add(path, case.encode())
                    golden.append(Golden(name=case.name, role=role, file=path, origin=candidate.origin))
                results[role].append((case, prediction))
        segmenters, ranges = {}, []
        for stage in stages:
            cases = [case for case, _ in results[stage.role]]
            segmenters[stage.role], audited = _write_networks(stage, writer, options, calibration, cases, say)
            ranges += audited
        manifest = _manifest(stages, segmenters, tuple(golden), options, writer.files)
        bundle = open_bundle(writer.write_manifest(manifest))
        hops: list[parity.Hop] = []
        for target in targets:
            say(f"Comparing {target[0]} in {target[1]} with nnunetv2")
            for role, pairs in results.items():
                hops += parity.check(bundle, role, pairs, target)
        parity.require(hops)
        report = parity.report(hops, [case for pairs in results.values() for case, _ in pairs])
        report["ranges"] = ranges
        if images:
            say(f"Comparing int8 with fp32 on {len(images)} image(s)")
            report["accuracy"] = parity.accuracy(bundle, images)
        writer.add("parity.json", json.dumps(report, indent=1).encode())
        writer.write_manifest(manifest)
        writer.commit()
    return report


def _say_what_is_stored(candidates: Sequence[Candidate], options: ExportOptions, say: Say) -> None:
    given = sum(candidate.origin == "given" for candidate in candidates)
    if given and options.keep_images:
        say(
            f"The bundle will hold the voxels of {given} given image(s), without names and headers; for patients' "
            "images --golden-keep figures stores none"
        )
    elif given:
        say(f"The bundle will hold figures of {given} given image(s), and none of the images")


def unproven_bundle(model: Path, out: Path, options: ExportOptions, say: Say) -> None:
    """Write a bundle without golden cases and without the parity gate: for timing an untrained network, nothing else.

    Untrained weights amplify every rounding, so that the gate refuses their approximations by right.

    Raises:
        InputError: What cannot be exported, by name.
        OutputError: If the bundle cannot be written.
    """
    stages = _stages(model, options)
    _, calibration = _calibration(stages, options)
    with BundleWriter(out, overwrite=options.overwrite) as writer:
        segmenters = {
            stage.role: _write_networks(stage, writer, options, calibration, (), say)[0] for stage in stages
        }
        writer.write_manifest(_manifest(stages, segmenters, (), options, writer.files))
        writer.commit()


def _stages(model: Path, options: ExportOptions) -> list[_Stage]:
    """The stages to run, first one first: one, or two for a cascade. Refuses before anything is written."""
    folder = read_model_folder(
        model, folds=options.folds, checkpoint=options.checkpoint, trust_pickles=options.trust_pickles
    )
    previous = folder.configuration.previous_stage_name
    if previous is None:
        return [_stage(folder, options, postprocess=True, previous=None)]
    first_path = options.previous or _sibling(folder, previous)
    first = read_model_folder(
        first_path, folds=options.folds, checkpoint=options.checkpoint, trust_pickles=options.trust_pickles
    )
    if first.configuration_name != previous:
        raise InputError(
            f"{first_path} is a {first.configuration_name} model, but the cascade needs its {previous} stage."
        )
    # nnU-Net feeds the first stage's raw prediction to the second; postprocessing belongs to the last.
    return [
        _stage(first, options, postprocess=False, previous=None),
        _stage(folder, options, postprocess=True, previous=previous),
    ]


def _sibling(folder: ModelFolder, previous: str) -> Path:
    parts = folder.path.resolve().name.split("__")
    sibling = folder.path.resolve().parent / "__".join([*parts[:-1], previous])
    if not sibling.is_dir():
        raise InputError(
            f"{folder.path} is the second stage of a cascade, and its first stage is not at {sibling}; "
            "give its results folder with --previous-stage."
        )
    return sibling


def _stage(folder: ModelFolder, options: ExportOptions, *, postprocess: bool, previous: str | None) -> _Stage:
    file = None
    if postprocess and options.postprocessing == "auto":
        file = postprocessing_file(folder)
    elif postprocess and options.postprocessing != "none":
        file = Path(options.postprocessing)
        if not file.is_file():
            raise InputError(f"There is no postprocessing file {file}.")
    plan = to_plan(folder, postprocessing=file, previous_stage=previous)
    network = build_network(folder, plan.input_channels, plan.labels.heads)
    for fold, checkpoint in zip(folder.folds, folder.checkpoints, strict=True):
        load_weights(network, checkpoint.weights, fold)
    return _Stage(folder.configuration_name, folder, plan, network)


def _write_networks(
    stage: _Stage,
    writer: BundleWriter,
    options: ExportOptions,
    calibration: Tiles,
    cases: Sequence[GoldenCase],
    say: Say,
) -> tuple[Segmenter, list[dict[str, Any]]]:
    """Every fold in every precision; also what the range audit of each fold over the golden cases found."""
    networks, ranges = [], []
    for fold, checkpoint in zip(stage.folder.folds, stage.folder.checkpoints, strict=True):
        say(f"Exporting {stage.role}, fold {fold}, to ONNX")
        load_weights(stage.network, checkpoint.weights, fold)
        model = to_onnx(stage.network, stage.plan.input_channels, stage.plan.patch_size)
        kept: tuple[str, ...] = ()
        if "mixed" in options.precisions:
            seen = (tile for case in cases for tile in tiles(case.volume, stage.plan, case.previous))
            found = audit(model, seen)
            kept = found.kept
            ranges.append({"role": stage.role, "fold": fold, **found.report()})
        files: dict[FilePrecision, str] = {}
        for precision, converted in in_precisions(model, options.precisions, calibration, kept).items():
            ending = "onnx" if precision == "fp32" else f"{precision}.onnx"
            files[precision] = f"segmenters/{stage.role}/{fold}.{ending}"
            writer.add(files[precision], converted.SerializeToString())
        networks.append(Network(fold=fold, files=files))
    return Segmenter(plan=stage.plan, networks=tuple(networks)), ranges


def _candidates(stage: _Stage, options: ExportOptions) -> list[Candidate]:
    statistics = stage.folder.plans.foreground_intensity_properties_per_channel
    ending = str(stage.folder.dataset.get("file_ending", ".nii.gz"))
    given = given_cases(options.golden, stage.plan, ending) if options.golden else []
    return [*synthetic_cases(stage.plan, statistics), *given]


def _calibration(stages: Sequence[_Stage], options: ExportOptions) -> tuple[list[Candidate], Tiles]:
    """The images given for int8 and the tiles taken of them; nothing where int8 is not asked for."""
    if "int8" not in options.precisions:
        if options.calibrate:
            raise InputError("Images to calibrate on serve precision int8 alone; add it to --precision.")
        return [], ()
    final = stages[-1]
    ending = str(final.folder.dataset.get("file_ending", ".nii.gz"))
    images = given_cases(options.calibrate, final.plan, ending, "calibration") if options.calibrate else []
    return images, calibration_tiles([image.volume for image in images], final.plan)


def _reference_cases(
    stages: Sequence[_Stage], candidate: Candidate
) -> dict[str, tuple[GoldenCase, Prediction]]:
    """Role → golden case of that stage with nnunetv2's result, postprocessing included.

    A second stage is given the reference's first stage, so that each stage is judged by what it does itself.
    """
    source, reorientation = candidate.volume.geometry, stages[-1].plan.reorient
    volume = reorient(candidate.volume, reorientation)[0] if reorientation else candidate.volume
    previous, previous_restored, cases = None, None, {}
    for stage in stages:
        prediction = Reference(stage.folder, stage.network, stage.plan).predict(
            volume.data, volume.geometry.spacing, previous
        )
        labels = postprocess(prediction.labels, stage.plan.postprocessing)
        # A voxel that the postprocessing removed has no margin of its own: which component is largest decides.
        margin = np.where(labels == prediction.labels, prediction.margin, np.float16(0))
        if reorientation:
            labels, margin = (restore_orientation(a, volume.geometry, source) for a in (labels, margin))
        name = candidate.name if stage is stages[-1] else f"{candidate.name}-{stage.role}"
        case = GoldenCase(name, candidate.volume, labels, margin, previous_restored)
        cases[stage.role] = (case, prediction)
        previous, previous_restored = prediction.labels, labels
    return cases


def _manifest(
    stages: Sequence[_Stage],
    segmenters: dict[str, Segmenter],
    golden: tuple[Golden, ...],
    options: ExportOptions,
    files: dict[str, FileEntry],
) -> Manifest:
    final = stages[-1].folder
    provenance = {
        "source": "nnU-Net v2 results folder",
        "dataset": final.plans.dataset_name,
        "plans": final.plans.plans_name,
        "stages": {
            stage.role: {"trainer": stage.folder.trainer, "checkpoint_sha256": stage.folder.hashes}
            for stage in stages
        },
        "exported_with": {
            "scanside": version("scanside"),
            "nnunetv2": version("nnunetv2"),
            "torch": version("torch"),
        },
    }
    return Manifest(
        schema=SCHEMA,
        name=options.name or f"{final.plans.dataset_name}-{final.configuration_name}",
        version="1",
        intended_use=options.intended_use,
        licence=options.licence,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        file_ending=str(final.dataset.get("file_ending", ".nii.gz")),
        segmenters=segmenters,
        golden=golden,
        provenance=provenance,
        files=files,
    )

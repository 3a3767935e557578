"""`scanside export nnunet`: results folder in, verified bundle out. Read this file first in this component."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx

from scanside.export import parity
from scanside.export.cases import Candidate, given_cases, synthetic_cases
from scanside.export.convert import in_precisions
from scanside.export.ensemble_members import ROLE, chosen_models, ensemble_plan, ensemble_postprocessing
from scanside.export.model_folder import (
    ModelFolder,
    postprocessing_file,
    postprocessing_of_other_folds,
    read_model_folder,
)
from scanside.export.network import build_network, is_primus, load_weights
from scanside.export.onnx_graph import to_onnx, with_weights
from scanside.export.plan import read_postprocessing, to_plan
from scanside.export.quantise import Tiles, calibration_tiles
from scanside.export.ranges import audit
from scanside.export.reference import Prediction
from scanside.export.references import Stage, references
from scanside.export.tiles import tiles
from scanside.export.writer import BundleWriter
from scanside.runtime.backends.table import FilePrecision
from scanside.runtime.bundle import Bundle, open_bundle
from scanside.runtime.errors import InputError
from scanside.runtime.golden import GoldenCase
from scanside.runtime.manifest import SCHEMA, FileEntry, Golden, Manifest, Network, Segmenter
from scanside.runtime.plan import Plan

Say = Callable[[str], None]
Results = dict[str, list[tuple[GoldenCase, Prediction]]]
"""Role → its golden cases, each with nnunetv2's result."""


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


def export_nnunet(
    model: Path | Sequence[Path], out: Path, options: ExportOptions, say: Say
) -> dict[str, Any]:
    """Export a results folder, or an ensemble of several, to a bundle, or raise and leave nothing behind.

    Args:
        model: nnU-Net v2 results folder; several make an ensemble; or the inference_information.json that names them.
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
    members, together = _members((model,) if isinstance(model, Path) else model, options)
    stages = list({stage.role: stage for chain in members for stage in chain}.values())
    if together is None:
        _say_what_is_left_out(stages[-1], options, say)
    candidates = _candidates(stages[-1], options)
    images, calibration = _calibration(stages, options)
    with BundleWriter(out, overwrite=options.overwrite) as writer:
        _say_what_is_stored(candidates, options, say)
        say(f"Running {len(candidates)} golden case(s) through nnunetv2")
        roles = [stage.role for stage in stages] + ([ROLE] if together else [])
        results: Results = {role: [] for role in roles}
        golden: list[Golden] = []
        for candidate in candidates:
            kept = candidate.origin == "synthetic" or options.keep_images
            for role, (case, prediction) in references(members, together, candidate).items():
                golden += [_stored(case, role, candidate, writer)] if kept else []
                results[role].append((case, prediction))
        segmenters, ranges = {}, []
        for stage in stages:
            cases = [case for case, _ in results[stage.role]]
            segmenters[stage.role], audited = _write_networks(stage, writer, options, calibration, cases, say)
            ranges += audited
        if together is not None:
            finals = tuple(chain[-1].role for chain in members)
            segmenters[ROLE] = Segmenter(plan=together, members=finals)
        manifest = _manifest(stages, segmenters, tuple(golden), options, writer.files)
        bundle = open_bundle(writer.write_manifest(manifest))
        hops = _compared(bundle, results, targets, say)
        report = parity.report(hops, [case for pairs in results.values() for case, _ in pairs])
        report["ranges"] = ranges
        if images:
            say(f"Comparing int8 with fp32 on {len(images)} image(s)")
            report["accuracy"] = parity.accuracy(bundle, images)
        writer.add("parity.json", json.dumps(report, indent=1).encode())
        writer.write_manifest(manifest)
        writer.commit()
    return report


def _stored(case: GoldenCase, role: str, candidate: Candidate, writer: BundleWriter) -> Golden:
    """A golden case, put into the bundle."""
    path = f"golden/{case.name}.npz"
    writer.add(path, case.encode())
    return Golden(name=case.name, role=role, file=path, origin=candidate.origin)


def _compared(
    bundle: Bundle, results: Results, targets: Sequence[tuple[str, str]], say: Say
) -> list[parity.Hop]:
    """The parity gate: every golden case of every role on every target."""
    hops: list[parity.Hop] = []
    for target in targets:
        say(f"Comparing {target[0]} in {target[1]} with nnunetv2")
        for role, pairs in results.items():
            hops += parity.check(bundle, role, pairs, target)
    parity.require(hops)
    return hops


def _say_what_is_left_out(stage: Stage, options: ExportOptions, say: Say) -> None:
    others = postprocessing_of_other_folds(stage.folder)
    if options.postprocessing == "auto" and others and not stage.plan.postprocessing:
        say(
            f"The postprocessing found for folds {', '.join(others)} is left out: folds "
            f"{'_'.join(stage.folder.folds)} are exported"
        )


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


def _members(given: Sequence[Path], options: ExportOptions) -> tuple[list[list[Stage]], Plan | None]:
    """The stages of each member, and the plan of the ensemble; None where one model is exported by itself."""
    chosen = chosen_models(given)
    options = replace(options, folds=options.folds or chosen.folds)
    if len(chosen.folders) == 1:
        return [_stages(chosen.folders[0], options)], None
    if "int8" in options.precisions:
        raise InputError("An ensemble has no int8: leave it out of --precision.")
    alone, known = replace(options, postprocessing="none"), dict[str, Stage]()
    members = [_named_apart(_stages(folder, alone), known) for folder in chosen.folders]
    finals = [chain[-1] for chain in members]
    file = None
    if options.postprocessing == "auto" and len({stage.folder.folds for stage in finals}) == 1:
        file = ensemble_postprocessing(chosen.folders, finals[0].folder.folds)
    elif options.postprocessing not in ("auto", "none"):
        file = _given_postprocessing(options)
    return members, ensemble_plan([stage.plan for stage in finals], read_postprocessing(file))


def _named_apart(chain: list[Stage], known: dict[str, Stage]) -> list[Stage]:
    """The stages under roles that no other folder has; a stage of a folder that is known is that one."""
    named: list[Stage] = []
    for stage in chain:
        path, role = stage.folder.path.resolve(), stage.role
        if role in known and known[role].folder.path.resolve() != path:
            role = path.name
        previous = named[-1].role if named else None
        plan = stage.plan.model_copy(update={"previous_stage": previous}) if previous else stage.plan
        named.append(known.setdefault(role, replace(stage, role=role, plan=plan)))
    return named


def _given_postprocessing(options: ExportOptions) -> Path:
    file = Path(options.postprocessing)
    if not file.is_file():
        raise InputError(f"There is no postprocessing file {file}.")
    return file


def _stages(model: Path, options: ExportOptions) -> list[Stage]:
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


def _stage(folder: ModelFolder, options: ExportOptions, *, postprocess: bool, previous: str | None) -> Stage:
    file = None
    if postprocess and options.postprocessing == "auto":
        file = postprocessing_file(folder)
    elif postprocess and options.postprocessing != "none":
        file = _given_postprocessing(options)
    plan = to_plan(folder, postprocessing=file, previous_stage=previous)
    network = build_network(folder, plan.input_channels, plan.labels.heads)
    if is_primus(network) and options.precisions != ("fp32",):
        raise InputError(
            f"{folder.path} is a Primus model, which is exported in fp32 alone: attention in lower precision has not "
            "been proven; add --precision fp32."
        )
    for fold, checkpoint in zip(folder.folds, folder.checkpoints, strict=True):
        load_weights(network, checkpoint.weights, fold)
    return Stage(folder.configuration_name, folder, plan, network)


def _write_networks(
    stage: Stage,
    writer: BundleWriter,
    options: ExportOptions,
    calibration: Tiles,
    cases: Sequence[GoldenCase],
    say: Say,
) -> tuple[Segmenter, list[dict[str, Any]]]:
    """Every fold in every precision; also what the range audit of each fold over the golden cases found."""
    networks, ranges = [], []
    for fold, model in _graphs(stage, say):
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


def _graphs(stage: Stage, say: Say) -> Iterator[tuple[str, onnx.ModelProto]]:
    """The graph of each fold. PyTorch exports the first; the others differ in their weights alone, where they do."""
    first: onnx.ModelProto | None = None
    weights = stage.folder.checkpoints[0].weights
    for fold, checkpoint in zip(stage.folder.folds, stage.folder.checkpoints, strict=True):
        say(f"Exporting {stage.role}, fold {fold}, to ONNX")
        model = None if first is None else with_weights(first, weights, checkpoint.weights)
        if model is None:
            load_weights(stage.network, checkpoint.weights, fold)
            model = to_onnx(stage.network, stage.plan.input_channels, stage.plan.patch_size)
        if first is None and len(stage.folder.folds) > 1:
            first = onnx.ModelProto()
            first.CopyFrom(model)  # conversions to other precisions may change theirs
        yield fold, model


def _candidates(stage: Stage, options: ExportOptions) -> list[Candidate]:
    statistics = stage.folder.plans.foreground_intensity_properties_per_channel
    ending = str(stage.folder.dataset.get("file_ending", ".nii.gz"))
    given = given_cases(options.golden, stage.plan, ending) if options.golden else []
    return [*synthetic_cases(stage.plan, statistics), *given]


def _calibration(stages: Sequence[Stage], options: ExportOptions) -> tuple[list[Candidate], Tiles]:
    """The images given for int8 and the tiles taken of them; nothing where int8 is not asked for."""
    if "int8" not in options.precisions:
        if options.calibrate:
            raise InputError("Images to calibrate on serve precision int8 alone; add it to --precision.")
        return [], ()
    final = stages[-1]
    ending = str(final.folder.dataset.get("file_ending", ".nii.gz"))
    images = given_cases(options.calibrate, final.plan, ending, "calibration") if options.calibrate else []
    return images, calibration_tiles([image.volume for image in images], final.plan)


def _manifest(
    stages: Sequence[Stage],
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
        name=options.name
        or f"{final.plans.dataset_name}-{ROLE if ROLE in segmenters else final.configuration_name}",
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

"""`scanside export precisions`: a bundle with more precisions, made of its own fp32 networks; needs no checkpoint.

Labels are judged by the bundle's golden cases, which hold nnunetv2's; logits by the fp32 networks, which were judged by
nnunetv2's when the bundle was made.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx

from scanside.export import parity
from scanside.export.accurate_norm import single_norms
from scanside.export.convert import in_precisions
from scanside.export.ranges import audit
from scanside.export.reference import Prediction
from scanside.export.tiles import tiles
from scanside.export.writer import BundleWriter
from scanside.runtime import machine
from scanside.runtime.backends.table import FilePrecision
from scanside.runtime.bundle import Bundle, open_bundle, verify
from scanside.runtime.errors import BundleError, UsageError
from scanside.runtime.golden import GoldenCase, load_golden, policy
from scanside.runtime.manifest import Segmenter
from scanside.runtime.options import Options
from scanside.runtime.pipeline import LocalSegmenter
from scanside.runtime.segmenter import Obtained

REPORT = "parity.json"


def add_precisions(
    path: Path,
    out: Path,
    precisions: Sequence[FilePrecision],
    *,
    overwrite: bool,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Write the bundle with more precisions, or leave nothing behind.

    Args:
        precisions: Of `mixed` and `bf16`: int8 needs images to calibrate on.

    Returns:
        The parity report, what was judged now included.

    Raises:
        UsageError: If a precision cannot be added.
        BundleError: If the bundle is damaged, has nothing to judge by, or the gate fails.
        OutputError: If the new bundle cannot be written.
    """
    bundle = open_bundle(path)
    verify(bundle)
    cases = _cases(bundle, precisions)
    report = json.loads(bundle.read(REPORT))
    with BundleWriter(out, overwrite=overwrite) as writer:
        for file in bundle.manifest.files:
            if file != REPORT:
                writer.add(file, bundle.read(file))
        segmenters, ranges = {}, []
        for role in bundle.manifest.segmenters:
            say(f"Converting the networks of {role}")
            segmenters[role], found = _converted(bundle, role, precisions, cases[role], writer)
            ranges += found
        added = {
            "precisions": list(precisions),
            "from_bundle": bundle.sha256,
            "scanside": version("scanside"),
        }
        provenance = {**bundle.manifest.provenance, "precisions_added": added}
        manifest = bundle.manifest.model_copy(update={"segmenters": segmenters, "provenance": provenance})
        made = open_bundle(writer.write_manifest(manifest))
        hops: list[parity.Hop] = []
        for role in segmenters:
            pairs = [(case, _fp32(bundle, role, case)) for case in cases[role]]
            for target in parity.targets(precisions):
                say(f"Judging {role} in {target[1]} on {target[0]}")
                hops += parity.check(made, role, pairs, target)
        parity.require(hops)
        _add_to(report, precisions, hops, ranges)
        writer.add(REPORT, json.dumps(report, indent=1).encode())
        writer.write_manifest(manifest)
        writer.commit()
    return {**report, "judged_now": [parity.row(hop) for hop in hops]}


def _add_to(
    report: dict[str, Any],
    precisions: Sequence[FilePrecision],
    hops: Sequence[parity.Hop],
    ranges: list[dict[str, Any]],
) -> None:
    """What was judged and found, in the parity report of the bundle that it was made of."""
    report["policies"] |= {name: asdict(policy(name)) for name in precisions}
    report["hops"] += [parity.row(hop) for hop in hops]
    report["ranges"] = report.get("ranges", []) + ranges
    report["added"] = {
        "precisions": list(precisions),
        "logits_against": "the bundle's own fp32 networks on the CPU",
        "machine": {"processor": machine.processor(), "cores": machine.cores()},
        "versions": machine.versions(),
    }


def _cases(bundle: Bundle, precisions: Sequence[FilePrecision]) -> dict[str, list[GoldenCase]]:
    """Golden cases of every role, after a look at whether the precisions can be added."""
    manifest = bundle.manifest
    for precision in precisions:
        if precision not in ("mixed", "bf16"):
            raise UsageError(
                f"Precision '{precision}' cannot be added to a bundle; choose mixed, bf16 or both, or export the "
                "model again."
            )
        if any(precision in net.files for part in manifest.segmenters.values() for net in part.networks):
            raise UsageError(f"Bundle {bundle.path} has precision {precision} already; leave it out.")
    cases = {
        role: [load_golden(bundle, case) for case in manifest.golden if case.role == role]
        for role in manifest.segmenters
    }
    for role, found in cases.items():
        if not found:
            raise BundleError(
                f"Segmenter '{role}' of bundle {bundle.path} has no golden cases, so that nothing can judge another "
                "precision; export the model again."
            )
    return cases


def _converted(
    bundle: Bundle,
    role: str,
    precisions: Sequence[FilePrecision],
    cases: Sequence[GoldenCase],
    writer: BundleWriter,
) -> tuple[Segmenter, list[dict[str, Any]]]:
    """The segmenter with its new files, and what the range audit found."""
    segmenter, networks, ranges = bundle.manifest.segmenters[role], [], []
    for network in segmenter.networks:
        model = onnx.load_from_string(bundle.read(network.files["fp32"]))
        if any(node.op_type == "MatMul" for node in model.graph.node):
            raise UsageError(
                f"Segmenter '{role}' of bundle {bundle.path} is a transformer, which runs in fp32 alone; leave it "
                "as it is."
            )
        single_norms(model)
        found = audit(
            model, (tile for case in cases for tile in tiles(case.volume, segmenter.plan, case.previous))
        )
        ranges.append({"role": role, "fold": network.fold, **found.report()})
        files = dict(network.files)
        for precision, graph in in_precisions(model, precisions, kept=found.kept).items():
            files[precision] = f"segmenters/{role}/{network.fold}.{precision}.onnx"
            writer.add(files[precision], graph.SerializeToString())
        networks.append(network.model_copy(update={"files": files}))
    return segmenter.model_copy(update={"networks": tuple(networks)}), ranges


def _fp32(bundle: Bundle, role: str, case: GoldenCase) -> Prediction:
    """What the bundle's own networks compute, in the place of nnunetv2's prediction."""
    options = Options(device="cpu", precision="fp32", role=role)
    with LocalSegmenter(bundle, options, Obtained("cpu", "cpu", "parity gate", "fp32")) as opened:
        outputs, _ = parity.outputs_of(opened, case)
    return Prediction(outputs, case.labels, case.margin)

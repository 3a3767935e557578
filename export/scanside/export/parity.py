"""The parity gate: golden cases through nnunetv2 and through the runtime, judged by the policy of docs/exactness.md.

What no processor here computes as a GPU does is checked on `simulated` graphs: the device is named so.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from scanside.export.cases import Candidate
from scanside.export.precisions import EXPORTED
from scanside.export.reference import Prediction
from scanside.export.simulated_precision import simulated
from scanside.runtime import machine
from scanside.runtime.arrays import LabelMask
from scanside.runtime.backends.table import DEVICES, backend
from scanside.runtime.bundle import Bundle
from scanside.runtime.errors import BackendError, BundleError
from scanside.runtime.extras import install_command
from scanside.runtime.golden import INT8_DICE, Comparison, GoldenCase, compare, label_dice, policy
from scanside.runtime.options import Options
from scanside.runtime.pipeline import LocalSegmenter
from scanside.runtime.segmenter import Obtained, Segmenter

PACKAGES = (
    "nnunetv2", "torch", "onnx", "onnxscript", "batchgenerators", "acvl_utils", "scikit-image",
    "dynamic_network_architectures",
)  # fmt: skip

SIMULATED = "cpu, roundings simulated"
"""The device of hops on graphs that round as float16 and bfloat16 do: ONNX Runtime leaves float16's roundings out on a
CPU, and OpenVINO's bfloat16 starts from the fp32 file."""
_ROUNDED = ("mixed", "bf16")


@dataclass(frozen=True)
class Hop:
    """One golden case on one target.

    Attributes:
        logit_error: Root mean square of Δ logit on the network's grid, relative to that of the reference's logits.
        logit_largest: Largest |Δ logit|; told, not judged (see `Policy.logits`).
        logit_differing: Part of the float16 logits that differ at all.
            Of an ensemble, which has no logits, these three are of its probabilities.
        labels: The comparison of the masks.
    """

    labels: Comparison
    logit_error: float
    logit_largest: float
    logit_differing: float

    @property
    def problem(self) -> str | None:
        """Why the policy rejects it, or None."""
        bound = policy(self.labels.precision).logits
        if self.logit_error > bound:
            return f"its logits differ by {self.logit_error:.3g} (relative RMS), above {bound:g}"
        return self.labels.problem


def targets(precisions: Sequence[str]) -> list[tuple[str, str]]:
    """(device, precision) pairs that can be checked on this machine: each device that runs that precision's own file.

    Raises:
        BackendError: If a precision has none: what nobody checked is not exported.
    """
    pairs: list[tuple[str, str]] = [
        (device, precision)
        for device in DEVICES
        for precision in precisions
        if backend(device).missing() is None and backend(device).FILES.get(precision) == precision
    ]
    if backend("cpu").missing() is None:
        pairs += [(SIMULATED, precision) for precision in precisions if precision in _ROUNDED]
    unchecked = sorted(set(precisions) - {precision for _, precision in pairs})
    if unchecked:
        raise BackendError(
            f"No backend here can check precision {unchecked[0]} against nnunetv2; "
            f"run: {install_command('cpu')}, or leave it out of --precision."
        )
    return pairs


def check(
    bundle: Bundle,
    role: str,
    cases: Sequence[tuple[GoldenCase, Prediction]],
    target: tuple[str, str],
) -> list[Hop]:
    """Run all golden cases of a role on one (device, precision)."""
    device, precision = target
    run, run_precision = device, precision
    if device == SIMULATED:
        bundle, run, run_precision = _rounded(bundle, precision), "cpu", "fp32"
    options = Options(device=run, precision=run_precision, role=role)
    hops = []
    with LocalSegmenter(bundle, options, Obtained(run, run, "parity gate", run_precision)) as segmenter:
        for case, reference in cases:
            start = time.perf_counter()
            outputs, mask = outputs_of(segmenter, case)
            ms = (time.perf_counter() - start) * 1000
            comparison = compare(case, mask, device, precision, ms)
            hops.append(_hop(comparison, outputs.astype(float), reference.logits.astype(float)))
    return hops


def outputs_of(segmenter: Segmenter, case: GoldenCase) -> tuple[npt.NDArray[np.floating], LabelMask]:
    """What is compared beside the mask: the logits, or of an ensemble, which has none, the probabilities."""
    several = bool(segmenter.bundle.manifest.segmenters[segmenter.role].members)
    found = segmenter.segment(
        case.volume, case=case.name, previous=case.previous, logits=True, probabilities=several
    )
    outputs = found.probabilities if several else found.logits
    assert outputs is not None
    return outputs, found.mask


class _Rounded(Bundle):
    """A bundle whose networks are read as float32 graphs with the roundings of their types."""

    def read(self, relative: str) -> bytes:
        """See `Bundle.read`."""
        content = super().read(relative)
        return bytes(simulated(onnx.load_from_string(content)).SerializeToString())


def _rounded(bundle: Bundle, precision: str) -> Bundle:
    """The bundle with the networks of `precision`, simulated, in the place of its fp32 ones."""
    segmenters = {}
    for role, segmenter in bundle.manifest.segmenters.items():
        networks = tuple(
            network.model_copy(update={"files": {"fp32": file}})
            for network in segmenter.networks
            for name, file in network.files.items()
            if name == precision
        )
        segmenters[role] = segmenter.model_copy(update={"networks": networks})
    manifest = bundle.manifest.model_copy(update={"segmenters": segmenters})
    return _Rounded(bundle.path, manifest, bundle.sha256)


def _hop(comparison: Comparison, logits: npt.NDArray[np.float64], expected: npt.NDArray[np.float64]) -> Hop:
    error = np.abs(logits - expected)
    scale = float(np.sqrt((expected**2).mean())) or 1.0
    return Hop(
        labels=comparison,
        logit_error=float(np.sqrt((error**2).mean())) / scale,
        logit_largest=float(error.max()),
        logit_differing=float((logits != expected).mean()),
    )


def require(hops: Sequence[Hop]) -> None:
    """Refuse a bundle that is not equal to its model.

    Raises:
        BundleError: Naming the first failing case and target.
    """
    for hop in hops:
        if hop.problem:
            where = f"{hop.labels.device} in {hop.labels.precision}"
            raise BundleError(
                f"No bundle was written: golden case {hop.labels.case} on {where} is not what nnunetv2 computes "
                f"({hop.problem})."
            )


def accuracy(bundle: Bundle, images: Sequence[Candidate]) -> list[dict[str, Any]]:
    """What int8 costs: its labels against those of fp32 on the images it was calibrated on, in parity.json's rows.

    Without mirroring, whose average would hide a part of the error.

    Raises:
        BundleError: If a label's mean Dice is below `INT8_DICE`.
    """
    masks = {}
    for precision in ("fp32", "int8"):
        device = targets([precision])[0][0]
        options = Options(device=device, precision=precision, mirroring=False)
        with LocalSegmenter(bundle, options, Obtained(device, device, "parity gate", precision)) as segmenter:
            masks[precision] = [segmenter.segment(image.volume).mask for image in images]
    scores = [label_dice(*pair) for pair in zip(masks["int8"], masks["fp32"], strict=True)]
    for label in sorted(set().union(*scores)):
        mean = float(np.mean([score[label] for score in scores if label in score]))
        if mean < INT8_DICE:
            raise BundleError(
                f"No bundle was written: with int8 the mean Dice of label {label} against fp32 is {mean:.4f}, below "
                f"{INT8_DICE}; leave int8 out of --precision, or calibrate on images like those of the training."
            )
    return [
        {"case": image.name, "precision": "int8", "reference": "fp32, no mirroring", "dice": score}
        for image, score in zip(images, scores, strict=True)
    ]


def report(hops: Sequence[Hop], cases: Sequence[GoldenCase]) -> dict[str, Any]:
    """The content of parity.json."""
    return {
        "schema": "scanside.parity/1",
        "reference": "nnunetv2 nnUNetPredictor on the CPU, mirroring as trained, step size 0.5",
        "policies": {name: asdict(policy(name)) for name in EXPORTED},
        "cases": [
            {
                "name": case.name,
                "shape": list(case.volume.data.shape),
                "labels": {
                    str(v): int(n) for v, n in zip(*np.unique(case.labels, return_counts=True), strict=True)
                },
            }
            for case in cases
        ],
        "hops": [row(hop) for hop in hops],
        "machine": {"processor": machine.processor(), "cores": machine.cores()},
        "versions": {**machine.versions(), **{name: version(name) for name in PACKAGES}},
    }


def row(hop: Hop) -> dict[str, Any]:
    """A hop as parity.json has it."""
    labels = asdict(replace(hop.labels, ms=round(hop.labels.ms, 1)))
    return {
        **labels,
        "logit_error": hop.logit_error,
        "logit_largest": hop.logit_largest,
        "logit_differing": hop.logit_differing,
        "problem": hop.problem,
    }

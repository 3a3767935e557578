"""A bundle's network as the start of a training: its graph, and the grid that it was made for.

A bundle holds no plans of nnU-Net. Plans are made for the cohort as ever, and spacing, patch and normalisation of the
bundle are put in; where the network of such plans is another than the bundle's, its weights do not fit and are refused.
"""

import json
from pathlib import Path
from typing import Any

from scanside.runtime.bundle import MANIFEST, Bundle, open_bundle
from scanside.runtime.errors import InputError, UsageError
from scanside.runtime.manifest import Segmenter
from scanside.training.segmentation.settings import Settings
from scanside.training.segmentation.start import refuse_same_cohort, refuse_unlike

GRAPH = ".onnx"


def find_graph(given: Path, settings: Settings, cohort_sha256: str) -> tuple[Path, str]:
    """Find and check the float32 graph that a training shall start from.

    Args:
        given: A bundle whose role has one network, or a graph in a bundle.
        cohort_sha256: Hash of the table of the cohort to train on.

    Returns:
        The graph and its sha256.

    Raises:
        BundleError: If the bundle is damaged.
        InputError: If it was made for other channels, labels or another configuration, or saw the patients of this
            cohort.
        UsageError: If the bundle holds several networks of the role, or no bundle holds the graph.
    """
    bundle = open_bundle(given if given.is_dir() else _folder_of(given))
    segmenter = _segmenter(bundle, settings)
    if segmenter is None or not segmenter.networks:
        raise InputError(f"Bundle {bundle.path} has no networks of the role {settings.role}.")
    names = [network.files["fp32"] for network in segmenter.networks if "fp32" in network.files]
    if given.is_dir() and len(names) > 1:
        raise UsageError(
            f"{given} holds {len(names)} networks; name the graph of one, such as {given / names[0]}."
        )
    name = names[0] if given.is_dir() else given.resolve().relative_to(bundle.path.resolve()).as_posix()
    if name not in names:
        raise UsageError(
            f"{given} is no float32 network of the role {settings.role}; name one, such as {names[0]}."
        )
    refuse_same_cohort(bundle.path, bundle.manifest.provenance.get("cohort_sha256"), cohort_sha256)
    refuse_unlike(
        bundle.path,
        settings,
        channels=tuple(channel.name for channel in segmenter.plan.channels),
        labels=segmenter.plan.labels.names,
        configuration=segmenter.plan.configuration,
    )
    bundle.read(name)
    return (bundle.path / name).resolve(), bundle.manifest.files[name].sha256


def _segmenter(bundle: Bundle, settings: Settings) -> Segmenter | None:
    """The role's, or the only one of a bundle that was exported before it had a role."""
    known = bundle.manifest.segmenters
    return known.get(settings.role) or known.get(settings.configuration)


def _folder_of(graph: Path) -> Path:
    for folder in graph.resolve().parents:
        if (folder / MANIFEST).exists():
            return folder
    raise UsageError(
        f"{graph} lies in no bundle, which would say what it was made for; name a graph in its bundle."
    )


def take_over_grid(graph: Path, plans: Path, settings: Settings) -> None:
    """Put a bundle's spacing, patch and normalisation into plans that nnU-Net made.

    Args:
        graph: In the bundle.
        plans: nnU-Net's plans file, rewritten.
    """
    segmenter = _segmenter(open_bundle(_folder_of(graph)), settings)
    assert segmenter is not None, "find_graph has seen to it"
    plan = segmenter.plan
    document: dict[str, Any] = json.loads(plans.read_text())
    configuration = document["configurations"][settings.configuration]
    configuration["spacing"], configuration["patch_size"] = list(plan.spacing), list(plan.patch_size)
    norms = [channel.normalization for channel in plan.channels]
    configuration["normalization_schemes"] = [norm.scheme for norm in norms]
    configuration["use_mask_for_norm"] = [norm.use_mask for norm in norms]
    known = document["foreground_intensity_properties_per_channel"]
    for index, norm in enumerate(norms):
        for name in ("mean", "std", "percentile_00_5", "percentile_99_5"):
            if getattr(norm, name) is not None:
                known[str(index)][name] = getattr(norm, name)
    plans.write_text(json.dumps(document, indent=1))

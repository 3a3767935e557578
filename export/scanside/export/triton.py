"""`export triton`: a model repository for Triton Inference Server (ADR 35). Needs neither torch nor onnx.

Each segmenter becomes a model of Triton's Python backend that computes whole cases through the runtime. Its networks
alone, to be batched on GPUs, are written where they are asked for; nobody here could run them.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from scanside.export.triton_config import RepositoryOptions, case_config, network_config, network_name
from scanside.runtime.bundle import Bundle, open_bundle, verify
from scanside.runtime.errors import BundleError, OutputError, UsageError
from scanside.runtime.images.files import folder_beside
from scanside.runtime.options import Options
from scanside.runtime.triton.contract import model_name

_MODEL = Path(__file__).with_name("triton_model.py")
_VERSION = "1"


def export_repository(paths: Sequence[Path], out: Path, options: RepositoryOptions) -> list[str]:
    """Write models of bundles into a repository, each whole or not at all.

    Returns:
        The names of the models.

    Raises:
        UsageError: If two models would have one name.
        BundleError: If a bundle is damaged, or has no golden case for a segmenter.
        OutputError: If a model is there already, or cannot be written.
    """
    Options(options.device, options.precision, threads=options.threads)  # refuses what a run would refuse
    bundles = [open_bundle(path) for path in paths]
    made: list[str] = []
    with folder_beside(out) as folder:
        for bundle in bundles:
            verify(bundle)
            for role in bundle.manifest.final_roles:
                made += _write_models(bundle, role, folder, options, made)
        _place(folder, out, made, options.overwrite)
    return made


def _write_models(
    bundle: Bundle, role: str, folder: Path, options: RepositoryOptions, made: Sequence[str]
) -> list[str]:
    name = model_name(bundle, role)
    if name in made:
        raise UsageError(
            f"Two models would be called {name}; export their bundles to repositories of their own."
        )
    for stage in bundle.manifest.chain(role):
        if not any(case.role == stage for case in bundle.manifest.golden):
            raise BundleError(
                f"Segmenter '{stage}' of bundle {bundle.path} has no golden case to prove a server with; export it "
                "with some."
            )
    version = folder / name / _VERSION
    shutil.copytree(bundle.path, version / "bundle")
    shutil.copyfile(_MODEL, version / "model.py")
    (version / "packages.json").write_text(json.dumps(options.packages))
    (folder / name / "config.pbtxt").write_text(case_config(bundle, role, options), encoding="utf-8")
    return [name, *(_write_networks(bundle, role, folder, options) if options.networks else ())]


def _write_networks(bundle: Bundle, role: str, folder: Path, options: RepositoryOptions) -> Iterator[str]:
    """The networks of every stage of a segmenter, each as a model."""
    wanted = "fp32" if options.precision == "auto" else options.precision
    for stage in bundle.manifest.chain(role):
        for network in bundle.manifest.segmenters[stage].networks:
            name = network_name(bundle, stage, network)
            if (folder / name).exists():
                continue  # two segmenters share a stage
            precision = next((kind for kind in network.files if kind == wanted), None)
            if precision is None:
                raise BundleError(
                    f"Fold {network.fold} of '{stage}' was exported without precision '{wanted}'; export it again with "
                    f"--precision fp32,{wanted}."
                )
            (folder / name / _VERSION).mkdir(parents=True)
            (folder / name / _VERSION / "model.onnx").write_bytes(bundle.read(network.files[precision]))
            config = network_config(bundle, stage, network, precision)
            (folder / name / "config.pbtxt").write_text(config, encoding="utf-8")
            yield name


def _place(folder: Path, out: Path, models: Sequence[str], overwrite: bool) -> None:
    """Move finished models into the repository, and what they replace out of it."""
    there = [name for name in models if (out / name).exists()]
    if there and not overwrite:
        raise OutputError(f"{out / there[0]} exists already; choose another -o or add --overwrite.")
    foreign = [name for name in there if not (out / name / "config.pbtxt").is_file()]
    if foreign:
        raise OutputError(
            f"{out / foreign[0]} is no model of a repository, and is not replaced; choose another -o."
        )
    out.mkdir(exist_ok=True)
    for name in models:
        if name in there:
            (out / name).rename(folder / f"{name}.old")
        (folder / name).rename(out / name)

"""`export triton`: a model repository for Triton Inference Server (ADR 35). Needs neither torch nor onnx.

Each segmenter becomes a model of Triton's Python backend that computes whole cases through the runtime.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scanside.runtime.bundle import Bundle, open_bundle, verify
from scanside.runtime.errors import BundleError, OutputError, ScansideError, UsageError
from scanside.runtime.images.files import writing_failed
from scanside.runtime.options import Options
from scanside.runtime.triton.contract import CONTRACT, model_name

_MODEL = Path(__file__).with_name("triton_model.py")
_VERSION = "1"


@dataclass(frozen=True)
class RepositoryOptions:
    """What to write.

    Attributes:
        device, precision, threads: As the server is to compute; the defaults are those of every run.
        packages: Folders with scanside on the server; those that are not there are passed over.
        overwrite: Replace models of the same name.
    """

    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    packages: tuple[str, ...] = ()
    overwrite: bool = False


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
    with _beside(out) as folder:
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
    return [name]


def case_config(bundle: Bundle, role: str, options: RepositoryOptions) -> str:
    """config.pbtxt of a model that computes whole cases."""
    manifest = bundle.manifest
    plan = manifest.segmenters[role].plan
    inputs = [
        _tensor("image", "FP32", (len(plan.channels), -1, -1, -1)),
        _tensor("spacing", "FP64", (3,)),
        _tensor("direction", "FP64", (9,), optional=True),
    ]
    if plan.previous_stage is not None:
        inputs.append(_tensor("previous", "UINT16", (-1, -1, -1), optional=True))
    outputs = [
        _tensor("labels", plan.labels.mask_dtype.upper(), (-1, -1, -1)),
        _tensor("about", "UINT8", (-1,)),
    ]
    cases = [case.name for case in manifest.golden if case.role in manifest.chain(role)]
    parameters = {
        "contract": CONTRACT,
        "bundle_name": manifest.name,
        "bundle_version": manifest.version,
        "bundle_sha256": bundle.sha256,
        "role": role,
        "device": options.device,
        "precision": options.precision,
        "threads": str(options.threads or 0),
        "golden": ", ".join(cases),
    }
    # The runtime chooses the device itself; Triton's kind is where the process waits.
    return (
        f"name: {json.dumps(model_name(bundle, role))}\n"
        'backend: "python"\n'
        "max_batch_size: 0\n"
        f"input [\n{_list(inputs)}\n]\n"
        f"output [\n{_list(outputs)}\n]\n"
        "instance_group [ { count: 1 kind: KIND_CPU } ]\n" + _parameters(parameters)
    )


def _tensor(name: str, kind: str, shape: Sequence[int], *, optional: bool = False) -> str:
    sizes = ", ".join(map(str, shape))
    ending = " optional: true" if optional else ""
    return f'  {{ name: "{name}" data_type: TYPE_{kind} dims: [ {sizes} ]{ending} }}'


def _list(tensors: Sequence[str]) -> str:
    return ",\n".join(tensors)


def _parameters(parameters: dict[str, str]) -> str:
    return "".join(
        f'parameters {{ key: "{key}" value {{ string_value: {json.dumps(value)} }} }}\n'
        for key, value in parameters.items()
    )


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """A temporary folder on the same file system; gone at the end, whatever happens."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise writing_failed(out, error) from error
    try:
        yield folder
    except OSError as error:
        raise error if isinstance(error, ScansideError) else writing_failed(out, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
        (folder / name).chmod(0o755)
        (folder / name).rename(out / name)

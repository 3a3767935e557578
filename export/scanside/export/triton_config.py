"""config.pbtxt of the models of a repository (Triton's model_config.proto, in protobuf's text format)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from scanside.export.graph_names import INPUT, OUTPUT
from scanside.runtime.backends.table import FilePrecision
from scanside.runtime.bundle import Bundle
from scanside.runtime.manifest import Network
from scanside.runtime.triton.contract import CONTRACT, model_name

LARGEST_BATCH = 8
"""Tiles that one run of a network takes on a GPU at most."""
_DELAY_US = 2000
"""How long a tile waits for others. Never measured on a GPU."""


@dataclass(frozen=True)
class RepositoryOptions:
    """What to write.

    Attributes:
        device, precision, threads: As the server is to compute; the defaults are those of every run.
        packages: Folders with scanside on the server; those that are not there are passed over.
        networks: Also write the networks alone, for Triton's ONNX Runtime backend on GPUs.
        overwrite: Replace models of the same name.
    """

    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    packages: tuple[str, ...] = ()
    networks: bool = False
    overwrite: bool = False


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
        _tensor("probabilities", "FP32", (plan.labels.heads, -1, -1, -1)),
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


def network_config(bundle: Bundle, role: str, network: Network, precision: FilePrecision) -> str:
    """config.pbtxt of a network alone: tiles in, logits out, those of several clients in one run."""
    plan = bundle.manifest.segmenters[role].plan
    file = network.files[precision]
    parameters = {
        "bundle_name": bundle.manifest.name,
        "bundle_version": bundle.manifest.version,
        "bundle_sha256": bundle.sha256,
        "role": role,
        "fold": network.fold,
        "precision": precision,
        "network_sha256": bundle.manifest.files[file].sha256,
    }
    return (
        f"name: {json.dumps(network_name(bundle, role, network))}\n"
        'platform: "onnxruntime_onnx"\n'
        f"max_batch_size: {LARGEST_BATCH}\n"
        f"input [\n{_tensor(INPUT, 'FP32', (plan.input_channels, *plan.patch_size))}\n]\n"
        f"output [\n{_tensor(OUTPUT, 'FP32', (plan.labels.heads, *plan.patch_size))}\n]\n"
        f"dynamic_batching {{ preferred_batch_size: [ {LARGEST_BATCH // 2}, {LARGEST_BATCH} ] "
        f"max_queue_delay_microseconds: {_DELAY_US} }}\n"
        "instance_group [ { count: 1 kind: KIND_GPU } ]\n" + _parameters(parameters)
    )


def network_name(bundle: Bundle, role: str, network: Network) -> str:
    """The name of the model that serves one network."""
    return f"{model_name(bundle, role)}.net.{network.fold}"


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

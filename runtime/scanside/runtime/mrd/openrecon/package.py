"""A folder from which a container for OpenRecon, or an image for FIRE, can be built.

Never built and never run on a scanner: this machine has neither.
"""

import json
import re
import shutil
from datetime import date
from importlib.metadata import version as installed
from pathlib import Path

from scanside.runtime.bundle import Bundle
from scanside.runtime.errors import OutputError, UsageError
from scanside.runtime.images.files import folder_beside
from scanside.runtime.mrd.openrecon.fire import NEVER, Package, defaults, ini, workflow
from scanside.runtime.mrd.openrecon.label import (
    DOCKER_LABEL,
    Choice,
    General,
    Label,
    Parameter,
    Protocol,
    Reconstruction,
    Regulatory,
    Truth,
    Value,
    Words,
)

LABEL_FILE, DOCKERFILE = "OpenReconLabel.json", "Dockerfile"


def one_channel_roles(bundle: Bundle) -> tuple[str, ...]:
    """Segmenters that an MRD session can feed."""
    return tuple(
        role
        for role in bundle.manifest.final_roles
        if len(bundle.manifest.segmenters[role].plan.channels) == 1
    )


def label_of(bundle: Bundle, package: Package) -> Label:
    """OpenRecon's description.

    Raises:
        UsageError: If no segmenter of the bundle takes one channel, or the name is no name.
    """
    roles = one_channel_roles(bundle)
    if not roles:
        raise UsageError(f"No segmenter of {bundle.path} takes one channel, and an MRD series is one.")
    if not re.fullmatch("[A-Za-z0-9]+", package.name):
        raise UsageError(f"'{package.name}' is no name for OpenRecon; use letters and digits alone.")
    version = package.version or installed("scanside")
    about = f"{NEVER} Bundle {bundle.manifest.name} {bundle.manifest.version}, sha256 {bundle.sha256}."
    return Label(
        general=General(
            name=Words(en=package.name),
            version=version,
            vendor=package.vendor,
            information=Words(en=about),
            id=package.name,
            regulatory_information=_not_a_device(package.name, version, bundle.sha256),
        ),
        reconstruction=Reconstruction(
            transfer_protocol=Protocol(protocol="ISMRMRD", version="1.4.1"),
            port=package.port,
            emitter="image",
            injector="image",
            can_process_adjustment_data=False,
            can_use_gpu=False,
            min_count_required_gpus=0,
            min_required_gpu_memory=0,
            min_required_memory=package.memory_mb,
            min_count_required_cpu_cores=package.cores,
            content_qualification_type="RESEARCH",
        ),
        parameters=_parameters(package.name, roles),
    )


def write_package(bundle: Bundle, package: Package, out: Path, wheel: Path | None = None) -> Label:
    """Write the folder, whole or not at all.

    Args:
        wheel: Of Scanside, to be copied in; without it one has to be put beside the Dockerfile.

    Raises:
        OutputError: If the folder exists or cannot be written.
        UsageError: See `label_of`.
    """
    label = label_of(bundle, package)
    if out.exists():
        raise OutputError(f"{out} exists; choose another -o.")
    texts = {
        LABEL_FILE: label.text(),
        DOCKERFILE: _dockerfile(label, one_channel_roles(bundle)[0]),
        f"fire/{package.name}.ini": ini(package),
        f"wip_070_fire_{package.name}.xml": workflow(package),
        f"fire/config/wip_070_fire_{package.name}.json": defaults(label),
        "README.txt": _readme(label),
    }
    with folder_beside(out) as beside:
        for name, text in texts.items():
            (beside / name).parent.mkdir(parents=True, exist_ok=True)
            (beside / name).write_text(text)
        shutil.copytree(bundle.path, beside / "bundle")
        if wheel is not None:
            shutil.copy2(wheel, beside / wheel.name)
        beside.chmod(0o755)
        beside.rename(out)
    return label


def _parameters(name: str, roles: tuple[str, ...]) -> tuple[Parameter, ...]:
    """What `mrd/console.py` reads."""
    made: list[Parameter] = [
        _choice("config", "Program", (name,)),
        _truth("sendoriginal", "Send original images", True),
        _truth("sendlabels", "Send label images", True),
        _truth("contours", "Draw outlines on the originals", False),
        _truth("colours", "Send colour images", False),
    ]
    return (*made, _choice("segmenter", "Segmenter", roles)) if len(roles) > 1 else tuple(made)


def _truth(key: str, words: str, default: bool) -> Truth:
    return Truth(type="boolean", id=key, label=Words(en=words), default=default)


def _choice(key: str, words: str, ids: tuple[str, ...]) -> Choice:
    values = tuple(Value(id=one, name=Words(en=one)) for one in ids)
    return Choice(type="choice", id=key, label=Words(en=words), default=ids[0], values=values)


def _not_a_device(name: str, version: str, sha256: str) -> Regulatory:
    return Regulatory(
        device_trade_name=f"{name} (research use only)",
        production_identifier=f"{version} {sha256[:12]}",
        manufacturer_address="none: not a medical device",
        made_in="",
        manufacture_date=date.today().strftime("%Y/%m/%d"),
        material_number=f"{name}_{version}",
        gtin="",
        udi="",
        safety_advices="Research use only. Not for diagnosis.",
        special_operating_instructions="Try it with retrospective reconstruction of a phantom scan first.",
        additional_relevant_information=NEVER,
    )


def _dockerfile(label: Label, role: str) -> str:
    port = label.reconstruction.port
    serve = ["scanside", "mrd", "serve", "/opt/bundle", "--role", role, "--device", "openvino"]
    serve += ["--host", "0.0.0.0", "--port", str(port), "--plaintext"]
    return f"""# {NEVER}
# OpenRecon wants linux/amd64, root, and a Docker engine below 25 for `docker save`. CPU (OpenVINO) is supported.
#
#   docker build --platform linux/amd64 -t {label.general.id.lower()}:{label.general.version} .
FROM --platform=linux/amd64 python:3.11-slim-bookworm
ENV PYTHONDONTWRITEBYTECODE=1 XDG_CACHE_HOME=/var/cache
COPY *.whl /tmp/
RUN pip install --no-cache-dir "$(ls /tmp/scanside-*.whl)[cpu,dicom]" && rm /tmp/*.whl
COPY bundle /opt/bundle
# No image where the golden cases do not pass. They run again on the scanner.
RUN scanside selftest /opt/bundle --device openvino
LABEL "{DOCKER_LABEL}"="{label.encoded()}"
EXPOSE {port}
CMD {json.dumps(serve)}
"""


def _readme(label: Label) -> str:
    general = label.general
    tag = f"{general.id.lower()}:{general.version}"
    archive = f"OpenRecon_{general.vendor}_{general.name.en}_V{general.version}"
    return f"""{NEVER}

1. Put a wheel of Scanside beside the Dockerfile, if there is none: pip wheel --no-deps -w . PATH_OF_SCANSIDE
2. docker build --platform linux/amd64 -t {tag} .
3. scanside mrd lint .
4. For OpenRecon: docker save -o {archive}.tar {tag}; write a PDF that describes it.
   Put both into {archive}.zip (Deflate).
   For FIRE: make a chroot image {general.id}.img of the container; copy this folder's fire/ and .xml to the scanner.
5. Try it with retrospective reconstruction of a phantom scan first.
"""

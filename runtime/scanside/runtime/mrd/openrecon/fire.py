"""FIRE's files: where the server is, and when the scanner calls it.

Names and values are those of neurodesk/openrecon (MIT).
"""

import json
from dataclasses import dataclass
from xml.etree import ElementTree

from scanside.runtime.mrd.openrecon.label import Label

NEVER = "Research use only. Never built and never run on a scanner."


@dataclass(frozen=True)
class Package:
    """What a container is made of.

    Attributes:
        name: Letters and digits.
        vendor: Who is responsible for the container.
        version: Semantic version.
        host: Address of the reconstruction computer, as FIRE calls the server.
        port: That the server listens on.
        memory_mb, cores: That the scanner has to have.
    """

    name: str
    vendor: str
    version: str = ""
    host: str = "192.168.2.2"
    port: int = 9002
    memory_mb: int = 8192
    cores: int = 2


def ini(package: Package) -> str:
    """FIRE's description of the server."""
    return f"""; {NEVER}
[OpenRecon]
hostname={package.host}
port={package.port}

[chroot]
start_chroot=true
chroot_image_path=/opt/medcom/MriCustomer/ice/fire/chroot
chroot_image_name={package.name}.img
chroot_command=scanside mrd serve /opt/bundle --device openvino --host 0.0.0.0 --port {package.port} --plaintext
chroot_search_string=scanside
chroot_stop_after_finish=true
chroot_allowable_residual_memory_usage=128
"""


_WORKFLOW = {
    "Marshal": {
        "Anchor": "Flags",
        "SendWaveformData": "false",
        "MinimumMemoryLimit": "2048.0",
        "PurgeIrisMemory": "false",
        "WaitingIntervalForStartOnMarsInSeconds": "1.0",
        "WaitingIntervalForCheckToStopOnMarsInSeconds": "3.0",
        "ConnectionTimeOut": "3.0",
        "ConnectionRetryLimit": "10",
        "QueryDependencyStatus": "false",
        "SendDependentData": "false",
        "InitiateConnection": "auto",
    },
    "RawEmitter": {"Anchor": "none", "PassOnData": "false"},
    "ImageEmitter": {"Anchor": "", "PassOnData": "false", "EmitNormOriented": "true"},
    "Injector": {"Anchor": "", "SplitChannels": "false", "UseIceFillingMiniHeader": "true"},
    "Configurator": {"OnlyEmitData": "false", "AutoConfigure": "image2image", "Use16Bit": "true"},
}
"""What FIRE reads: it calls the server ten times, three seconds each."""


def workflow(package: Package) -> str:
    """The workflow that calls it, image to image."""
    fire = r"%CustomerIceProgs%\fire"
    own = {
        "IniFile": rf"{fire}\{package.name}.ini",
        "Config": package.name,
        "JsonConfig": rf"{fire}\config\wip_070_fire_{package.name}.json",
        "ParameterMap": rf"{fire}\wip_070_fire_IsmrmrdParameterMap_Siemens.xml",
        "XslStylesheet": rf"{fire}\wip_070_fire_IsmrmrdParameterMap_Siemens.xsl",
    }
    root = ElementTree.Element("OpenReconConfiguration", xmlns="OpenRecon")
    root.append(ElementTree.Comment(f" {NEVER} "))
    for group, values in _WORKFLOW.items():
        parent = ElementTree.SubElement(root, group)
        for key, value in (values | (own if group == "Marshal" else {})).items():
            ElementTree.SubElement(parent, key).text = value
    ElementTree.indent(root)
    return (
        '<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n'
        + ElementTree.tostring(root, "unicode")
        + "\n"
    )


def defaults(label: Label) -> str:
    """The console's parameters with their defaults."""
    values = {one.id: one.default for one in label.parameters}
    return json.dumps({"version": "1.1.0", "parameters": values}, indent=2) + "\n"

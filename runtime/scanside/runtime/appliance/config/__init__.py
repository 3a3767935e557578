"""`scanside.toml`: what an appliance receives, computes, keeps and sends. Unknown keys are errors.

A commented example lies beside this package (`example.toml`); docs/appliance.md explains it.
"""

from scanside.runtime.appliance.config.document import Config, Retention, Service, Watch, Work, load_config
from scanside.runtime.appliance.config.fetch import Archive, DicomArchive, Fetch, WebArchive
from scanside.runtime.appliance.config.peers import DicomPeer, WebPeer
from scanside.runtime.appliance.config.receive import Caller, Mrd, Receive, WebReceive
from scanside.runtime.appliance.config.send import (
    Destination,
    DicomDestination,
    FolderDestination,
    Kind,
    ResultStatus,
    Rule,
    Send,
    WebDestination,
)
from scanside.runtime.appliance.config.values import Tls, is_loopback

__all__ = [
    "Archive",
    "Caller",
    "Config",
    "Destination",
    "DicomArchive",
    "DicomDestination",
    "DicomPeer",
    "Fetch",
    "FolderDestination",
    "Kind",
    "Mrd",
    "Receive",
    "ResultStatus",
    "Retention",
    "Rule",
    "Send",
    "Service",
    "Tls",
    "Watch",
    "WebArchive",
    "WebDestination",
    "WebPeer",
    "WebReceive",
    "Work",
    "is_loopback",
    "load_config",
]

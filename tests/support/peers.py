"""The other side, for real: Debian's Orthanc as PACS, dcmtk as senders.

`apt-get install orthanc orthanc-dicomweb dcmtk` brings them. Without them the tests that need them skip and say so;
with CI_REQUIRE_PEERS=1 they fail.
"""

import base64
import json
import os
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from scanside.runtime.appliance.config import Tls

LOOPBACK = "127.0.0.1"
DICOM_WEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
_START_SECONDS = 60.0


def need(program: str) -> str:
    """Path of an installed program; skips (or, with CI_REQUIRE_PEERS=1, fails) without it."""
    # Not from an activated environment: pynetdicom brings scripts of the same names as dcmtk's programs.
    places = [place for place in os.get_exec_path() if Path(place) != Path(sys.prefix) / "bin"]
    found = shutil.which(program, path=os.pathsep.join([*places, "/usr/sbin", "/usr/local/sbin"]))
    if found is None:
        missing(f"there is no {program}; apt-get install orthanc orthanc-dicomweb dcmtk")
    return str(found)


def missing(what: str) -> None:
    """Skip the test loudly, or fail where peers are required."""
    if os.environ.get("CI_REQUIRE_PEERS") == "1":
        pytest.fail(f"CI_REQUIRE_PEERS=1, but {what}")
    pytest.skip(f"NOT TESTED: {what}")


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as one:
        one.bind((LOOPBACK, 0))
        return int(one.getsockname()[1])


def listens(port: int, host: str = LOOPBACK) -> bool:
    """Whether something accepts connections there."""
    with suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


def storescu(
    port: int,
    files: Iterable[Path],
    *options: str,
    called: str = "SCANSIDE",
    calling: str = "MR1",
    host: str = LOOPBACK,
    tls: Tls | None = None,
    timeout: float = 60,
) -> "subprocess.CompletedProcess[str]":
    """Send files or folders with dcmtk's storescu (verbose); its return code is 0 if all were stored."""
    words = ["-v", "-aet", calling, "-aec", called, "-to", "10", "-ta", "10", "-td", "30", *options]
    return _dcmtk("storescu", words, host, port, files, tls, timeout)


def dcmsend(
    port: int,
    files: Iterable[Path],
    *options: str,
    called: str = "SCANSIDE",
    calling: str = "MR1",
    host: str = LOOPBACK,
    timeout: float = 60,
) -> "subprocess.CompletedProcess[str]":
    """Send files with dcmtk's dcmsend, which proposes each file's own transfer syntax and knows no TLS."""
    words = ["-v", "-aet", calling, "-aec", called, "-to", "10", "-ta", "10", "-td", "30", *options]
    return _dcmtk("dcmsend", words, host, port, files, None, timeout)


def echoscu(
    port: int,
    *options: str,
    called: str = "SCANSIDE",
    calling: str = "MR1",
    host: str = LOOPBACK,
    tls: Tls | None = None,
    timeout: float = 30,
) -> "subprocess.CompletedProcess[str]":
    """C-ECHO with dcmtk's echoscu (verbose)."""
    words = ["-v", "-aet", calling, "-aec", called, "-to", "10", "-ta", "10", "-td", "20", *options]
    return _dcmtk("echoscu", words, host, port, (), tls, timeout)


def _dcmtk(
    program: str,
    words: list[str],
    host: str,
    port: int,
    files: Iterable[Path],
    tls: Tls | None,
    timeout: float,
) -> "subprocess.CompletedProcess[str]":
    if tls is not None:
        words += ["+tls", str(tls.key), str(tls.certificate), "+cf", str(tls.authority)]
    command = [need(program), *words, host, str(port), *map(str, files)]
    return subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=timeout,
    )


class Orthanc:
    """A PACS of its own folder and ports. Use as a context manager; it may be killed, stopped and started in between.

    Attributes:
        ae_title, port: Of DICOM.
        web_port: Of REST and DICOMweb.
        folder: With the configuration, the log and the storage.
    """

    def __init__(
        self,
        folder: Path,
        *,
        ae_title: str = "PACS",
        modalities: Mapping[str, tuple[str, int]] | None = None,
        dicom_web: bool = False,
        tls: Tls | None = None,
        https: Tls | None = None,
        user: tuple[str, str] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Prepare it; nothing runs yet.

        Args:
            modalities: AE title → (host, port) of those it may call, for storage commitment and C-MOVE. Who sends
                need not be listed.
            dicom_web: With the plugin for DICOMweb, at `self.dicom_web`.
            tls: DICOM over TLS; callers have to show a certificate.
            https: DICOMweb and REST over TLS with this certificate at `url`, through a proxy in front as hospitals
                have one: with HTTPS of its own, Debian 12's Orthanc crashes at the first request.
            user: Name and password for REST and DICOMweb.
            options: Further keys of the configuration.
        """
        self._program = need("Orthanc")
        if dicom_web and not DICOM_WEB.exists():
            missing(f"there is no {DICOM_WEB}; apt-get install orthanc-dicomweb")
        self.folder, self.ae_title = folder, ae_title
        self.port, self.web_port = free_port(), free_port()
        self._user, self._https = user, https
        self._modalities = dict(modalities or {})
        self._dicom_web, self._tls, self._options = dicom_web, tls, dict(options or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._proxy = TlsProxy(https, self.web_port) if https else None

    @property
    def url(self) -> str:
        """Of the REST API."""
        if self._proxy is not None:
            return f"https://{LOOPBACK}:{self._proxy.port}"
        return f"http://{LOOPBACK}:{self.web_port}"

    @property
    def dicom_web(self) -> str:
        """Of the DICOMweb service, without a slash at the end."""
        return f"{self.url}/dicom-web"

    def start(self) -> None:
        """Start it, or start it again on what it has stored, and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "orthanc.json"
        path.write_text(json.dumps(self._configuration(), indent=1))
        with (self.folder / "orthanc.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, str(path)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder
            )
        deadline = time.monotonic() + _START_SECONDS
        while True:
            if self._process.poll() is not None:
                raise AssertionError(f"Orthanc ended with {self._process.returncode}:\n{self.log()[-3000:]}")
            with suppress(OSError, ValueError):
                if self.get("/system") and listens(self.port):
                    return
            if time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"Orthanc does not answer:\n{self.log()[-3000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it in an orderly way."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self._end(signal.SIGKILL)

    def hang(self) -> None:
        """From now on it keeps its connections and answers nothing, until `wake`."""
        self._signal(signal.SIGSTOP)

    def wake(self) -> None:
        """Go on."""
        self._signal(signal.SIGCONT)

    def log(self) -> str:
        """What it wrote."""
        path = self.folder / "orthanc.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def get(self, path: str) -> Any:
        """GET of the REST API, decoded."""
        return json.loads(self.request("GET", path))

    def post(self, path: str, body: Any) -> Any:
        """POST of a JSON document to the REST API, decoded."""
        return json.loads(self.request("POST", path, json.dumps(body).encode()))

    def request(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """Any request to the REST API.

        Raises:
            urllib.error.HTTPError: If it is refused.
        """
        request = urllib.request.Request(self.url + path, data=body, method=method)
        if self._user:
            request.add_header(
                "Authorization", "Basic " + base64.b64encode(":".join(self._user).encode()).decode()
            )
        context = ssl.create_default_context(cafile=str(self._https.authority)) if self._https else None
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:
            return bytes(answer.read())

    def instances(self) -> list[dict[str, Any]]:
        """Every stored instance with its main tags (`MainDicomTags`), as Orthanc shows it."""
        return list(self.get("/instances?expand"))

    def sop_uids(self) -> list[str]:
        """SOP Instance UIDs of everything stored, sorted."""
        return sorted(str(one["MainDicomTags"]["SOPInstanceUID"]) for one in self.instances())

    def tags(self, sop_uid: str) -> dict[str, Any]:
        """The data set of an instance, keyed by keyword."""
        return dict(self.get(f"/instances/{self._find(sop_uid)}/simplified-tags"))

    def file(self, sop_uid: str) -> bytes:
        """The stored file of an instance."""
        return self.request("GET", f"/instances/{self._find(sop_uid)}/file")

    def delete(self, sop_uid: str) -> None:
        """Lose an instance, as broken archives do."""
        self.request("DELETE", f"/instances/{self._find(sop_uid)}")

    def _find(self, sop_uid: str) -> str:
        found = self.post(
            "/tools/find", {"Level": "Instance", "Query": {"SOPInstanceUID": sop_uid}, "CaseSensitive": True}
        )
        assert len(found) == 1, f"{len(found)} instances {sop_uid}"
        return str(found[0])

    def _configuration(self) -> dict[str, Any]:
        storage = str(self.folder / "storage")
        modalities = {
            title: {
                "AET": title, "Host": host, "Port": port, "AllowStorageCommitment": True,
                "UseDicomTls": self._tls is not None,
            }
            for title, (host, port) in self._modalities.items()
        }  # fmt: skip
        found: dict[str, Any] = {
            "Name": self.ae_title, "StorageDirectory": storage, "IndexDirectory": storage,
            "DicomAet": self.ae_title, "DicomPort": self.port, "DicomCheckCalledAet": True,
            "DicomAlwaysAllowStore": True, "DicomAlwaysAllowEcho": True, "DicomModalities": modalities,
            "HttpPort": self.web_port, "RemoteAccessAllowed": False, "StableAge": 1, "SaveJobs": False,
            "AuthenticationEnabled": self._user is not None,
            "RegisteredUsers": dict([self._user]) if self._user else {},
            "Plugins": [str(DICOM_WEB)] if self._dicom_web else [],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }  # fmt: skip
        if self._tls is not None:
            found |= {
                "DicomTlsEnabled": True, "DicomTlsCertificate": str(self._tls.certificate),
                "DicomTlsPrivateKey": str(self._tls.key), "DicomTlsTrustedCertificates": str(self._tls.authority),
                "DicomTlsRemoteCertificateRequired": True,
            }  # fmt: skip
        return found | self._options

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._signal(signal.SIGCONT)
        self._signal(number)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._proxy is not None:
            self._proxy.close()


class TlsProxy:
    """Takes TLS at a port of its own and passes the bytes on to a port of this machine."""

    def __init__(self, tls: Tls, target: int) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(tls.certificate, tls.key)
        self._target = target
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client:
            client.settimeout(30)
            with (
                self._context.wrap_socket(client, server_side=True) as outside,
                socket.create_connection((LOOPBACK, self._target), timeout=30) as inside,
            ):
                _relay(outside, inside)


def _relay(outside: ssl.SSLSocket, inside: socket.socket) -> None:
    """Until either side ends; by one thread, since a TLS connection is not for two at once."""
    while True:
        ready = [outside] if outside.pending() else select.select([outside, inside], [], [], 30)[0]
        if not ready:
            return
        for one, other in ((outside, inside), (inside, outside)):
            if one in ready:
                part = one.recv(65536)
                if not part:
                    return
                other.sendall(part)

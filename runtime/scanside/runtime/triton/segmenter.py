"""A segmenter whose networks are on a Triton server: it sends the image, and takes nothing unproven.

The bundle lies here too. Its hash says what the server has to compute, and its golden cases are replayed through the
connection before the first image, and again after the server was away.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import ValidationError

from scanside.runtime.arrays import Float32, LabelMask
from scanside.runtime.bundle import Bundle
from scanside.runtime.clock import Clock
from scanside.runtime.errors import BackendError, BundleError, CaseError, InputError, UsageError
from scanside.runtime.events import Listener, StageProgress, StageStarted, ignore
from scanside.runtime.golden import compare, load_golden
from scanside.runtime.options import Options
from scanside.runtime.record import first_fault
from scanside.runtime.segmenter import Obtained, Segmentation, Segmenter, check_channels, measured
from scanside.runtime.triton.address import Engine
from scanside.runtime.triton.contract import CONTRACT, MOST_ABOUT, About, Array, digest, model_name
from scanside.runtime.triton.wire import Client, LostError, Wanted
from scanside.runtime.volume import Volume

AWAY_SECONDS = 300.0
"""How long a server that was lost may take to come back: it opens its networks and replays its golden cases first."""
_POLL_SECONDS = 0.5
_WAITING = "waiting for the engine"


def open_study(
    bundle: Bundle, options: Options, roles: Iterable[str]
) -> tuple[Obtained, dict[str, Segmenter]]:
    """The segmenters of a study on one server.

    Raises:
        UsageError: If the engine's address names one model, and the study needs several.
        BundleError, BackendError: If a segmenter is not proven, or they compute on different devices.
    """
    assert options.engine is not None
    wanted = tuple(roles)
    if options.engine.model is not None and len(wanted) > 1:
        raise UsageError(
            f"{options.engine.url} names one model, but studies of {bundle.path} need one for each of "
            f"{', '.join(wanted)}; leave the model out of the address."
        )
    opened: dict[str, Segmenter] = {
        role: RemoteSegmenter(bundle, replace(options, role=role)) for role in wanted
    }
    devices = {(one.device.obtained, one.device.precision) for one in opened.values()}
    if len(devices) > 1:
        words = " and ".join(sorted(f"{device} in {precision}" for device, precision in devices))
        raise BackendError(f"The models of {options.engine.url} compute on {words}; export them alike.")
    return replace(opened[wanted[0]].device, engine=options.engine.url), opened


class RemoteSegmenter(Segmenter):
    """A segmenter of a bundle that a server has opened. Use as a context manager, like every segmenter."""

    def __init__(
        self, bundle: Bundle, options: Options, say: Callable[[str], None] = lambda words: None
    ) -> None:
        """Prove that the server computes this bundle.

        Args:
            options: With an engine.
            say: Told of a server that was lost, as long as the segmenter lives.

        Raises:
            BundleError: If the bundle has no golden case of the segmenter, or the server has opened another bundle.
            BackendError: If the server cannot be reached, or does not compute the golden cases.
        """
        assert options.engine is not None
        self._engine: Engine = options.engine
        self._client, self._say = Client(options.engine), say
        self.bundle, self.role = bundle, bundle.role(options.role)
        self._model = options.engine.model or model_name(bundle, self.role)
        self._url = options.engine.at(self._model)
        self._asked = options
        self._proven: About | None = None
        self.device = self._prove()
        self.options = options.settled(self.device.precision)

    @property
    def engines(self) -> frozenset[str]:
        """None that this machine knows of."""
        return frozenset()

    def segment(
        self,
        volume: Volume,
        *,
        case: str = "case",
        listener: Listener = ignore,
        probabilities: bool = False,
        logits: bool = False,
        previous: LabelMask | None = None,
    ) -> Segmentation:
        """Segment one image on the server; when the server is lost meanwhile, once more after it has come back.

        Args:
            volume, case, listener, probabilities, previous: As for `Segmenter.segment`.
            logits: A server does not send them.

        Raises:
            UsageError: If logits are asked for.
            InputError: If the image does not fit the plan.
            CaseError: If the server cannot compute this case.
            BackendError: If the server is away for good, or its answer is not what it has to be.
        """
        if logits:
            raise UsageError("An engine sends no logits; compute them on this machine.")
        check_channels(self.plan, volume)
        clock = Clock(case, listener)
        with clock.stage("engine"):
            try:
                found = self._ask(volume, previous, probabilities)
            except LostError as error:
                self._await(error, case, listener)
                listener(StageStarted(case, "engine"))
                found = self._ask(volume, previous, probabilities)
        mask, about, values = found
        there = {stage.name: stage.ms for stage in about.stages}
        stages = {**there, "transfer": max(0.0, clock.ms["engine"] - sum(there.values()))}
        volumes, areas = measured(mask, self.plan, volume.geometry)
        return Segmentation(mask, volumes, stages, values, None, about.remarks, about.on_device, areas)

    def close(self) -> None:
        """Nothing is open here."""

    def _ask(
        self, volume: Volume, previous: LabelMask | None, probabilities: bool = False
    ) -> tuple[LabelMask, About, Float32 | None]:
        """One request, and every check of its answer that needs no reference."""
        geometry = volume.geometry
        inputs: dict[str, Array] = {
            "image": volume.data,
            "spacing": np.asarray(geometry.spacing, np.float64),
            "direction": np.asarray(geometry.direction, np.float64),
        }
        if previous is not None:
            inputs["previous"] = previous.astype(np.uint16)
        voxels, kind = int(np.prod(geometry.shape)), self.plan.labels.mask_dtype
        outputs = [
            Wanted("labels", kind, geometry.shape, voxels),
            Wanted("about", "uint8", (None,), MOST_ABOUT),
        ]
        if probabilities:
            heads = self.plan.labels.heads
            outputs.append(Wanted("probabilities", "float32", (heads, *geometry.shape), heads * voxels))
        found = self._client.infer(self._model, inputs, outputs, self._engine.seconds)
        mask, about, values = found["labels"], self._read(found["about"]), found.get("probabilities")
        sent = digest(inputs["image"], inputs["spacing"], inputs["direction"], inputs.get("previous"))
        told = about.request, about.labels, about.probabilities
        if told != (sent, digest(mask), None if values is None else digest(values)):
            raise BackendError(
                f"{self._url} did not compute from the voxels that were sent, or sent other values than it computed; "
                "do not use it."
            )
        strange = np.setdiff1d(mask, np.asarray(self.plan.labels.values))
        if strange.size:
            raise BackendError(
                f"{self._url} sent the label {strange[0]}, which the model does not have; do not use it."
            )
        return mask, about, values

    def _read(self, raw: Array) -> About:
        """What the answer says of itself: this bundle, and what was proven."""
        try:
            about = About.model_validate_json(raw.tobytes())
        except ValidationError as error:
            where, why = first_fault(error)
            raise BackendError(
                f"{self._url} says of its answer what is not understood ({where}: {why}); export its repository again."
            ) from error
        self._refuse_foreign(about.bundle, about.role)
        if self._proven is not None and self._uses(about) != self._uses(self._proven):
            raise BackendError(
                f"{self._url} computes on {about.device} in {about.precision} now, not on {self._proven.device} in "
                f"{self._proven.precision} as it was proven; run again."
            )
        return about

    @staticmethod
    def _uses(about: About) -> tuple[str, str]:
        return about.device, about.precision

    def _refuse_foreign(self, sha256: Any, role: Any) -> None:
        if sha256 != self.bundle.sha256:
            raise BundleError(
                f"{self._url} serves bundle {str(sha256)[:12]}…, not {self.bundle.path} ({self.bundle.sha256[:12]}…); "
                "serve this bundle, or give that one here."
            )
        if role != self.role:
            raise BackendError(
                f"{self._url} serves segmenter '{role}' of this bundle, not '{self.role}'; name the other model."
            )

    def _prove(self) -> Obtained:
        """Identity first, then the golden cases through the connection."""
        given = self._client.config(self._model).get("parameters")
        said = {
            name: value.get("string_value") if isinstance(value, dict) else None
            for name, value in (given.items() if isinstance(given, dict) else ())
        }
        if said.get("contract") != CONTRACT:
            raise BackendError(
                f"{self._url} is no model of `scanside export triton` that this version understands "
                f"({said.get('contract') or 'it names no contract'}, not {CONTRACT}); export its repository again."
            )
        self._refuse_foreign(said.get("bundle_sha256"), said.get("role"))
        about = self._replay()
        if self._asked.precision not in ("auto", about.precision):
            raise BackendError(
                f"{self._url} computes in {about.precision}, not in {self._asked.precision}; leave --precision out, or "
                "use another engine."
            )
        why = f"on {about.node}; it passes the golden cases through the connection"
        return Obtained(self._engine.url, about.device, why, about.precision, engine=self._url)

    def _replay(self) -> About:
        """Send every golden case; the server's first word on its device holds for all that follows."""
        cases = [case for case in self.bundle.manifest.golden if case.role == self.role]
        if not cases:
            raise BundleError(
                f"Bundle {self.bundle.path} has no golden case of '{self.role}' that could prove an engine; export it "
                "with some."
            )
        about: About | None = None
        for one in cases:
            case = load_golden(self.bundle, one)
            try:
                mask, about, _ = self._ask(case.volume, case.previous)
            except (InputError, CaseError) as error:
                raise BackendError(
                    f"{self._url} does not compute golden case {case.name}: {error}"
                ) from error
            self._proven = self._proven or about
            found = compare(case, mask, about.device, about.precision, 0.0)
            if found.problem:
                raise BackendError(
                    f"{self._url} does not compute golden case {case.name}: {found.problem}; do not use it."
                )
        assert about is not None
        return about

    def _await(self, lost: LostError, case: str, listener: Listener) -> None:
        """Wait until the server is back, and prove it anew. The listener may end it, as it may end any stage.

        Raises:
            LostError: As it was lost, if it stays away.
            BackendError, BundleError: If what has come back is not what was there.
        """
        self._say(
            f"{str(lost).split(';')[0].rstrip('.')}; waiting up to {AWAY_SECONDS:g} s for it to come back"
        )
        until = time.monotonic() + AWAY_SECONDS
        listener(StageStarted(case, _WAITING))
        while True:
            listener(StageProgress(case, _WAITING, 0, 1))
            try:
                if self._client.ready(self._model):
                    self._prove()
                    return
            except LostError:
                pass
            if time.monotonic() > until:
                raise lost
            time.sleep(_POLL_SECONDS)

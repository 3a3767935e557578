"""The main job, in order: check → per segmenter: segment → lesions → radiomics → classify. Read this file first here.

Everything it needs was opened before; nothing is remembered between studies but the opened networks.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

import numpy as np

from scanside.runtime.backends.engines import announcing
from scanside.runtime.bundle import Bundle
from scanside.runtime.choose import choose_device
from scanside.runtime.classify import Classification, ClassifierSession
from scanside.runtime.errors import BundleError, InputError
from scanside.runtime.events import Event, Listener, StageFinished, StageProgress, StageStarted, ignore
from scanside.runtime.options import Options
from scanside.runtime.pipeline import Clock, Segmenter
from scanside.runtime.plan import Plan
from scanside.runtime.radiomics.config import RadiomicsConfig, load_config
from scanside.runtime.radiomics.extract import FeatureValue, extract
from scanside.runtime.remark import Remark
from scanside.runtime.stages.lesions import find_lesions, main_lesion
from scanside.runtime.study.agree import disagreement
from scanside.runtime.study.checks import check_study
from scanside.runtime.study.orientation import as_received, as_trained, on_received_grid
from scanside.runtime.study.records import SEQUENCES, RoleResult, Status, StudyInput, StudyResult
from scanside.runtime.volume import stack

LOOK = "look at the images and the overlays"


@dataclass(frozen=True, eq=False)
class Recipe:
    """What a bundle does with a study, known before any network is opened.

    Attributes:
        channels: Segmenter → the sequences it takes, in order.
        config: How features are measured.
        features: The signature's.
    """

    channels: Mapping[str, tuple[str, ...]]
    config: RadiomicsConfig
    features: tuple[str, ...]

    @property
    def needed(self) -> tuple[str, ...]:
        """Every sequence that a study must have."""
        used = {name for channels in self.channels.values() for name in channels}
        used |= {feature.split("_", 1)[0] for feature in self.features}
        return tuple(name for name in SEQUENCES if name in used)

    @property
    def measured_roles(self) -> tuple[str, ...]:
        """The segmenters whose mask the signature is measured in."""
        sequences = {feature.split("_", 1)[0] for feature in self.features}
        roles = {self.config.sequences[name].role for name in sequences}
        return tuple(role for role in self.channels if role in roles)


def read_recipe(bundle: Bundle) -> Recipe:
    """Read how a bundle handles a study.

    Raises:
        BundleError: If it holds segmenters alone, or does not say which sequences they take.
    """
    manifest = bundle.manifest
    if manifest.radiomics is None or manifest.signature is None:
        raise BundleError(
            f"Bundle {bundle.path} holds segmenters only, no classifier; use `scanside segment`."
        )
    channels = {role: _sequences(manifest.segmenters[role].plan, role) for role in manifest.final_roles}
    config = load_config(bundle.read(manifest.radiomics))
    for feature in manifest.signature.features:
        name = feature.split("_", 1)[0]
        if (
            name not in SEQUENCES
            or name not in config.sequences
            or config.sequences[name].role not in channels
        ):
            raise BundleError(
                f"Feature {feature} of bundle {bundle.path} is of no sequence and mask that it knows; export it again."
            )
    return Recipe(channels, config, manifest.signature.features)


def _sequences(plan: Plan, role: str) -> tuple[str, ...]:
    names = tuple(channel.name.lower() for channel in plan.channels)
    unknown = [name for name in names if name not in SEQUENCES]
    if unknown:
        raise BundleError(
            f"Segmenter '{role}' takes '{unknown[0]}', which is none of the sequences {', '.join(SEQUENCES)}; "
            "use `scanside segment`."
        )
    if len({name == "t2w" for name in names}) > 1:
        raise BundleError(f"Segmenter '{role}' takes t2w and dwi together, which lie on different grids.")
    return names


def lesion_label(plan: Plan, role: str) -> int:
    """The value of the lesion in a segmenter's mask: the label called `lesion`, or the only one there is.

    Raises:
        BundleError: If that is not clear.
    """
    value = plan.labels.names.get("lesion")
    if isinstance(value, int):
        return value
    if len(plan.labels.foreground) == 1:
        return plan.labels.foreground[0]
    raise BundleError(f"Segmenter '{role}' has several labels and none is called 'lesion'; export it again.")


class StudyRunner:
    """A bundle with all its networks and its classifier opened on one device. Use as a context manager."""

    def __init__(
        self, bundle: Bundle, options: Options, say: Callable[[str], None] = lambda words: None
    ) -> None:
        """Open everything.

        Args:
            options: `role` is not used: all segmenters run.
            say: Told when golden cases have to run first.

        Raises:
            BundleError: If the bundle is damaged or has no classifier.
            BackendError: If the device does not open, or `auto` finds none that passes for every segmenter.
        """
        self.bundle, self.options = bundle, options
        self.recipe = read_recipe(bundle)
        self._classifier = ClassifierSession(bundle)
        self.device = choose_device(bundle, options, tuple(self.recipe.channels), say)
        self._segmenters: dict[str, Segmenter] = {}
        with ExitStack() as opened, announcing(say):
            for role in self.recipe.channels:
                segmenter = Segmenter(bundle, replace(options, role=role), self.device)
                self._segmenters[role] = opened.enter_context(segmenter)
            self._open = opened.pop_all()

    def run(self, study: StudyInput, listener: Listener = ignore) -> StudyResult:
        """Run a study. A study that is not suitable is a result too.

        Raises:
            CaseError: If a network's output is not usable.
            BackendError: If the device fails.
        """
        clock = Clock(study.name, listener)
        clock.ms["read"], received = study.read_ms, study
        try:
            with clock.stage("check"):
                study = check_study(as_trained(study, self.bundle.manifest.orientation))
        except InputError as error:
            return refused(str(error), received, clock.ms)
        roles = {role: self._segment(role, study, clock) for role in self.recipe.channels}
        with clock.stage("radiomics"):
            images = {name: image.volume for name, image in study.images.items()}
            masks = {role: result.main for role, result in roles.items()}
            features = extract(images, masks, self.recipe.config, self.recipe.features)
        with clock.stage("classify"):
            status, reason, classification = self._judge(roles, features)
        roles = {role: self._as_received(result, study, received) for role, result in roles.items()}
        study = as_received(study, received)
        return StudyResult(
            status, reason, study, self.device, roles, features, classification,
            (*study.warnings, *clock.remarks, *_remarks(roles, study)), dict(clock.ms),
        )  # fmt: skip

    def _segment(self, role: str, study: StudyInput, clock: Clock) -> RoleResult:
        names = self.recipe.channels[role]
        segmenter = self._segmenters[role]
        volume = stack([study.images[name].volume for name in names], list(names))
        found = segmenter.segment(volume, case=study.name, listener=_prefixed(role, clock.listener))
        clock.ms.update({f"{role}: {stage}": ms for stage, ms in found.stages.items()})
        clock.remarks.extend(found.remarks)
        with clock.stage(f"{role}: lesions"):
            lesion = (found.mask == lesion_label(segmenter.plan, role)).astype(np.uint8)
            lesions = find_lesions(lesion, volume.geometry, role)
            main = main_lesion(lesion)
        return RoleResult(role, found.mask, main, lesions, found.volumes_ml or {})

    def _as_received(self, result: RoleResult, study: StudyInput, received: StudyInput) -> RoleResult:
        name = self.recipe.channels[result.role][0]
        return on_received_grid(result, study.images[name], received.images[name])

    def _judge(
        self, roles: Mapping[str, RoleResult], features: Mapping[str, FeatureValue]
    ) -> tuple[Status, str | None, Classification | None]:
        """Status, reason and classification."""
        empty = [role for role, result in roles.items() if not result.lesions]
        if len(empty) == len(roles):
            return (
                "no lesion segmented",
                f"No lesion was segmented on {_and(empty)}. This is not a negative finding: {LOOK}.",
                None,
            )
        lacking = [role for role in self.recipe.measured_roles if role in empty]
        if lacking:
            found = [role for role in roles if role not in empty]
            reason = (
                f"A lesion was segmented on {_and(found)} but none on {_and(lacking)}, so that the signature cannot be "
                f"computed and no probability is given; {LOOK}."
            )
            return "indeterminate", reason, None
        made = self._classifier.classify({name: value.value for name, value in features.items()})
        return made.status, _explained(made, features), made

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the networks."""
        self._open.close()


def refused(
    reason: str, study: StudyInput | None = None, stages: Mapping[str, float] | None = None
) -> StudyResult:
    """The result for a study that is not suitable."""
    return StudyResult(
        "unsuitable input",
        reason,
        study,
        warnings=() if study is None else study.warnings,
        stages=dict(stages or {}),
    )


def _explained(made: Classification, features: Mapping[str, FeatureValue]) -> str | None:
    """The classifier's reason, the reason of the first absent feature, and what to do."""
    if made.reason is None:
        return None
    absent = [value.reason for value in features.values() if value.value is None]
    why = f" ({absent[0]})" if absent else ""
    advice = (
        "Judge the lesion from the images."
        if made.status == "indeterminate"
        else "Check sequences and masks."
    )
    return f"{made.reason.rstrip('.')}{why}. {advice}"


def _remarks(roles: Mapping[str, RoleResult], study: StudyInput) -> list[str]:
    """What the user should know about the masks."""
    remarks: list[str] = []
    for role, result in roles.items():
        if not result.lesions:
            remarks.append(Remark(f"No lesion was segmented on {role}.", "no-lesion"))
        if len(result.lesions) > 1:
            several = f"{len(result.lesions)} lesions were segmented on {role}; the largest one is measured."
            remarks.append(Remark(several, "several-lesions"))
        if result.main[[0, -1]].any():
            cut = f"The lesion on {role} reaches the first or last slice; it may be cut off."
            remarks.append(Remark(cut, "lesion-at-edge"))
    pair = [
        (result, study.images[role].volume.geometry) for role, result in roles.items() if role in study.images
    ]
    if len(pair) == 2 and all(result.lesions for result, _ in pair):
        remarks += disagreement(*pair[0], *pair[1])
    return remarks


def _prefixed(role: str, listener: Listener) -> Listener:
    """Tells the stages of one segmenter from those of the other."""

    def announce(event: Event) -> None:
        if isinstance(event, StageStarted | StageProgress | StageFinished):
            event = replace(event, stage=f"{role}: {event.stage}")
        listener(event)

    return announce


def _and(names: list[str]) -> str:
    return " and ".join(names)

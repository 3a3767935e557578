"""The main job, in order: check → segment → fusion → regions → radiomics → classify. Read this file first here.

Everything it needs was opened before; nothing is remembered between studies but the opened networks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

import numpy as np

from scanside.runtime.bundle import Bundle
from scanside.runtime.choose import open_segmenters
from scanside.runtime.classify import ClassifierSession
from scanside.runtime.clock import Clock
from scanside.runtime.errors import BundleError, InputError
from scanside.runtime.events import Event, Listener, StageFinished, StageProgress, StageStarted, ignore
from scanside.runtime.manifest import Fusion
from scanside.runtime.options import Options
from scanside.runtime.plan import Plan
from scanside.runtime.radiomics.config import RadiomicsConfig, load_config
from scanside.runtime.radiomics.extract import FeatureValue, extract
from scanside.runtime.radiomics.names import sequence_of
from scanside.runtime.remark import Remark
from scanside.runtime.segmenter import Segmentation, Segmenter
from scanside.runtime.stages.lesions import find_lesions, one_lesion
from scanside.runtime.study.answer import Answering, answering, coded, refuse_unknown_levels
from scanside.runtime.study.checks import check_study
from scanside.runtime.study.fusion import asked_for, fuse, odds
from scanside.runtime.study.judge import (
    Verdict,
    answer_of,
    explained,
    remarks_on,
    remarks_on_covariates,
    without_model,
)
from scanside.runtime.study.lesion_agreement import Regions, choose_regions, largest_regions
from scanside.runtime.study.orientation import as_received, as_trained, on_received_grid
from scanside.runtime.study.records import SEQUENCES, RoleResult, Segmented, StudyInput, StudyResult
from scanside.runtime.volume import Geometry, stack


@dataclass(frozen=True, eq=False)
class Recipe:
    """What a bundle does with a study, known before any network is opened.

    Attributes:
        channels: Segmenter → the sequences it takes, in order.
        config: How features are measured.
        models: In order: the first whose conditions are met answers.
        near_mm: How near lesions of two sequences must lie to be one; None where the largest ones are measured,
            wherever they lie.
        fusions: Which masks are decided together with another sequence's probabilities.
    """

    channels: Mapping[str, tuple[str, ...]]
    config: RadiomicsConfig
    models: tuple[Answering, ...]
    near_mm: float | None
    fusions: tuple[Fusion, ...] = ()

    @property
    def features(self) -> tuple[str, ...]:
        """Those of the model that comes first."""
        return self.models[0].model.signature.features

    @property
    def needed(self) -> tuple[str, ...]:
        """Every sequence that a study must have."""
        used = {name for channels in self.channels.values() for name in channels}
        features = (feature for one in self.models for feature in one.model.signature.features)
        used |= {sequence_of(feature) for feature in features}
        return tuple(name for name in SEQUENCES if name in used)


def read_recipe(bundle: Bundle) -> Recipe:
    """Read how a bundle handles a study.

    Raises:
        BundleError: If it holds segmenters alone, or does not say which sequences they take.
    """
    manifest = bundle.manifest
    if manifest.radiomics is None or not manifest.models:
        raise BundleError(
            f"Bundle {bundle.path} holds segmenters only, no classifier; use `scanside segment`."
        )
    channels = {role: _sequences(manifest.segmenters[role].plan, role) for role in manifest.final_roles}
    config = load_config(bundle.read(manifest.radiomics))
    for feature in (feature for model in manifest.models for feature in model.signature.features):
        name = sequence_of(feature)
        if (
            name not in SEQUENCES
            or name not in config.sequences
            or config.sequences[name].role not in channels
        ):
            raise BundleError(
                f"Feature {feature} of bundle {bundle.path} is of no sequence and mask that it knows; export it again."
            )
    return Recipe(
        channels,
        config,
        tuple(answering(model, config, manifest.final_roles) for model in manifest.models),
        None if manifest.agreement is None else manifest.agreement.near_mm,
        manifest.fusions,
    )


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


def segmented_role(role: str, plan: Plan, found: Segmentation, geometry: Geometry) -> Segmented:
    """What a segmenter says of a study: its lesion, and its odds where probabilities were asked for.

    Raises:
        BundleError: If it is not clear which label is the lesion.
    """
    lesion = (found.mask == lesion_label(plan, role)).astype(np.uint8)
    said = None if found.probabilities is None else odds(found.probabilities[1], geometry)
    return Segmented(role, found.mask, lesion, geometry, found.volumes_ml or {}, said)


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
        self._classifiers = {
            one.model.name: ClassifierSession(bundle, one.model) for one in self.recipe.models
        }
        self.device, self._segmenters = open_segmenters(bundle, options, tuple(self.recipe.channels), say)
        self.options = options.settled(self.device.precision)

    @property
    def segmenters(self) -> tuple[Segmenter, ...]:
        """The opened ones, in order."""
        return tuple(self._segmenters.values())

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
                refuse_unknown_levels(self.recipe.models, study.covariates)
                study = check_study(as_trained(study, self.bundle.manifest.orientation))
        except InputError as error:
            return refused(str(error), received, clock.ms)
        segmented = {role: self._segment(role, study, clock) for role in self.recipe.channels}
        if self.recipe.fusions:
            with clock.stage("fusion"):
                plans = {role: segmenter.plan for role, segmenter in self._segmenters.items()}
                segmented = fuse(segmented, self.recipe.fusions, plans)
        with clock.stage("regions"):
            regions = self._regions(segmented)
            roles = {role: self._found(mask, regions) for role, mask in segmented.items()}
        answers = answer_of(self.recipe.models, roles, regions, study.covariates)
        with clock.stage("radiomics"):
            images = {name: image.volume for name, image in study.images.items()}
            masks = {role: result.main for role, result in roles.items()}
            wanted = self.recipe.features if answers is None else answers.model.signature.features
            features = extract(images, masks, self.recipe.config, wanted)
        with clock.stage("classify"):
            verdict = self._judge(answers, roles, regions, features, study)
        roles = {role: self._as_received(result, study, received) for role, result in roles.items()}
        study = as_received(study, received)
        remarks = (
            *study.warnings,
            *clock.remarks,
            *remarks_on(roles, regions, self.recipe.near_mm),
            *remarks_on_covariates(self.recipe.models, answers, study.covariates),
        )
        return StudyResult(
            verdict.status, verdict.reason, study, self.device, roles, features, verdict.classification, remarks,
            dict(clock.ms),
        )  # fmt: skip

    def _segment(self, role: str, study: StudyInput, clock: Clock) -> Segmented:
        names = self.recipe.channels[role]
        segmenter = self._segmenters[role]
        volume = stack([study.images[name].volume for name in names], list(names))
        found = segmenter.segment(
            volume,
            case=study.name,
            listener=_prefixed(role, clock.listener),
            probabilities=role in asked_for(self.recipe.fusions),
        )
        clock.ms.update({f"{role}: {stage}": ms for stage, ms in found.stages.items()})
        clock.remarks.extend(found.remarks)
        return segmented_role(role, segmenter.plan, found, volume.geometry)

    def _regions(self, segmented: Mapping[str, Segmented]) -> Regions:
        lesions = {role: found.lesion for role, found in segmented.items()}
        grids = {role: found.geometry for role, found in segmented.items()}
        if self.recipe.near_mm is None:
            return largest_regions(lesions, grids)
        return choose_regions(lesions, grids, self.recipe.near_mm)

    def _found(self, found: Segmented, regions: Regions) -> RoleResult:
        number = regions.measured.get(found.role)
        return RoleResult(
            found.role,
            found.mask,
            np.zeros_like(found.lesion) if number is None else one_lesion(found.lesion, number),
            find_lesions(found.lesion, found.geometry, found.role),
            found.labels,
            number,
        )

    def _as_received(self, result: RoleResult, study: StudyInput, received: StudyInput) -> RoleResult:
        name = self.recipe.channels[result.role][0]
        return on_received_grid(result, study.images[name], received.images[name])

    def _judge(
        self,
        answers: Answering | None,
        roles: Mapping[str, RoleResult],
        regions: Regions,
        features: Mapping[str, FeatureValue],
        study: StudyInput,
    ) -> Verdict:
        if answers is None:
            return without_model(self.recipe.models, roles, regions, self.recipe.near_mm)
        inputs = {name: value.value for name, value in features.items()}
        inputs |= {one.name: coded(one, study.covariates) for one in answers.model.covariates}
        made = self._classifiers[answers.model.name].classify(inputs)
        return Verdict(made.status, explained(made, features), made)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the networks."""
        for segmenter in self._segmenters.values():
            segmenter.close()


def refused(
    reason: str, study: StudyInput | None = None, stages: Mapping[str, float] | None = None
) -> StudyResult:
    """The result for a study that is not suitable."""
    return StudyResult(
        "unsuitable input",
        Remark(reason, "input-refused"),
        study,
        warnings=() if study is None else study.warnings,
        stages=dict(stages or {}),
    )


def _prefixed(role: str, listener: Listener) -> Listener:
    """Tells the stages of one segmenter from those of the other."""

    def announce(event: Event) -> None:
        if isinstance(event, StageStarted | StageProgress | StageFinished):
            event = replace(event, stage=f"{role}: {event.stage}")
        listener(event)

    return announce

"""nnU-Net's plans.json, dataset.json and checkpoint → the runtime's typed `Plan`.

What cannot be mapped is refused by name.
"""

import json
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from pydantic import ValidationError

from scanside.export.model_folder import ModelFolder
from scanside.runtime.errors import InputError
from scanside.runtime.plan import Channel, KeepLargest, Labels, Normalization, Plan, Reader, Resampling
from scanside.runtime.record import first_fault
from scanside.runtime.stages.resample import ANISOTROPY_THRESHOLD

READERS: dict[str, tuple[Reader, Literal["RAS"] | None]] = {
    "SimpleITKIO": ("itk", None),
    "NibabelIO": ("itk", None),
    "SimpleITKIOWithReorient": ("itk", "RAS"),
    "NibabelIOWithReorient": ("itk", "RAS"),
    "NaturalImage2DIO": ("picture", None),
    "Tiff3DIO": ("tiff", None),
}
"""nnU-Net's reader → what its images are, and the orientation they are brought to."""
_NEEDED_OF_PLANS = ("image_reader_writer", "transpose_forward", "transpose_backward")
_NEEDED_OF_CONFIGURATION = (
    "spacing", "patch_size", "normalization_schemes", "use_mask_for_norm",
    "resampling_fn_data", "resampling_fn_seg", "resampling_fn_probabilities",
)  # fmt: skip
_STATISTICS = ("foreground_intensity_properties_per_channel", "foreground_intensity_properties_by_modality")
_METHODS: dict[str, tuple[Literal["default", "torch", "none"], dict[str, Any]]] = {
    "resample_data_or_seg_to_shape": ("default", {"separate_z_anisotropy_threshold": ANISOTROPY_THRESHOLD}),
    "resample_torch_fornnunet": (
        "torch",
        {
            "mode": "linear",
            "aniso_axis_mode": "nearest-exact",
            "memefficient_seg_resampling": False,
            "separate_z_anisotropy_threshold": ANISOTROPY_THRESHOLD,
        },
    ),
    "no_resampling_hack": ("none", {}),
}
"""nnU-Net's function → our method, and the arguments that must have this value where they are given."""
_WITHOUT_EFFECT = {"num_threads", "device"}


def to_plan(
    folder: ModelFolder, *, postprocessing: Path | None = None, previous_stage: str | None = None
) -> Plan:
    """Translate a results folder.

    Args:
        postprocessing: postprocessing.json to build in, or None.
        previous_stage: Role of the first stage, for a cascade.

    Raises:
        InputError: Naming what is not supported.
    """
    config: dict[str, Any] = folder.configuration.configuration
    plans: dict[str, Any] = folder.plans.plans
    _refuse_incomplete(folder, config, plans)
    _refuse_custom_classes(folder, config, plans)
    labels = _labels(folder.dataset)
    try:
        return Plan(
            configuration=folder.configuration_name,
            channels=_channels(folder, config),
            reader=READERS[plans["image_reader_writer"]][0],
            reorient=READERS[plans["image_reader_writer"]][1],
            transpose_forward=tuple(plans["transpose_forward"]),
            transpose_backward=tuple(plans["transpose_backward"]),
            spacing=tuple(config["spacing"]),
            patch_size=tuple(config["patch_size"]),
            resampling_data=_resampling(config, "data"),
            resampling_seg=_resampling(config, "seg"),
            resampling_probabilities=_resampling(config, "probabilities"),
            labels=labels,
            mirror_axes=folder.checkpoints[0].mirror_axes,
            postprocessing=read_postprocessing(postprocessing),
            previous_stage=previous_stage,
            previous_labels=labels.foreground if previous_stage else (),
        )
    except ValidationError as error:
        raise InputError(f"{folder.path} cannot be exported: {_reason(error)}.") from error


def _refuse_incomplete(folder: ModelFolder, config: dict[str, Any], plans: dict[str, Any]) -> None:
    absent = [key for key in _NEEDED_OF_PLANS if key not in plans]
    absent += [key for key in _NEEDED_OF_CONFIGURATION if key not in config]
    if not plans.keys() & _STATISTICS:
        absent.append(_STATISTICS[0])
    if absent:
        raise InputError(
            f"plans.json of {folder.path} lacks {', '.join(absent)}; copy the results folder again."
        )
    if not isinstance(folder.dataset.get("labels"), dict):
        raise InputError(f"dataset.json of {folder.path} names no labels; copy the results folder again.")
    none = [
        key for key in ("data", "probabilities") if config[f"resampling_fn_{key}"] == "no_resampling_hack"
    ]
    if none == ["probabilities"]:
        raise InputError(
            f"The plans of {folder.path} resample images but not the logits back (no_resampling_hack); the mask "
            "would not lie on the image."
        )


def _refuse_custom_classes(folder: ModelFolder, config: dict[str, Any], plans: dict[str, Any]) -> None:
    refused = [
        ("preprocessor", config.get("preprocessor_name", "DefaultPreprocessor"), {"DefaultPreprocessor"}),
        ("label manager", plans.get("label_manager", "LabelManager"), {"LabelManager"}),
        ("image reader", plans["image_reader_writer"], set(READERS)),
    ]
    for what, name, known in refused:
        if name not in known:
            raise InputError(
                f"{folder.path} uses the {what} '{name}', which scanside does not support "
                f"(supported: {', '.join(sorted(known))})."
            )


def _channels(folder: ModelFolder, config: dict[str, Any]) -> tuple[Channel, ...]:
    known: tuple[str, ...] = get_args(Normalization.model_fields["scheme"].annotation)
    names: dict[str, str] = folder.dataset.get("channel_names") or folder.dataset.get("modality") or {}
    if not isinstance(names, dict):
        raise InputError(
            f"channel_names in dataset.json of {folder.path} is a {type(names).__name__}; nnU-Net wants an object from "
            'number to name, such as {"0": "T2"}.'
        )
    if not names:
        raise InputError(f"dataset.json of {folder.path} names no channels.")
    statistics = folder.plans.foreground_intensity_properties_per_channel
    channels = []
    for index, scheme in enumerate(config["normalization_schemes"]):
        if scheme not in known:
            raise InputError(
                f"{folder.path} uses the normalisation '{scheme}', which scanside does not support."
            )
        numbers = {}
        if scheme == "CTNormalization":
            wanted = ("mean", "std", "percentile_00_5", "percentile_99_5")
            measured = statistics.get(str(index), {})
            if not set(wanted) <= set(measured):
                raise InputError(
                    f"plans.json of {folder.path} has no intensity statistics of channel {index}, which "
                    "CTNormalization needs; copy the results folder again."
                )
            numbers = {key: float(measured[key]) for key in wanted}
        # Only z-score looks at the mask; elsewhere nnU-Net ignores the flag.
        masked = scheme == "ZScoreNormalization" and bool(config["use_mask_for_norm"][index])
        name = str(names.get(str(index), f"channel {index}"))
        channels.append(
            Channel(name=name, normalization=Normalization(scheme=scheme, use_mask=masked, **numbers))
        )
    if len(channels) != len(names):
        raise InputError(
            f"{folder.path}: dataset.json names {len(names)} channels, plans.json {len(channels)}."
        )
    return tuple(channels)


def _resampling(config: dict[str, Any], what: str) -> Resampling:
    """The function and its arguments; where plans leave one out, the default of nnU-Net's function holds."""
    name, arguments = config[f"resampling_fn_{what}"], dict(config.get(f"resampling_fn_{what}_kwargs", {}))
    if name not in _METHODS:
        raise InputError(f"The plans name the resampling function '{name}', which scanside does not support.")
    method, fixed = _METHODS[name]
    free = {"order", "order_z", "force_separate_z"} if method == "default" else {"force_separate_z"}
    expected = {**fixed, "is_seg": what == "seg"}
    for key, value in arguments.items():
        if key not in _WITHOUT_EFFECT | free and (key not in expected or value != expected[key]):
            raise InputError(
                f"The plans call {name} for {what} with {key}={value!r}, which scanside does not support."
            )
    if method == "none":
        return Resampling(method="none")
    if method == "torch":
        return Resampling(method="torch", order=1, force_separate_z=arguments.get("force_separate_z"))
    return Resampling(
        method="default",
        order=arguments.get("order", 3),
        order_z=arguments.get("order_z", 0),
        force_separate_z=arguments.get("force_separate_z", False),
    )


def _labels(dataset: dict[str, Any]) -> Labels:
    named = {name: value for name, value in dataset["labels"].items() if name != "ignore"}
    for name, value in named.items():
        members = value if isinstance(value, list | tuple) else (value,)
        if not members or not all(isinstance(one, int) and not isinstance(one, bool) for one in members):
            turned = (
                " (names and numbers are the wrong way round, as in nnU-Net v1)"
                if str(name).isdigit()
                else ""
            )
            raise InputError(
                f"dataset.json gives label '{name}' the value {value!r}{turned}; nnU-Net wants a name with a whole "
                "number, or with a list of them for a region."
            )
    regions = any(isinstance(value, list | tuple) and len(value) > 1 for value in named.values())
    names: dict[str, int | tuple[int, ...]] = {}
    for name, value in named.items():
        if isinstance(value, list | tuple):
            members = tuple(int(member) for member in value)
            names[name] = members if len(members) > 1 else members[0]
        else:
            names[name] = int(value)
    if names.get("background") != 0:
        raise InputError("dataset.json names no label 'background' of value 0; nnU-Net demands one.")
    order, ignored = dataset.get("regions_class_order"), dataset["labels"].get("ignore")
    if regions and order is None:
        raise InputError("dataset.json has regions but no regions_class_order; add it as nnU-Net demands.")
    # A region that is background alone has no output channel.
    count = sum(set(np.atleast_1d(value).tolist()) != {0} for value in names.values())
    if regions and len(order or ()) != count:
        raise InputError(
            f"dataset.json has {count} regions, but regions_class_order has {len(order or ())}; repair it."
        )
    try:
        return Labels(
            names=names,
            regions_class_order=tuple(int(value) for value in order or ()) if regions else None,
            ignore=ignored,
        )
    except ValidationError as error:
        raise InputError(f"dataset.json cannot be used: {_reason(error)}.") from error


def read_postprocessing(file: Path | None) -> tuple[KeepLargest, ...]:
    """The steps of a postprocessing.json, none without one.

    Raises:
        InputError: Naming what is not supported.
    """
    if file is None:
        return ()
    steps = []
    for name, arguments in _postprocessing_steps(file):
        if name != "remove_all_but_largest_component_from_segmentation":
            raise InputError(f"{file} names the postprocessing '{name}', which scanside does not support.")
        if arguments.get("background_label", 0) != 0:
            raise InputError(
                f"{file} removes components into label {arguments['background_label']}; only 0 is supported."
            )
        steps.append(KeepLargest(labels=tuple(_flat(arguments["labels_or_regions"]))))
    return tuple(steps)


def _postprocessing_steps(file: Path) -> list[tuple[str, dict[str, Any]]]:
    """Function names and their arguments."""
    try:
        content = json.loads(file.read_text())
        steps = list(zip(content["postprocessing_fns"], content["postprocessing_kwargs"], strict=True))
        if all("labels_or_regions" in arguments for _, arguments in steps):
            return steps
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise InputError(
        f"{file} is not what nnU-Net writes; copy it again, or export with --postprocessing none."
    )


def _reason(error: ValidationError) -> str:
    """Where and why a record is not valid, in pydantic's words."""
    where, why = first_fault(error)
    why = why.removeprefix("Value error, ")
    return f"{where}: {why}" if where else why


def _flat(value: Any) -> list[int]:
    """Labels of a label, a region, or a list of both: nnU-Net joins them all by OR."""
    if isinstance(value, list | tuple):
        return sorted({label for item in value for label in _flat(item)})
    return [int(value)]

"""Plans for stage tests: everything at nnU-Net's default but what a test names."""

from typing import Any

from scanside.runtime.plan import Channel, Labels, Normalization, Plan

ZSCORE = Channel(name="MRI", normalization=Normalization(scheme="ZScoreNormalization"))


def labels(count: int) -> Labels:
    """`count` labels, background included."""
    return Labels(names={f"label {i}" if i else "background": i for i in range(count)})


REGIONS = Labels(
    names={"background": 0, "whole": (1, 2, 3), "core": (2, 3), "spot": 3}, regions_class_order=(1, 2, 3)
)


def plan(**fields: Any) -> Plan:
    given = {
        "configuration": "3d_fullres",
        "channels": (ZSCORE,),
        "spacing": (1.0, 1.0, 1.0),
        "patch_size": (8, 12, 10),
        "labels": labels(3),
        **fields,
    }
    return Plan(**given)

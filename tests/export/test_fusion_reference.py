"""The reference of masks that two sequences decide, beside the runtime; and what the selftest makes of a difference."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanside.export.fusion_reference import reference_mask
from scanside.export.study_cases import FIRST_GRID, OTHER_GRID, _probabilities
from scanside.runtime.bundle import open_bundle
from scanside.runtime.golden_study import load_study, replay_study
from scanside.runtime.manifest import Fusion
from scanside.runtime.plan import KeepLargest
from scanside.runtime.study.fusion import fused_mask, odds, seen_from, together
from scanside.training.demo import BUNDLE

pytestmark = pytest.mark.requirement("both-sequences")


@settings(max_examples=25)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.0, 1.0, 2.5, 6.0]),
    st.sampled_from([0.5, 1.0, 2.0]),
    st.sampled_from([-6.0, -2.0, 0.0]),
    st.booleans(),
)
def test_the_runtime_decides_as_the_reference(
    seed: int, blur: float, weight: float, limit: float, largest: bool
) -> None:
    random = np.random.default_rng(seed)
    bundle = open_bundle(BUNDLE)
    plan = bundle.manifest.segmenters["t2w"].plan
    steps = (KeepLargest(labels=(1,)),) if largest else ()
    plan = plan.model_copy(update={"postprocessing": steps})
    fusion = Fusion(role="t2w", other="dwi", blur_mm=blur, weight=weight, limit=limit)
    own, other = (_probabilities(grid, random) for grid in (FIRST_GRID, OTHER_GRID))
    expected, near = reference_mask((own, FIRST_GRID), (other, OTHER_GRID), fusion, plan)
    mine = odds(own, FIRST_GRID)
    found = fused_mask(together(mine, seen_from(odds(other, OTHER_GRID), FIRST_GRID, blur), fusion), plan)
    assert expected.any() and not expected.all()
    if near > 1e-4:
        np.testing.assert_array_equal(found, expected)
    else:
        assert np.count_nonzero(found != expected) <= (5 if not largest else expected.size)


def test_the_demonstrations_golden_study_is_decided_alike() -> None:
    bundle = open_bundle(BUNDLE)
    case = load_study(bundle, bundle.manifest.studies[0])
    assert bundle.manifest.fusions and set(case.odds) == {"t2w", "dwi"} and set(case.fused) == {"t2w"}
    assert 100 < np.count_nonzero(case.fused["t2w"]) < case.fused["t2w"].size / 2
    compared = replay_study(bundle, case)
    assert compared.problem is None and compared.fused_differing == 0
    moved = np.roll(case.fused["t2w"], 1, axis=2)
    wrong = replay_study(bundle, replace(case, fused={"t2w": moved}))
    assert wrong.fused_differing == np.count_nonzero(moved != case.fused["t2w"])
    assert wrong.problem == f"{wrong.fused_differing} voxels of masks that two sequences decide differ"

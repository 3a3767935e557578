"""The predicted budget: its arithmetic by hand, and the committed file beside what the code makes of its inputs."""

import json
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from benchmarks.scripts.gpu_prediction import (
    CARDS,
    NOTICE,
    PUBLISHED_PART,
    Card,
    Case,
    count,
    document,
    predict,
)

FILE = Path(__file__).parents[2] / "results" / "benchmarks" / "gpu-prediction.json"


def network() -> bytes:
    """One convolution of 1 to 2 channels, 3 × 3 × 3, on 8 × 8 × 8."""
    weights = helper.make_tensor("w", TensorProto.FLOAT, [2, 1, 3, 3, 3], [0.0] * 54)
    source = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, 8, 8, 8])
    target = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2, 8, 8, 8])
    node = helper.make_node("Conv", ["image", "w"], ["logits"], pads=[1] * 6)
    graph = helper.make_graph([node], "g", [source], [target], [weights])
    whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(whole)
    return whole.SerializeToString()


def test_a_case_is_counted_from_its_graph() -> None:
    case = count("one", network(), (8, 16, 16), (8, 12, 8), heads=2)
    assert case.tiles == 2  # 12 voxels in tiles of 8, at half a tile's step
    assert case.gflop == round(2 * 2 * 512 * 27 / 1e9, 1)
    sums, finish = 2 * 2 * 512 * 4 * 10, 4 * 2 * (2 * 8 * 12 * 8 + 4 * 8 * 16 * 16)
    assert case.around_gb == pytest.approx((sums + finish) / 1e9, abs=0.005)
    assert (case.up_mb, case.down_mb) == (round(4 * 2048 / 1e6, 1), round(2048 / 1e6, 1))


@pytest.mark.parametrize(("gb_s", "tile_ms", "bound"), [(1000, 10.0, "arithmetic"), (100, 30.0, "bandwidth")])
def test_a_floor_is_the_longer_of_arithmetic_and_traffic(gb_s: float, tile_ms: float, bound: str) -> None:
    card, case = Card("c", 100, gb_s, 10, 8, "made"), Case("x", 5, 1000, 3, 10, 80, 20)
    found = predict(card, case)
    assert (found["tile_ms"], found["bound"]) == (tile_ms, bound)
    assert found["network"] == pytest.approx(40 * tile_ms / 1e3) and found["bus"] == 0.01
    assert found["floor"] == pytest.approx(found["network"] + 10 / gb_s + 0.01)
    likely = 40 * max(10 / PUBLISHED_PART, 30 * 100 / gb_s) / 1e3
    assert found["at_published_part"] == pytest.approx(likely + 10 / gb_s + 0.01, abs=0.01)


def test_the_committed_file_is_what_the_code_makes_of_its_inputs() -> None:
    written = json.loads(FILE.read_text())
    cases = [Case(**one) for one in written["cases"]]
    made = document(cases, written["host"]["cpu_s"])
    for name in (
        "schema",
        "prediction",
        "notice",
        "published_part",
        "variants",
        "cards",
        "cases",
        "predictions",
    ):
        assert written[name] == json.loads(json.dumps(made[name])), (
            "run: python benchmarks/scripts/gpu_prediction.py"
        )
    assert written["prediction"] is True and written["notice"] == NOTICE
    assert {card.name for card in CARDS} == {"RTX 4060", "RTX 4090", "RTX A2000", "AGX Orin", "H100"}


def test_the_operations_are_those_of_the_measured_benchmark() -> None:
    peak = json.loads(FILE.with_name("peak.json").read_text())
    abdomen = next(one for one in json.loads(FILE.read_text())["cases"] if one["name"] == "abdomen")
    assert abdomen["gflop"] == pytest.approx(peak["tile_gflop"], rel=1e-3)

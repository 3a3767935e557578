"""Precisions on their way into a bundle: what the audit keeps in float32, and that the very files are judged."""

import json
from pathlib import Path

import onnx
import pytest
import torch
from pydantic import ValidationError

from scanside.export import convert, parity
from scanside.export.bf16 import to_bf16
from scanside.export.mixed import to_mixed
from scanside.export.nnunet import ExportOptions, export_nnunet
from scanside.export.precisions import parse_precisions
from scanside.export.study_bundle import _take_segmenter
from scanside.export.writer import BundleWriter
from scanside.runtime.bundle import open_bundle, verify
from scanside.runtime.errors import BundleError, CaseError, UsageError
from scanside.runtime.manifest import Manifest
from tests.support.tiny_models import Tiny, write_model

TINY = Tiny(features=(4, 8, 16), mirror=None)
ALL = ExportOptions(precisions=("fp32", "mixed", "bf16"))


def amplified(folder: Path, gain: float) -> Path:
    """The model with its last 3×3×3 convolution `gain` times as strong; the normalisation after it takes that back."""
    file = folder / "fold_0" / "checkpoint_final.pth"
    checkpoint = torch.load(file, weights_only=False)
    for name in ("conv", "all_modules.0"):  # nnU-Net stores it under both
        for part in ("weight", "bias"):
            checkpoint["network_weights"][f"decoder.stages.1.convs.0.{name}.{part}"] *= gain
    torch.save(checkpoint, file)
    return folder


def test_names() -> None:
    assert parse_precisions("bf16, fp32") == ("fp32", "bf16")
    with pytest.raises(UsageError, match="fp8"):
        parse_precisions("fp32,fp8")


def test_every_file_is_judged_with_its_roundings(tmp_path: Path) -> None:
    report = export_nnunet(write_model(tmp_path, TINY), tmp_path / "bundle", ALL, lambda _: None)
    targets = [(row["device"], row["precision"]) for row in report["hops"]]
    assert targets.count((parity.SIMULATED, "mixed")) == targets.count((parity.SIMULATED, "bf16")) == 2
    assert ("openvino", "bf16") not in targets, "it starts from the fp32 file and would judge that once more"
    errors = {
        name: max(row["logit_error"] for row in report["hops"] if row["precision"] == name)
        for name in ALL.precisions
    }
    assert errors["fp32"] < 1e-4 < errors["mixed"] < 1e-3 < errors["bf16"] < 2e-2
    bundle = open_bundle(tmp_path / "bundle")
    [network] = bundle.manifest.segmenters["3d_fullres"].networks
    assert set(network.files) == set(ALL.precisions)
    assert verify(bundle) == len(bundle.manifest.files) + 1
    [row] = json.loads(bundle.read("parity.json"))["ranges"]
    assert (row["role"], row["fold"], row["kept_in_float32"]) == ("3d_fullres", "0", [])
    assert row["tiles"] > 1 and 0 < row["largest"]["value"] < row["limit"]


@pytest.mark.parametrize("precision", ["mixed", "bf16"])
def test_a_wrong_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    """One that no processor here would run as a GPU does: the simulated hop alone can tell."""
    real = {"mixed": to_mixed, "bf16": to_bf16}[precision]

    def wrong(model: onnx.ModelProto, *kept: object) -> onnx.ModelProto:
        damaged = onnx.ModelProto()
        damaged.CopyFrom(model)
        [*_, last] = [node for node in damaged.graph.node if node.op_type == "LeakyRelu"]
        next(a for a in last.attribute if a.name == "alpha").f = 0.5
        made: onnx.ModelProto = real(damaged, *kept)  # type: ignore[operator]
        return made

    monkeypatch.setattr(convert, f"to_{precision}", wrong)
    monkeypatch.setattr(
        parity, "DEVICES", ("openvino",) if precision == "mixed" else parity.DEVICES
    )  # openvino has no `mixed`
    with pytest.raises(BundleError, match=f"roundings simulated in {precision}"):
        export_nnunet(write_model(tmp_path, TINY), tmp_path / "bundle", ALL, lambda _: None)
    assert not (tmp_path / "bundle").exists()


def test_what_overflows_stays_in_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = amplified(write_model(tmp_path, TINY), 3e4)
    options = ExportOptions(precisions=("fp32", "mixed"))
    report = export_nnunet(folder, tmp_path / "bundle", options, lambda _: None)
    [row] = report["ranges"]
    assert row["largest"]["value"] > 65504
    bundle = open_bundle(tmp_path / "bundle")
    [network] = bundle.manifest.segmenters["3d_fullres"].networks
    mixed = onnx.load_from_string(bundle.read(network.files["mixed"]))
    made = {node.output[0]: node for node in mixed.graph.node}
    half = {t.name for t in mixed.graph.initializer if t.data_type == onnx.TensorProto.FLOAT16}
    assert row["kept_in_float32"]
    for name in row["kept_in_float32"]:
        assert made[name].op_type == "Conv" and not half & set(made[name].input)

    monkeypatch.setattr(convert, "to_mixed", lambda model, kept: to_mixed(model))
    with pytest.raises(CaseError, match=r"NaN|not finite"):
        export_nnunet(folder, tmp_path / "black", options, lambda _: None)
    assert not (tmp_path / "black").exists()


def test_a_study_bundle_takes_the_ranges_over(tmp_path: Path) -> None:
    export_nnunet(write_model(tmp_path, TINY), tmp_path / "bundle", ExportOptions(), lambda _: None)
    source = open_bundle(tmp_path / "bundle")
    with BundleWriter(tmp_path / "study", overwrite=False) as writer:
        taken = _take_segmenter("t2w", source, writer)
    assert [row["role"] for row in taken.parity["ranges"]] == ["t2w"]


def test_a_bundle_with_graphs_of_before_opens(tmp_path: Path) -> None:
    """Earlier releases put graphs beside the networks: hashed as ever, and nothing reads them."""
    export_nnunet(write_model(tmp_path, TINY), tmp_path / "bundle", ExportOptions(), lambda _: None)
    raw = json.loads((tmp_path / "bundle/bundle.json").read_text())
    [segmenter] = raw["segmenters"].values()
    assert segmenter["device"] is None
    segmenter["device"] = {"add": segmenter["networks"][0]["files"]["fp32"]}
    (tmp_path / "bundle/bundle.json").write_text(json.dumps(raw))
    verify(open_bundle(tmp_path / "bundle"))
    segmenter["device"] = {"add": "elsewhere.onnx"}
    with pytest.raises(ValidationError):
        Manifest.model_validate(raw)

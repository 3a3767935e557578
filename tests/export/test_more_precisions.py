"""Precisions added to a bundle that has only its fp32 networks."""

import json
from pathlib import Path

import onnx
import pytest

from scanside.export import convert
from scanside.export.mixed import to_mixed
from scanside.export.more_precisions import add_precisions
from scanside.export.nnunet import ExportOptions, export_nnunet
from scanside.runtime.bundle import Bundle, open_bundle, verify
from scanside.runtime.errors import BundleError, UsageError
from tests.support.tiny_models import Tiny, write_model

# One normalisation is large enough to be written out in the fp32 file.
TINY = Tiny(features=(4, 8, 16), patch=(16, 56, 64), mirror=None)


def quiet(_: str) -> None:
    """Say nothing."""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Bundle]:
    """One model exported in fp32 alone, and in fp32 and mixed."""
    folder = tmp_path_factory.mktemp("bundles")
    model = write_model(folder, TINY)
    for name, precisions in (("plain", ("fp32",)), ("whole", ("fp32", "mixed"))):
        export_nnunet(model, folder / name, ExportOptions(precisions=precisions), quiet)  # type: ignore[arg-type]
    return open_bundle(folder / "plain"), open_bundle(folder / "whole")


def test_what_is_added_is_what_the_export_writes(exported: tuple[Bundle, Bundle], tmp_path: Path) -> None:
    plain, whole = exported
    report = add_precisions(plain.path, tmp_path / "made", ("mixed",), overwrite=False, say=quiet)
    made = open_bundle(tmp_path / "made")
    verify(made)
    [ours], [theirs] = (b.manifest.segmenters["3d_fullres"].networks for b in (made, whole))
    assert made.read(ours.files["fp32"]) == plain.read(ours.files["fp32"])
    graphs = [onnx.load_from_string(b.read(n.files["mixed"])) for b, n in ((made, ours), (whole, theirs))]
    assert [n.op_type for n in graphs[0].graph.node] == [n.op_type for n in graphs[1].graph.node]
    values = [sorted(t.raw_data for t in graph.graph.initializer) for graph in graphs]
    assert values[0] == values[1], "the very weights"
    kept = json.loads(made.read("parity.json"))
    before = json.loads(plain.read("parity.json"))
    assert kept["hops"][: len(before["hops"])] == before["hops"] and kept["added"]["precisions"] == ["mixed"]
    devices = {(row["device"], row["precision"]) for row in report["judged_now"]}
    assert devices == {("cpu", "mixed"), ("cpu, roundings simulated", "mixed")}
    assert made.manifest.provenance["precisions_added"]["from_bundle"] == plain.sha256


def test_a_wrong_graph_gives_no_bundle(
    exported: tuple[Bundle, Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(model: onnx.ModelProto, kept: object) -> onnx.ModelProto:
        made = to_mixed(model)
        [*_, last] = [node for node in made.graph.node if node.op_type == "LeakyRelu"]
        next(a for a in last.attribute if a.name == "alpha").f = 0.5
        return made

    monkeypatch.setattr(convert, "to_mixed", wrong)
    with pytest.raises(BundleError, match="in mixed"):
        add_precisions(exported[0].path, tmp_path / "made", ("mixed",), overwrite=False, say=quiet)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("which", "precision", "word"), [(0, "int8", "export the model"), (1, "mixed", "already")]
)
def test_what_cannot_be_added(
    exported: tuple[Bundle, Bundle], tmp_path: Path, which: int, precision: str, word: str
) -> None:
    with pytest.raises(UsageError, match=word):
        add_precisions(exported[which].path, tmp_path / "made", (precision,), overwrite=False, say=quiet)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())

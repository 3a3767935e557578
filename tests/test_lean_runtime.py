"""What a clean interpreter loads: the lean runtime must stay lean, whatever is installed beside it."""

import sys
from pathlib import Path

import numpy as np
import pytest

from scanside.runtime.images.write import write_mask
from scanside.runtime.preload import imported_ahead
from scanside.runtime.volume import Geometry
from tests.support.interpreter import python

pytestmark = pytest.mark.requirement("licences")

PHANTOM = (
    Path(__file__).parents[1] / "training" / "scanside" / "training" / "data" / "pancreas-phantom.bundle"
)

FORBIDDEN = {"torch", "nnunetv2", "sklearn", "onnx", "textual", "skimage", "matplotlib", "pandas"}


def loaded(code: str) -> set[str]:
    done = python(
        f"import sys\n{code}\nprint(' '.join(sorted({{name.split('.')[0] for name in sys.modules}})))"
    )
    return set(done.stdout.splitlines()[-1].split())


def test_importing_the_runtime_loads_next_to_nothing() -> None:
    modules = loaded("import scanside.runtime")
    assert not modules & (
        FORBIDDEN | {"numpy", "scipy", "SimpleITK", "pydicom", "pydantic", "onnxruntime", "openvino"}
    )


def test_every_runtime_module_is_free_of_the_training_stack() -> None:
    root = Path(__file__).parents[1] / "runtime"
    names = [
        ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        for file in sorted(root.rglob("*.py"))
    ]
    modules = loaded("\n".join(f"import {name}" for name in names))
    assert "SimpleITK" in modules or "pydicom" in modules  # the list above did import something
    assert not modules & FORBIDDEN


@pytest.mark.parametrize("command", ["run", "segment", "bundle", "selftest", "doctor", "radiomics"])
def test_command_lines_do_not_load_dicom_or_torch(command: str) -> None:
    modules = loaded(f"from scanside.runtime.cli.main import run\nrun(['{command}', '--help'])")
    assert not modules & (FORBIDDEN | {"pydicom", "highdicom", "onnxruntime", "openvino"})


@pytest.mark.parametrize("command", ["phantom", "cohort", "train", "evaluate", "demo"])
def test_help_of_training_commands_needs_no_extra(command: str) -> None:
    modules = loaded(f"from scanside.runtime.cli.main import run\nrun(['{command}', '--help'])")
    assert not modules & FORBIDDEN


def test_the_phantom_is_made_without_the_training_stack() -> None:
    assert not FORBIDDEN & loaded(
        "import scanside.training.phantom.write, scanside.training.phantom.dicom, scanside.training.demo"
    )


def test_the_public_names_are_all_there() -> None:
    import scanside.runtime as runtime

    assert sorted(runtime.__all__) == runtime.__all__
    for name in runtime.__all__:
        assert getattr(runtime, name) is not None
    with pytest.raises(AttributeError):
        _ = runtime.nothing  # type: ignore[attr-defined]


NOT_FOR_NIFTI = {
    "PIL", "highdicom", "multiprocessing", "openvino.tools.ovc", "openvino_telemetry", "pydicom",
    "onnxruntime", "radiomics", "rich", "scanside.runtime.dicom", "scanside.runtime.radiomics.body",
    "scanside.runtime.radiomics.config", "scanside.runtime.study", "scipy.linalg", "scipy.spatial", "scipy.stats",
    "ssl",
}  # fmt: skip
"""What a new process would spend its time importing, or would tell the world with, for nothing."""


def test_segmenting_nifti_loads_what_it_needs_and_no_more(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    image = tmp_path / "image.nii.gz"
    write_mask(
        np.random.default_rng(1).integers(0, 200, (9, 40, 40), np.uint8),
        Geometry((9, 40, 40), (4, 2, 2)),
        image,
    )
    arguments = [
        "segment", str(PHANTOM), str(image), "-o", str(tmp_path / "mask.nii.gz"), "--role", "t2w", "--folds", "0",
        "--no-mirroring", "--device", "openvino",
    ]  # fmt: skip
    segmenting = f"from scanside.runtime.cli.main import run\nassert run({arguments}) == 0"
    done = python(f"import sys\n{segmenting}\nprint(' '.join(sys.modules))")
    modules = set(done.stdout.splitlines()[-1].split())
    assert (tmp_path / "mask.nii.gz").exists()
    assert "openvino" in modules
    assert modules & NOT_FOR_NIFTI == set()


def test_a_library_that_is_missing_is_left_to_the_code_that_uses_it() -> None:
    sys.modules.pop("colorsys", None)
    with imported_ahead("no_such_module", "colorsys"):
        pass
    assert "colorsys" in sys.modules

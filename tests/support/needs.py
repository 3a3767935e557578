"""What a test file needs beyond the appliance's installation, read from its imports and those of its helpers."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEAVY = frozenset({"torch", "nnunetv2", "onnx", "sklearn", "skl2onnx", "matplotlib", "nncf", "ray"})
COMPONENTS = ("scanside.export", "scanside.training", "scanside.benchmarks")


def needs_more(path: Path) -> bool:
    """Whether a test file, or the conftest.py of a folder, needs PyTorch, another component, or their companions."""
    file = path / "conftest.py" if path.is_dir() else path
    return file.suffix == ".py" and file.is_file() and _needs_more(file, frozenset())


def _needs_more(file: Path, above: frozenset[Path]) -> bool:
    if file in above:
        return False
    names = _imported(file)
    if any(name.partition(".")[0] in HEAVY or name.startswith(COMPONENTS) for name in names):
        return True
    helpers = {ROOT / f"{name.replace('.', '/')}.py" for name in names if name.startswith("tests.")}
    return any(helper.is_file() and _needs_more(helper, above | {file}) for helper in helpers)


@cache
def _imported(file: Path) -> frozenset[str]:
    """Every module that is imported anywhere in a file, also inside functions and by `importorskip`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "importorskip":
            found |= {argument.value for argument in node.args[:1] if isinstance(argument, ast.Constant)}
    return frozenset(found)

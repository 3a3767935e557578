"""What an installation weighs, by distribution."""

from pathlib import Path

from benchmarks.scripts.install import parts


def test_every_file_belongs_to_the_distribution_that_brought_it(tmp_path: Path) -> None:
    """Folders that two distributions share, or that are named otherwise, are no puzzle; pip is not counted."""
    for name, files in {
        "one": ("ns/a.so", "one.libs/b.so"),
        "two": ("ns/c.so",),
        "pip": ("pip/d.py",),
    }.items():
        metadata = tmp_path / f"{name}-1.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        for file in files:
            (tmp_path / file).parent.mkdir(exist_ok=True)
            (tmp_path / file).write_bytes(bytes(1000 if name == "one" else 300))
        outside = "../../../bin/tool"  # a command beside site-packages
        (metadata / "RECORD").write_text("".join(f"{file},,\n" for file in (*files, outside, "gone.py")))
    assert parts(tmp_path) == {"one": 2000, "two": 300}

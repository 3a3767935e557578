"""Hooks of `make docs`: pages from outside docs/, pages generated from the code, and links between all of them.

A document is written for whoever reads it in the repository. On the site README.md is the home page, and files outside
docs/ keep their path; relative links are rewritten from the one to the other.
"""

import functools
import posixpath
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))
from site_records import record_pages

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = {
    "README.md": "index.md",
    "benchmarks/README.md": "reference/benchmarks.md",
    **{
        name: name
        for name in ("ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE")
    },
}
"""Path in the repository → path on the site."""
_ALERT = re.compile(r"(?m)^> \[!(\w+)\]\n((?:^>.*\n)+)")
_LINK = re.compile(r"(\]\()([^)\s#:]+)(#[^)]*)?(\))")


def on_files(files: Files, config: Any) -> Files:
    """Add what does not lie below docs/."""
    results = (path.relative_to(ROOT).as_posix() for path in (ROOT / "results").rglob("*") if path.is_file())
    for source, name in (*OUTSIDE.items(), *((path, path) for path in sorted(results))):
        files.append(File.generated(config, name, abs_src_path=str(ROOT / source)))
    for name, content in pages().items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links as the site has them."""
    here = page.file.src_uri
    if here in pages():
        return markdown  # written with links of the site
    source = next((file for file, name in OUTSIDE.items() if name == here), None)
    source = source or (here if here.startswith("results/") else f"docs/{here}")

    def rewrite(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link[2]))
        found = site_path(target)
        if found is None:
            return link[0]
        return f"{link[1]}{posixpath.relpath(found, posixpath.dirname(here) or '.')}{link[3] or ''}{link[4]}"

    return _LINK.sub(rewrite, _ALERT.sub(_admonition, markdown))


def _admonition(alert: re.Match[str]) -> str:
    """GitHub's `> [!IMPORTANT]` in the site's words."""
    lines = (line.removeprefix(">").strip() for line in alert[2].splitlines())
    return f'!!! warning "{alert[1].capitalize()}"\n' + "\n".join(f"    {line}" for line in lines) + "\n"


def site_path(target: str) -> str | None:
    """Where a file of the repository is on the site; None where it is not on it."""
    if target == "docs/adr":
        return "adr/index.md"
    if target.startswith("docs/"):
        return target.removeprefix("docs/")
    return OUTSIDE.get(target, target if target.startswith("results/") else None)


@functools.cache
def pages() -> dict[str, str]:
    """Reference pages that the code writes: path on the site → Markdown."""
    return {
        "reference/commands.md": commands_page(),
        "reference/exit-codes.md": exit_codes_page(),
        "reference/configuration.md": configuration_page(),
        **record_pages(),
        "adr/index.md": decisions_page(),
        "evidence/results.md": evidence_page("results", "Results of the tests"),
        "evidence/brought.md": evidence_page("brought", "What an installation brings"),
    }


def evidence_page(name: str, title: str) -> str:
    """What `make evidence` has found at this commit, where it was run."""
    made = ROOT / "dist" / "evidence" / f"{name}.md"
    if made.is_file():
        return made.read_text(encoding="utf-8")
    return f"# {title}\n\nNot made for this build; `make evidence` makes it.\n"


def commands_page() -> str:
    """Every command with its arguments, options and example."""
    from scanside.runtime.cli.main import app

    command = typer.main.get_command(app)
    parts = ["# Commands", "Generated from the program. `scanside COMMAND --help` shows the same."]
    parts += list(_commands(command, "scanside", 2))
    return "\n\n".join(parts)


def _commands(command: Any, name: str, level: int) -> Iterator[str]:
    context = typer.Context(command, info_name=name)
    names = command.list_commands(context) if hasattr(command, "list_commands") else []
    if not names:
        yield f"{'#' * level} {name}"
        yield _prose(command.help or "")
        rows = [row for parameter in command.params if (row := _parameter(parameter))]
        if rows:
            yield "\n".join(("| argument or option | what it is | default |", "|---|---|---|", *rows))
    for below in names:
        yield from _commands(command.get_command(context, below), f"{name} {below}", level)


def _prose(text: str) -> str:
    """Help as Markdown: commands become code."""
    lines = []
    for line in text.replace("\b", "").splitlines():
        words = re.sub(r"^Examples?: (?=scanside)", "", line.strip())
        lines.append(f"\n    {words}\n" if words.startswith("scanside ") else words.replace("<", "&lt;"))
    return re.sub(r"\n\s*\n+", "\n\n", "\n".join(lines))


def _parameter(parameter: Any) -> str | None:
    if getattr(parameter, "hidden", False) or parameter.name in ("help",):
        return None
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    if parameter.param_type_name == "argument":
        names = f"`{parameter.name.upper()}`"
    default = parameter.default
    shown = "" if default in (None, False, ()) or callable(default) else f"`{default}`"
    words = " ".join((getattr(parameter, "help", "") or "").split()).replace("|", "\\|").replace("<", "&lt;")
    return f"| {names} | {words} | {'required' if parameter.required else shown} |"


def exit_codes_page() -> str:
    """The exit codes, from the enumeration and the docstrings below its members."""
    import ast

    from scanside.runtime import errors

    tree = ast.parse(Path(errors.__file__).read_text())
    codes = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "ExitCode")
    rows = ["| code | when |", "|---:|---|"]
    for value, words in zip(codes.body[1::2], codes.body[2::2], strict=True):
        assert isinstance(value, ast.Assign) and isinstance(words, ast.Expr)
        rows.append(f"| {ast.literal_eval(value.value)} | {ast.literal_eval(words.value)} |")
    return "\n".join(("# Exit codes", "", *rows))


def configuration_page() -> str:
    """The commented example, which is the reference of every setting."""
    import scanside.runtime.appliance as appliance

    example = (Path(appliance.__path__[0]) / "example.toml").read_text()
    return (
        "# Configuration of the appliance\n\n`scanside serve --example` prints this file. Each comment says what a "
        f"setting means and what holds without it.\n\n```toml\n{example}```\n"
    )


def decisions_page() -> str:
    """The decision records by number."""
    rows = []
    for path in sorted((ROOT / "docs" / "adr").glob("0*.md")):
        rows.append(f"- [{path.read_text().splitlines()[0].removeprefix('# ')}]({path.name})")
    return "# Decisions\n\nWhat was decided, and why.\n\n" + "\n".join(rows) + "\n"

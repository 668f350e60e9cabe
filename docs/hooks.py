"""What the site is made of besides its pages: notebooks, sliders, the command's help.

MkDocs calls these functions while it builds; see ``hooks`` in mkdocs.yml.
"""

from __future__ import annotations

import argparse
import base64
import json
import re
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

HERE = Path(__file__).parent
_EXECUTION_SECONDS = 180  # a notebook takes about ten on two quiet cores


def on_config(config: Any) -> Any:
    """Put pages that the navigation does not name into a section of their own."""
    named = set(re.findall(r"[\w/]+\.md", json.dumps(config.nav)))
    others = sorted(path.name for path in HERE.glob("*.md") if path.name not in named)
    if others and not any("In depth" in entry for entry in config.nav):
        config.nav.insert(-2, {"In depth": list(others)})
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the report's slider, and the notebooks as pages with what they print and draw."""
    templates = resources("imagine_deblur.report_html") / "templates"
    for name in ("viewer.css", "viewer.js"):
        text = (templates / name).read_text("utf-8")
        files.append(File.generated(config, f"assets/{name}", content=text))
    for path in sorted((HERE / "notebooks").glob("*.ipynb")):
        body, pictures = _executed(path)
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=body))
        for name, data in pictures.items():
            files.append(File.generated(config, f"notebooks/{name}", content=data))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Fill in ``[[gallery]]`` and ``[[help]]``."""
    if "[[gallery]]" in markdown:
        markdown = markdown.replace("[[gallery]]", _gallery())
    if "[[help]]" in markdown:
        markdown = markdown.replace("[[help]]", _help())
    return markdown


def _executed(path: Path) -> tuple[str, dict[str, bytes]]:
    """Run a notebook; return it as Markdown, and its pictures by file name."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=_EXECUTION_SECONDS, kernel_name="python3").execute()
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for output in cell.outputs:
            data = output.get("data", {})
            if "image/png" in data:
                name = f"{path.stem}_{len(pictures)}.png"
                pictures[name] = base64.b64decode(data["image/png"])
                parts.append(f"![Drawn by the lines above]({name})")
            elif text := output.get("text") or data.get("text/plain"):
                parts.append(f"```text\n{text.rstrip()}\n```")
    return "\n\n".join(parts), pictures


def _gallery() -> str:
    """Return a slider for each pair of docs/figures/gallery.json."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = str(resources("imagine_deblur.report_html") / "templates")
    environment = Environment(
        loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined
    )
    viewer = environment.get_template("viewer.html").module.viewer  # type: ignore[attr-defined]
    parts = []
    for number, entry in enumerate(json.loads((HERE / "figures/gallery.json").read_text())):
        view = {
            "name": f"scene{number}",
            "title": entry["title"],
            "before": f"figures/{entry['before']}",
            "after": f"figures/{entry['after']}",
            "rows": entry["rows"],
            "columns": entry["columns"],
            "reduced": 1,
            "note": entry["note"],
        }
        html = re.sub(r"\n\s*\n", "\n", str(viewer(view, entry["title"])).strip())
        parts.append(f"{html}\n\n{entry['text']}\n")
    return "\n".join(parts)


def _help() -> str:
    """Return the help of every command, as the command itself prints it."""
    from imagine_deblur.cli.main import build_parser
    from imagine_deblur.cli.parser import Help

    class Wide(Help):
        """As wide as a code block of the site, whatever the terminal that builds it."""

        def __init__(self, prog: str) -> None:
            super().__init__(prog, width=78)

    parts: list[str] = []

    def add(name: str, parser: argparse.ArgumentParser, depth: int) -> None:
        parser.formatter_class = Wide
        parts.append(f"{'#' * depth} {name}\n\n```text\n{parser.format_help().rstrip()}\n```\n")
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for word, child in action.choices.items():
                    add(f"{name} {word}", child, min(depth + 1, 3))

    add("imagine-deblur", build_parser(), 2)
    return "\n".join(parts)

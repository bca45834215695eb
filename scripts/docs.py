"""Checks the documentation: every relative link leads somewhere, what is generated in it is current, and the
site builds without a warning. With `--write` the generated parts are written anew.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from portcall.observe.metrics import METRICS, Metric
from portcall.settings import describe

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^( *)(```|~~~).*?^\1\2 *$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)[^)]*\)|(?:src|href|srcset)=\"([^\"]+)\"")
GENERATED = re.compile(r"(<!-- (\w+): begin; [^>]* -->\n).*?(?=<!-- \2: end -->)", re.DOTALL)
HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)


def pages() -> list[Path]:
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("changelog.d/*.md")])


def anchors(text: str) -> set[str]:
    """The ids that the site's builder and GitHub both give to headings."""
    titles = (CODE.sub(lambda code: code[0][1:-1], title) for title in HEADING.findall(FENCE.sub("", text)))
    plain = (re.sub(r"[^\w\- ]", "", title) for title in titles)
    return {title.strip().lower().replace(" ", "-") for title in plain}


def broken(page: Path) -> list[str]:
    """One line for each link of `page` that leads nowhere."""
    problems = []
    for match in LINK.finditer(CODE.sub("", FENCE.sub("", page.read_text()))):
        link = match[1] or match[2]
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        where = f"{page.relative_to(ROOT)}: {link}"
        if not target.exists():
            problems.append(f"{where}: there is no such file")
        elif anchor and target.suffix == ".md" and anchor not in anchors(target.read_text()):
            problems.append(f"{where}: there is no such heading")
    return problems


def built() -> list[str]:
    """What the site's builder complains of."""
    builder = Path(sys.executable).parent / "zensical"
    ran = subprocess.run(  # noqa: S603 - the builder of our own environment
        [builder, "build", "--clean", "--strict", "--config-file", "mkdocs.yml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return [] if ran.returncode == 0 else [f"the site does not build:\n{ran.stdout}{ran.stderr}"]


def settings_table() -> str:
    """Every setting as its own class describes it."""
    rows = ["| flag | variable | default | what it is |", "|---|---|---|---|"]
    for one in describe():
        default = f"`{one.default}`" if one.default else ""
        rows.append(f"| `{one.flag}` | `{one.env}` | {default} | {one.help} |")
    return "\n" + "\n".join(rows) + "\n\n"


def metrics_table() -> str:
    """Every metric under the name by which it is scraped."""
    rows = ["| metric | labels | what it is |", "|---|---|---|"]
    rows += [f"| `{exported(one)}` | {', '.join(one.labels)} | {one.help} |" for one in METRICS]
    return "\n" + "\n".join(rows) + "\n\n"


def exported(metric: Metric) -> str:
    """A histogram is shown by its stem: its samples are `_bucket`, `_sum` and `_count`."""
    return f"portcall_{metric.name}" + ("_total" if metric.kind == "counter" else "")


TABLES = {"settings": settings_table, "metrics": metrics_table}


def stale(*, write: bool) -> list[str]:
    """Says that a generated table is not current, or makes it so."""
    page = ROOT / "docs" / "operations.md"
    old = page.read_text()
    new = GENERATED.sub(lambda found: found[1] + TABLES[found[2]](), old)
    if write:
        page.write_text(new)
    elif new != old:
        return ["docs/operations.md: its tables are not current; run scripts/docs.py --write"]
    return []


def main() -> int:
    problems = stale(write="--write" in sys.argv[1:])
    problems += [line for page in pages() for line in broken(page)] + built()
    for line in problems:
        print(line, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

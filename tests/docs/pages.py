"""The pages of the documentation, and what stands in them."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SUMMARY = ROOT / "docs/SUMMARY.md"


def links(page: Path) -> list[str]:
    """What a page links to and shows, outside of code."""
    text = re.sub(r"^( *)```.*?^ *```$|`[^`\n]*`", "", page.read_text(), flags=re.S | re.M)
    return re.findall(r"\]\(([^)\s]+)\)", text)


def in_the_book() -> list[Path]:
    """The pages that the summary names, in order."""
    return [(SUMMARY.parent / link).resolve() for link in links(SUMMARY)]


def anchors(page: Path) -> set[str]:
    """By which names the page's headings can be linked to."""
    text = re.sub(r"^( *)```.*?^ *```$", "", page.read_text(), flags=re.S | re.M)
    found: set[str] = set()
    for heading in re.findall(r"^#+ +(.+)$", text, re.M):
        slug = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()).replace(" ", "-")
        number = 0
        while (name := f"{slug}-{number}" if number else slug) in found:
            number += 1
        found.add(name)
    return found


def shell(page: Path) -> list[str]:
    """The page's blocks of shell commands, in order, without what indents them."""
    found = re.finditer(r"^( *)```sh\n(.*?)^ *```$", page.read_text(), re.S | re.M)
    return [re.sub(rf"^{block[1]}", "", block[2], flags=re.M) for block in found]

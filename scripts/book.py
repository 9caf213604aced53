#!/usr/bin/env python3
"""Makes the documentation's site in target/book/site, with the mdBook that is named as the argument.

The pages stand where a reader of the repository looks for them, and so link to each other; mdBook wants them all in one
folder. This lays them out in one as they lie in the repository, with the files that they show or link to, and afterwards
looks whether each link of the site leads somewhere.
"""

import re
import shutil
import subprocess
import sys
import urllib.parse
from html.parser import HTMLParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BOOK = ROOT / "target/book"
LINK = re.compile(r"\]\(([^)\s]+)\)|\bsrc=\"([^\"]+)\"")


def local(page: Path) -> list[Path]:
    """The files of this repository that a page links to or shows."""
    found = (link[0] or link[1] for link in LINK.findall(page.read_text()))
    files = (target.split("#")[0] for target in found if "://" not in target and not target.startswith("mailto:"))
    return [(page.parent / file).resolve() for file in files if file]


def lay_out():
    """Copies the pages that the summary names, and what they need."""
    shutil.rmtree(BOOK, ignore_errors=True)
    summary = ROOT / "docs/SUMMARY.md"
    pages = local(summary)
    others = {file for page in pages for file in local(page) if file.suffix != ".md"}
    for file in [*pages, *others]:
        copy = BOOK / "pages" / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if file.is_file():
            shutil.copyfile(file, copy)
        else:
            show(file, copy)
    place = {link: (summary.parent / link).resolve().relative_to(ROOT) for link in re.findall(r"\]\(([^)]+)\)", summary.read_text())}
    (BOOK / "pages/SUMMARY.md").write_text(re.sub(r"\]\(([^)]+)\)", lambda found: f"]({place[found[1]]})", summary.read_text()))
    shutil.copyfile(ROOT / "docs/book.toml", BOOK / "book.toml")


def show(folder: Path, copy: Path):
    """A folder that is linked to: its files, and a list of them."""
    files = sorted(file.name for file in folder.iterdir() if file.is_file() and file.suffix != ".md")
    copy.mkdir(parents=True, exist_ok=True)
    for name in files:
        shutil.copyfile(folder / name, copy / name)
    # A README is a page of its own.
    if (folder / "README.md").exists():
        files.insert(0, "README.html")
    items = "".join(f'<li><a href="{name}">{name}</a></li>' for name in files)
    (copy / "index.html").write_text(f'<!doctype html><meta charset="utf-8"><title>{folder.name}</title><ul>{items}</ul>')


class Page(HTMLParser):
    """The links and anchors of a page."""

    def __init__(self, file: Path):
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(file.read_text())

    def handle_starttag(self, tag, attrs):
        """Notes what an element links to, and by which name it can be linked to."""
        attributes = dict(attrs)
        if name := attributes.get("id"):
            self.anchors.add(name)
        if target := attributes.get("href" if tag in ("a", "link") else "src"):
            self.links.append(target)


def broken() -> list[str]:
    """Links of the site that lead nowhere."""
    site = BOOK / "site"
    # print.html is all pages in one, from where relative links lead elsewhere; 404.html has an address of its own.
    pages = {file: Page(file) for file in site.rglob("*.html") if file.name not in ("print.html", "404.html", "toc.html")}
    found = []
    for file, page in pages.items():
        for link in page.links:
            path, _, anchor = link.partition("#")
            if re.match(r"[a-z]+:", link):
                continue
            target = (file.parent / urllib.parse.unquote(path)).resolve() if path else file
            target = target / "index.html" if target.is_dir() else target
            known = target in pages and (not anchor or urllib.parse.unquote(anchor) in pages[target].anchors)
            if not (known or (target.is_file() and not anchor)):
                found.append(f"{file.relative_to(site)}: {link}")
    return sorted(set(found))


if __name__ == "__main__":
    lay_out()
    subprocess.run([sys.argv[1], "build", BOOK], check=True)
    if problems := broken():
        sys.exit("These links lead nowhere:\n" + "\n".join(problems))
    print(f"{BOOK / 'site/index.html'} is the first page")

"""The pages are all there, and each link between them leads to what it names. (tests/references.rs looks for the files.)"""

import re

import pytest
from pages import ROOT, SUMMARY, anchors, in_the_book, links

PAGES = in_the_book()


def named(page):
    """A page's path, to tell tests apart."""
    return str(page.relative_to(ROOT))


def test_the_summary_lists_every_page_once():
    there = {*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md"), *(ROOT / "examples").glob("*/README.md"), *(ROOT / "helm").glob("*/README.md")}
    assert there - {SUMMARY} <= set(PAGES)
    assert len(PAGES) == len(set(PAGES))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_each_link_leads_to_a_page_of_the_book_and_a_heading_of_it(page):
    for link in links(page):
        path, _, anchor = link.partition("#")
        if "://" in path:
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.suffix != ".md" or target in PAGES, f"{link} isn't in the book"
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_each_file_of_the_repository_that_is_named_is_there(page):
    if page.name == "CHANGELOG.md":
        return  # It tells of what has gone, too.
    for path in re.findall(r"`((?:src|tests|scripts|config|examples|helm|monitoring)/[\w./-]+)`", page.read_text()):
        assert (ROOT / path).exists(), path


def test_anchors_are_made_as_readers_of_markdown_make_them(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# The `services.<name>` key\n## 2. Where: A/B?\n## Again\n## Again\n```sh\n# no heading\n```\n")
    assert anchors(page) == {"the-servicesname-key", "2-where-ab", "again", "again-1"}

"""The pages made from declarations are those that the declarations make."""

from __future__ import annotations

import pytest

from scaling_cli.glossary import WORDS
from scaling_cli.report.catalogue import PAGES
from tests.places import ROOT
from tools.pages import page


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_up_to_date(name: str) -> None:
    written = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert written == page(name), "run `make docs`"


def test_the_glossary_is_short() -> None:
    assert len(WORDS) <= 25

"""The published numbers that the package ships."""

import json
import pathlib

from experiments.reproduce import published
import pytest

SHARED = pathlib.Path(__file__).parents[2] / "shared" / "papers" / "published.json"


def test_every_paper_has_entries_with_a_source():
    ids = []
    for paper in published.papers():
        found = published.entries(paper)
        assert found
        ids += [e.id for e in found]
        for e in found:
            assert e.id.startswith(f"{paper}-")
            assert e.table_or_figure
            assert e.quote or e.kind == "table"
            assert e.kind in ("table", "text_number", "statement", "setting_stated")
    assert len(ids) == len(set(ids)) >= 370


def test_an_unknown_id_names_near_ones():
    assert published.entry("004-0058").value == 36
    with pytest.raises(ValueError, match="004-0058"):
        published.entry("004-00588")
    with pytest.raises(ValueError, match="no paper 'none'"):
        published.entries("none")
    assert published.missing(["004-0001", "004-9999"]) == ["004-9999"]


def test_the_shipped_file_is_the_collected_one():
    if not SHARED.exists():
        pytest.skip("the collection of the published numbers is not beside this checkout")
    shipped = json.loads(pathlib.Path(published.__file__).with_name("published.json").read_text())
    collected = json.loads(SHARED.read_text())
    assert shipped["papers"].items() >= collected["papers"].items()
    theirs = [e for e in shipped["entries"] if e["paper"] in collected["papers"]]
    assert theirs == collected["entries"]

"""Suites are published models at their native sizes, compared with the last."""

from __future__ import annotations

from yolor_deploy.benchmark.options import SUITES
from yolor_deploy.families.catalogue import CATALOGUE


def test_suite_is_of_published_models_against_p7() -> None:
    """Every name can be exported and has figures to stand beside; P7 comes last, as reference."""
    published = {model.name: model for model in CATALOGUE}

    for names in SUITES.values():
        assert len(set(names)) == len(names)
        assert all(published[name].fps and published[name].ap for name in names)

    assert SUITES["yolor"][-1] == "yolov4-p7"
    assert len(SUITES["yolor"]) == 9

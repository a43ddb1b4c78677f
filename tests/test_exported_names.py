"""The public names, kept honest."""

from __future__ import annotations

import importlib.metadata

import pytest

import yolor_deploy
from yolor_deploy import core
from yolor_deploy.core.detections import Detections
from yolor_deploy.detector import Detector


def test_public_names_are_these() -> None:
    """A new name is a promise, and is written here first."""
    assert yolor_deploy.__all__ == ["Detections", "Detector", "__version__"]
    assert core.__doc__


def test_public_names_are_the_classes_that_they_say() -> None:
    """Loading on first use gives the very same objects."""
    assert yolor_deploy.Detector is Detector
    assert yolor_deploy.Detections is Detections


def test_unknown_name_is_an_attribute_error() -> None:
    """A typing error is not hidden by loading on first use."""
    with pytest.raises(AttributeError, match="no attribute 'Detecter'"):
        yolor_deploy.Detecter  # noqa: B018 - the look-up is what is tested


def test_version_is_that_of_the_distribution() -> None:
    """Metadata of artifacts and pip agree."""
    assert importlib.metadata.version("yolor-deploy") == yolor_deploy.__version__

"""The whole table, in the order in which a line is compared with it."""

from __future__ import annotations

from yolor_deploy.backends.tensorrt.catalogue.building import BUILDING
from yolor_deploy.backends.tensorrt.catalogue.environment import ENVIRONMENT
from yolor_deploy.backends.tensorrt.catalogue.loading import LOADING
from yolor_deploy.backends.tensorrt.catalogue.parsing import PARSING
from yolor_deploy.backends.tensorrt.catalogue.running import RUNNING

ENTRIES = (*LOADING, *PARSING, *BUILDING, *RUNNING, *ENVIRONMENT)
"""A line is of the first entry whose pattern is in it: special ones come before general ones."""

"""The built TensorRT plugin in the registry of a real TensorRT, which needs no GPU."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from tests.graph.tiny_graphs import tiny_spec
from tests.plugins import plugin_library
from yolor_deploy.core.spec import NmsConfig
from yolor_deploy.graph.head_function import NMS_OP, nms_attributes

pytestmark = pytest.mark.tensorrt_plugin

VERSION = "1"
NAMESPACE = ""
"""Where an ONNX parser looks when a node has no attribute ``plugin_namespace``."""

Creator = Any
Trt = Any


@pytest.fixture(scope="module", params=plugin_library.RUNTIMES)
def trt(request: pytest.FixtureRequest) -> Trt:
    """Return a Python module of TensorRT, with the plugin in its registry."""
    module = importlib.import_module(request.param)
    # A registry refuses to load it twice; this one lasts as long as the process.
    handle = module.get_plugin_registry().load_library(str(plugin_library.library_path()))
    assert handle is not None
    return module


@pytest.fixture
def creator(trt: Trt) -> Creator:
    """Return the creator that a parser finds."""
    return trt.get_plugin_registry().get_creator(NMS_OP, VERSION, NAMESPACE)


def attributes() -> list[ir.Attr]:
    """Return the attributes of a node, as ``build`` writes them."""
    return nms_attributes(tiny_spec(levels=3), NmsConfig())


def fields_of(trt: Trt, attrs: list[ir.Attr], *, ints: str = "INT32") -> Any:
    """Return attributes as fields, the way a parser hands them over."""
    fields = []
    for attr in attrs:
        is_float = attr.type == ir.AttributeType.FLOATS
        dtype = np.dtype("float32" if is_float else ints.lower())
        kind = getattr(trt.PluginFieldType, "FLOAT32" if is_float else ints)
        fields.append(trt.PluginField(attr.name, np.atleast_1d(attr.value).astype(dtype), kind))
    return trt.PluginFieldCollection(fields)


def created(trt: Trt, creator: Creator, fields: Any) -> Any:
    """Return the plugin, or None."""
    return creator.create_plugin("head", fields, trt.TensorRTPhase.BUILD)


def test_registry_finds_the_creator(creator: Creator) -> None:
    """The name is that of the ONNX operator; its fields are the attributes of the node."""
    assert creator is not None
    assert (creator.name, creator.plugin_version) == (NMS_OP, VERSION)
    assert creator.plugin_namespace == NAMESPACE
    assert [field.name for field in creator.field_names] == [attr.name for attr in attributes()]


@pytest.mark.parametrize("ints", ["INT32", "INT64"])
def test_creator_makes_a_plugin_of_the_attributes(trt: Trt, creator: Creator, ints: str) -> None:
    """Whatever type a parser gives integers; the plugin has all three capabilities."""
    plugin = created(trt, creator, fields_of(trt, attributes(), ints=ints))

    kinds = trt.PluginCapabilityType
    core, build, runtime = (
        plugin.get_capability_interface(kind) for kind in (kinds.CORE, kinds.BUILD, kinds.RUNTIME)
    )
    assert (core.plugin_name, core.plugin_version, core.plugin_namespace) == (NMS_OP, VERSION, "")
    assert build.num_outputs == 4
    assert type(runtime).__name__ == "IPluginV3OneRuntime"


@pytest.mark.parametrize("name", [attr.name for attr in attributes()])
def test_creator_refuses_a_missing_attribute(trt: Trt, creator: Creator, name: str) -> None:
    """No attribute has a default: the model says everything."""
    rest = [attr for attr in attributes() if attr.name != name]

    assert created(trt, creator, fields_of(trt, rest)) is None


def test_creator_refuses_a_bad_value(trt: Trt, creator: Creator) -> None:
    """A value out of range makes no plugin."""
    attrs = [attr for attr in attributes() if attr.name != "multi_label"]

    assert created(trt, creator, fields_of(trt, [*attrs, ir.AttrInt64("multi_label", 2)])) is None

"""The walk sees how a name is reached, and refuses what it does not know."""

from __future__ import annotations

import textwrap

import pytest

from tests.backends.tensorrt.name_tables import TABLES
from tests.backends.tensorrt.name_walker import Found, Use, walk


def walked(source: str) -> Found:
    """Walk one file."""
    return walk({"file.py": textwrap.dedent(source)}, TABLES)


@pytest.mark.parametrize(
    ("source", "path"),
    [
        pytest.param("def f(trt: Any): trt.Gone", "Gone", id="module"),
        pytest.param("def f(builder: Any): builder.gone()", "Builder.gone", id="object"),
        pytest.param("def f(trt: Any): trt.Builder(0).gone", "Builder.gone", id="created"),
        pytest.param(
            "def f(trt: Any):\n  x = trt.Builder(0)\n  x.gone", "Builder.gone", id="assigned"
        ),
        pytest.param(
            "def f(builder: Any):\n  with builder.create_network() as x: x.gone",
            "INetworkDefinition.gone",
            id="with",
        ),
        pytest.param(
            "def f(network: Any):\n  for x in [network.get_layer(i) for i in y]: x.gone",
            "ILayer.gone",
            id="loop",
        ),
        pytest.param(
            "class A:\n  def __init__(self, trt: Any): self._x = trt.Builder(0)\n"
            "  def g(self): self._x.gone",
            "Builder.gone",
            id="field",
        ),
        pytest.param(
            "class A:\n  def __init__(self, trt: Any): self.x = trt.Builder(0)\n"
            "def g(a: A): a.x.gone",
            "Builder.gone",
            id="field-from-outside",
        ),
        pytest.param(
            "class A:\n  config: Any\n  def g(self): self.config.gone", "IBuilderConfig.gone"
        ),
        pytest.param("x = load_module('tensorrt').Gone", "Gone", id="function"),
        pytest.param("def f(trt: Any): (trt if y else None).Gone", "Gone", id="choice"),
        pytest.param("def f(trt: Any):\n  a, b = trt.A, trt.B\n  b.gone", "B.gone", id="pair"),
        pytest.param(
            "def make_logger(trt: Any) -> Any:\n"
            "  class Log(trt.ILogger):\n    def gone(self): pass",
            "ILogger.gone",
            id="method-that-is-called-back",
        ),
        pytest.param("N = 'Gone'\ndef f(trt: Any): getattr(trt, N)", "Gone", id="text"),
        pytest.param(
            "def f(trt: Any): [getattr(trt, n) for n in ('A', 'Gone')]", "Gone", id="texts"
        ),
    ],
)
def test_walk_finds_a_name(source: str, path: str) -> None:
    """Whatever way leads from the module to it."""
    result = walked(source)

    assert result.unknown == []
    assert path in {use.path for use in result.uses}


@pytest.mark.parametrize(
    ("source", "what"),
    [
        pytest.param("def f(thing: Any): thing.x", "thing: what is it?", id="parameter"),
        pytest.param("class A:\n  thing: Any", "thing: what is it?", id="field"),
        pytest.param("def f(things: dict[str, Any]): 0", "things: what is it?", id="within"),
        pytest.param("def f() -> Any: 0", "f: gives what?", id="function"),
        pytest.param("def f(builder: Any): builder.new().x", "what is Builder.new?", id="result"),
        pytest.param("def f(config: Any): config.y.x", "what is IBuilderConfig.y?", id="property"),
        pytest.param("def f(trt: Any): getattr(trt, x)", "getattr(trt, x): for what?", id="text"),
    ],
)
def test_walk_refuses_what_it_does_not_know(source: str, what: str) -> None:
    """A table lacks an entry."""
    (told,) = walked(source).unknown

    assert told.startswith("file.py:")
    assert what in told


def test_walk_notes_how_a_name_is_used() -> None:
    """Asked for, assigned to, called with named arguments."""
    result = walked(
        """
        def f(trt: Any, config: Any):
            if hasattr(trt, "A"):
                trt.A
            config.b = config.c(0, d=1)
        """
    )

    assert result.uses == [
        Use("A", "file.py:3", "file.py:f", is_asked=True),
        Use("A", "file.py:4", "file.py:f"),
        Use("IBuilderConfig.c", "file.py:5", "file.py:f", keywords=("d",)),
        Use("IBuilderConfig.b", "file.py:5", "file.py:f", is_set=True),
    ]


def test_walk_notes_attributes_of_everything_else() -> None:
    """They are compared with the names of TensorRT: a table may be wrong, or a value be hidden."""
    result = walked("def f(own: dict[str, int]): own['context'].execute_async_v3(0)")

    assert ("execute_async_v3", "file.py:1") in result.loose

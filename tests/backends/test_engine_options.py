"""What a build of an engine is told, by what a TensorRT has: no TensorRT is needed to ask."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.engines import EIGHT, ELEVEN, OLDEST, RTX, TEN
from tests.graph.tiny_graphs import tiny_spec, written_artifact
from yolor_deploy.backends.tensorrt.capabilities import Capabilities, capabilities_of
from yolor_deploy.backends.tensorrt.options import (
    EngineOptions,
    nms_reason,
    nms_way,
    precision_flags,
    profiles_for,
    require_options,
)
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.errors import BuildError
from yolor_deploy.core.passport import NmsWay
from yolor_deploy.core.precision import Precision
from yolor_deploy.core.spec import BatchRange, OutputKind

MIB = 2**20


@pytest.fixture
def model(tmp_path: Path) -> Artifact:
    """A model that detects, for batches of 1 to 8."""
    return written_artifact(tmp_path / "model.onnx", tiny_spec())


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """What passes for the plugin's library."""
    path = tmp_path / "libplugin.so"
    path.write_bytes(b"\x7fELF")
    return path


@pytest.mark.parametrize(
    ("options", "where", "problem"),
    [
        ({"workspace_bytes": 0}, "--workspace", "0 MiB, expected 1 to"),
        ({"workspace_bytes": -5 * MIB}, "--workspace", "-5 MiB"),
        ({"workspace_bytes": 2**50}, "--workspace", "1073741824 MiB"),
        ({"optimization_level": -1}, "--optimization-level", "-1, expected 0 to 5"),
        ({"optimization_level": 6}, "--optimization-level", "6, expected 0 to 5"),
        ({"aux_streams": -1}, "--aux-streams", "-1, expected 0 to 1000"),
        ({"aux_streams": 2**31}, "--aux-streams", "2147483648"),
    ],
)
def test_value_out_of_range_is_refused(options: dict[str, Any], where: str, problem: str) -> None:
    """The message is in the unit of the option."""
    with pytest.raises(BuildError, match=problem) as error:
        EngineOptions(**options)

    assert error.value.where == where


def test_values_at_the_limits_are_taken() -> None:
    """None of the ranges is narrower than it says."""
    for level in (0, 5):
        EngineOptions(workspace_bytes=MIB, optimization_level=level, aux_streams=0)
    EngineOptions(workspace_bytes=2**44, aux_streams=1000)


def test_options_are_written_without_files_of_this_machine() -> None:
    """A passport goes to other machines."""
    options = EngineOptions(timing_cache=Path("/home/me/cache"), plugin=Path("/home/me/lib.so"))

    assert "/home" not in str(options.to_json())
    assert options.to_json()["tf32"] is False


@pytest.mark.parametrize(
    ("has", "options", "where"),
    [
        pytest.param(TEN, {"compute_capabilities": ("8.6",)}, "--compute-capability", id="ten"),
        pytest.param(RTX, {"timing_cache": Path("cache")}, "--timing-cache", id="rtx"),
        pytest.param(OLDEST, {"optimization_level": 3}, "--optimization-level", id="level"),
        pytest.param(OLDEST, {"aux_streams": 0}, "--aux-streams", id="streams"),
    ],
)
def test_option_that_a_version_lacks_is_refused(
    has: Capabilities, options: dict[str, Any], where: str
) -> None:
    """Each is told by its name on the command line."""
    with pytest.raises(BuildError) as error:
        require_options(has, EngineOptions(**options))

    assert error.value.where == where
    assert "leave it out" in error.value.hint


@pytest.mark.parametrize("has", [EIGHT, TEN, ELEVEN], ids=lambda has: has.version)
def test_tensorrt_takes_its_options(has: Capabilities) -> None:
    """What a version has is not refused."""
    options = EngineOptions(
        timing_cache=Path("cache"), optimization_level=5, aux_streams=2, workspace_bytes=MIB
    )

    require_options(has, options)


def test_rtx_takes_compute_capabilities() -> None:
    """It is the one that builds for other machines."""
    require_options(RTX, EngineOptions(compute_capabilities=("8.6", "12.0")))


@pytest.mark.parametrize(
    ("has", "asked", "way"),
    [
        pytest.param(EIGHT, None, "plugin", id="8.6"),
        pytest.param(TEN, None, "plugin", id="10"),
        pytest.param(ELEVEN, "ops", "ops", id="11-ops"),
        pytest.param(TEN, "kernels", "kernels", id="10-kernels"),
        pytest.param(RTX, None, "kernels", id="rtx"),
        pytest.param(RTX, "kernels", "kernels", id="rtx-kernels"),
    ],
)
def test_way_to_detections_follows_from_what_there_is(
    model: Artifact, library: Path, has: Capabilities, asked: NmsWay | None, way: NmsWay
) -> None:
    """The plugin where it can be, the kernels where not, and what was asked for otherwise."""
    plugin = library if way == "plugin" else None

    assert nms_way(model, has, EngineOptions(nms=asked, plugin=plugin)) == way


@pytest.mark.parametrize("asked", [None, "kernels"])
def test_missing_library_leaves_the_kernels(
    model: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: NmsWay | None
) -> None:
    """A package without the plugin still builds, and the reason is told."""
    module = "yolor_deploy.backends.tensorrt.options.PACKAGED"
    monkeypatch.setattr(module, tmp_path / "missing.so")
    options = EngineOptions(nms=asked)

    assert nms_way(model, TEN, options) == "kernels"
    assert "was not built" in nms_reason(model, TEN, options)


def test_reason_is_told_unless_the_plugin_is_in_the_engine(model: Artifact, library: Path) -> None:
    """Nobody wonders why post-processing is not inside."""
    raw = replace(model, meta=replace(model.meta, output="raw", nms=None))

    assert nms_reason(model, TEN, EngineOptions(plugin=library)) == ""
    assert nms_reason(model, RTX, EngineOptions()) == "TensorRT-RTX takes no plugins"
    assert nms_reason(raw, TEN, EngineOptions()) == "the model ends in raw"
    given = EngineOptions(nms="ops", plugin=library)
    assert nms_reason(model, TEN, given) == "--nms ops was given"


@pytest.mark.parametrize(
    ("has", "options", "where", "problem"),
    [
        pytest.param(RTX, {"nms": "plugin"}, "--nms plugin", "takes no plugins", id="rtx-plugin"),
        pytest.param(RTX, {"nms": "ops"}, "--nms ops", "no non-maximum", id="rtx-ops"),
        pytest.param(
            RTX, {"plugin": Path("none.so")}, "--plugin-library", "takes no plugins", id="library"
        ),
        pytest.param(
            TEN, {"plugin": Path("none.so")}, "--plugin-library", r"no none\.so", id="missing"
        ),
        pytest.param(
            TEN,
            {"plugin": Path("none.so"), "nms": "plugin"},
            "--nms plugin",
            r"no none\.so",
            id="missing-plugin",
        ),
        pytest.param(
            TEN,
            {"plugin": Path(__file__), "nms": "kernels"},
            "--plugin-library",
            "--nms kernels is given",
            id="library-and-kernels",
        ),
    ],
)
def test_way_that_cannot_be_had_is_refused(
    model: Artifact, has: Capabilities, options: dict[str, Any], where: str, problem: str
) -> None:
    """Nothing that was asked for is left out silently."""
    with pytest.raises(BuildError, match=problem) as error:
        nms_way(model, has, EngineOptions(**options))

    assert error.value.where == where


@pytest.mark.parametrize("output", ["raw", "predictions"])
def test_model_that_does_not_detect_has_no_post_processing(
    model: Artifact, output: OutputKind, library: Path
) -> None:
    """Options of it are refused."""
    bare = replace(model, meta=replace(model.meta, output=output, nms=None))

    assert nms_way(bare, TEN, EngineOptions()) is None
    for options in (EngineOptions(nms="kernels"), EngineOptions(plugin=library)):
        with pytest.raises(BuildError, match=f"model ends in {output}"):
            nms_way(bare, TEN, options)


@pytest.mark.parametrize("name", ["fp32", "fp16", "bf16", "int8", "int8+fp16", "fp8", "fp8+bf16"])
def test_types_of_the_graph_need_no_flags(name: str) -> None:
    """TensorRT 10, 11 and RTX take the network as it is."""
    for has in (TEN, ELEVEN, RTX):
        assert precision_flags(has, Precision.from_name(name)) == ()


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("fp32", ()),
        ("fp16", ("FP16",)),
        ("bf16", ("BF16",)),
        ("int8", ("INT8",)),
        ("int8+fp16", ("FP16", "INT8")),
        ("fp8+bf16", ("BF16", "FP8")),
    ],
)
def test_older_versions_are_given_flags(name: str, flags: tuple[str, ...]) -> None:
    """They allow what the graph has, and nothing else."""
    assert precision_flags(EIGHT, Precision.from_name(name)) == flags


@pytest.mark.parametrize(("name", "where"), [("fp8", "--fp8"), ("int8+bf16", "--bf16")])
def test_type_that_a_version_lacks_is_refused(name: str, where: str) -> None:
    """Before the model is brought to it."""
    with pytest.raises(BuildError, match=r"TensorRT 8\.5\.3 has no") as error:
        precision_flags(OLDEST, Precision.from_name(name))

    assert error.value.where == where


@pytest.mark.parametrize(
    "asked",
    [
        (),
        (BatchRange(1, 1, 1),),
        (BatchRange(1, 4, 8),),
        (BatchRange(1, 1, 1), BatchRange(8, 8, 8)),
        (BatchRange(2, 4, 6), BatchRange(1, 2, 3)),
    ],
    ids=str,
)
def test_profiles_are_those_given_or_the_models_own(
    model: Artifact, asked: tuple[BatchRange, ...]
) -> None:
    """Several are kept in their order."""
    expected = asked or (BatchRange(1, 1, 8),)

    assert profiles_for(model, EngineOptions(profiles=asked)) == expected


@pytest.mark.parametrize(
    ("own", "asked", "problem"),
    [
        (BatchRange(1, 1, 8), BatchRange(1, 4, 16), "of 1 to 16, the model takes 1 to 8"),
        (BatchRange(4, 4, 8), BatchRange(1, 4, 8), "of 1 to 8, the model takes 4 to 8"),
        (BatchRange(1, 1, 1), BatchRange(1, 1, 2), "of 1 to 2, the model takes 1"),
        (BatchRange(2, 2, 2), BatchRange(1, 1, 1), "of 1 to 1, the model takes 2"),
    ],
)
def test_profile_that_the_model_does_not_take_is_refused(
    model: Artifact, own: BatchRange, asked: BatchRange, problem: str
) -> None:
    """The hint has the option of `export` that would make it fit."""
    spec = model.meta.spec
    meta = replace(model.meta, spec=replace(spec, input=replace(spec.input, batch=own)))
    fits = BatchRange(own.optimum, own.optimum, own.optimum)

    with pytest.raises(BuildError, match=problem) as error:
        profiles_for(replace(model, meta=meta), EngineOptions(profiles=(fits, asked)))

    assert error.value.where == "--profile"
    assert f"--batch {asked.minimum}:{asked.optimum}:{asked.maximum}" in error.value.hint


def module(**names: Any) -> Any:
    """Return what stands in for a TensorRT module, with these names beside those of all."""
    plain: dict[str, Any] = {
        "__version__": "0",
        "INetworkDefinition": SimpleNamespace(add_nms=1, add_plugin_v2=1),
        "NetworkDefinitionCreationFlag": SimpleNamespace(),
        "BuilderFlag": SimpleNamespace(FP16=1, INT8=2),
        "IPluginRegistry": SimpleNamespace(),
        "IBuilderConfig": SimpleNamespace(),
        "ITimingCache": 1,
    }
    return SimpleNamespace(**(plain | names))


def test_capabilities_are_what_a_module_has() -> None:
    """No version is compared: names are looked for."""
    oldest = capabilities_of(module(__version__="8.5.3"))
    newest = capabilities_of(
        module(
            __version__="11.0.0.114",
            INetworkDefinition=SimpleNamespace(add_plugin_v3=1, add_nms=1),
            NetworkDefinitionCreationFlag=SimpleNamespace(STRONGLY_TYPED=1),
            IPluginRegistry=SimpleNamespace(load_library=1),
            IBuilderConfig=SimpleNamespace(builder_optimization_level=3, max_aux_streams=1),
            IProgressMonitor=1,
        )
    )

    assert oldest == OLDEST
    assert newest == ELEVEN

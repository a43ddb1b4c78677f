"""TensorRT of either flavour, and the plugin that it needs."""

from __future__ import annotations

from pathlib import Path

from yolor_deploy.backends.tensorrt import (
    INSTALL_HINTS,
    NAMES,
    Flavour,
    is_installed,
    load_module,
    why_unavailable,
)
from yolor_deploy.backends.tensorrt.capabilities import Capabilities, capabilities_of
from yolor_deploy.backends.tensorrt.hooks import make_logger
from yolor_deploy.backends.tensorrt.plugin import PACKAGED, PLUGIN_VERSION, load_plugin
from yolor_deploy.backends.tensorrt.targets import known_capabilities
from yolor_deploy.cuda.driver import Driver, named
from yolor_deploy.cuda.library import BUILD_HINT
from yolor_deploy.doctor.finding import Finding, State

_AREA = "TensorRT"
_USES: dict[Flavour, str] = {
    "tensorrt": "builds engines on the GPU that they are for, and runs them",
    "tensorrt_rtx": "builds engines without a GPU, and runs them",
}
_PLUGIN_USE = "post-processing inside an engine"


def examine_tensorrt(driver: Driver, plugin: Path | None = None) -> list[Finding]:
    """Import each flavour that is installed, and ask it what it has.

    Args:
        driver: What NVIDIA's driver said.
        plugin: Library of the plugin; None for the one of the package.
    """
    findings: list[Finding] = []
    for flavour, use in _USES.items():
        reason = why_unavailable(flavour)
        if reason is not None:
            state: State = "broken" if is_installed(flavour) else "missing"
            detail = reason if state == "broken" else "not installed"
            hint = INSTALL_HINTS[flavour]
            findings.append(Finding(_AREA, NAMES[flavour], state, detail, use, hint))
            continue
        module = load_module(flavour)
        has = capabilities_of(module)
        findings.append(Finding(_AREA, NAMES[flavour], "ok", _in_words(has), use))
        if has.has_targets:
            findings += _uncovered(driver, known_capabilities(module))
        if has.plugins is not None:
            findings.append(_of_plugin(module, has, plugin or PACKAGED))
    if not any(finding.name == "YolorNMS plugin" for finding in findings):
        findings.append(_unloaded_plugin(plugin or PACKAGED))
    return findings


def _in_words(has: Capabilities) -> str:
    types = "types of the graph" if has.is_strongly_typed else "types by flags"
    plugins = f"plugins {has.plugins.upper()}" if has.plugins else "no plugins"
    return f"{has.version}, {types}, {plugins}"


def _uncovered(driver: Driver, known: tuple[str, ...]) -> list[Finding]:
    return [
        Finding(
            _AREA,
            f"{NAMES['tensorrt_rtx']} on {gpu.name}",
            "missing",
            f"knows compute capability {', '.join(known)}, and the GPU has "
            f"{named(gpu.compute_capability)}",
            hint="use TensorRT on this GPU",
        )
        for gpu in driver.gpus
        if named(gpu.compute_capability) not in known
    ]


def _of_plugin(module: object, has: Capabilities, library: Path) -> Finding:
    """Load the plugin into the registry, which works without a GPU."""
    if not library.is_file():
        return _unloaded_plugin(library)
    problem = load_plugin(module, library, make_logger(module))
    name = NAMES[has.flavour]
    if problem is not None:
        return Finding(
            _AREA, "YolorNMS plugin", "broken", f"{name}: {problem}", _PLUGIN_USE, BUILD_HINT
        )
    detail = f"version {PLUGIN_VERSION}, {name} {has.version} takes it"
    return Finding(_AREA, "YolorNMS plugin", "ok", detail, _PLUGIN_USE)


def _unloaded_plugin(library: Path) -> Finding:
    if library.is_file():
        detail = f"version {PLUGIN_VERSION}, not tried: no TensorRT that takes plugins"
        return Finding(_AREA, "YolorNMS plugin", "ok", detail, _PLUGIN_USE)
    hint = "TENSORRT_INCLUDE_DIR=/path/to/include scripts/build-plugins tensorrt"
    return Finding(_AREA, "YolorNMS plugin", "missing", "not built", _PLUGIN_USE, hint)

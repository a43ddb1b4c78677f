"""``yolor-deploy build`` for TensorRT and TensorRT-RTX."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import typer

from yolor_deploy.cli.boundary import printable
from yolor_deploy.cli.choices import batch_range, one_of
from yolor_deploy.cli.lowering import Say, lowering_json, show_lowering
from yolor_deploy.core.describe import batch_text
from yolor_deploy.core.errors import BuildError

if TYPE_CHECKING:
    from yolor_deploy.backends.tensorrt.options import EngineOptions
    from yolor_deploy.core.passport import Builder
    from yolor_deploy.pipeline import EngineConfig, EngineResult

_MIB = 2**20
_MOST_WARNINGS = 5  # in the text; --json has all
_WAYS = {
    "plugin": "our plugin, inside the engine",
    "kernels": "our kernels, behind the engine",
    "ops": "standard operators, inside the engine",
}


@dataclass(frozen=True, slots=True)
class EngineFlags:
    """Options of ``build`` that only engines have, as they were given; named like the options."""

    nms: str | None
    compute_capability: Sequence[str] | None
    profile: Sequence[str] | None
    workspace: int | None
    optimization_level: int | None
    aux_streams: int | None
    tf32: bool | None
    timing_cache: Path | None
    plugin_library: Path | None

    def refuse(self) -> None:
        """Refuse each of them.

        Raises:
            BuildError: One was given.
        """
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if value is not None:
                raise BuildError(
                    "an option of engines, and --backend onnxruntime builds none",
                    where=f"--{'no-' if value is False else ''}{name.replace('_', '-')}",
                    hint="give --backend tensorrt or --backend tensorrt_rtx, or leave it out",
                )

    def options(self) -> EngineOptions:
        """Return what the backend is told.

        Raises:
            BuildError: A value is none that the option takes.
        """
        from yolor_deploy.backends.tensorrt.options import EngineOptions  # noqa: PLC0415 - late
        from yolor_deploy.core.passport import NmsWay  # noqa: PLC0415 - beside its use

        return EngineOptions(
            nms=one_of(self.nms, get_args(NmsWay), "--nms") if self.nms is not None else None,
            profiles=tuple(batch_range(text, "--profile") for text in self.profile or ()),
            compute_capabilities=tuple(self.compute_capability or ()),
            workspace_bytes=None if self.workspace is None else self.workspace * _MIB,
            optimization_level=self.optimization_level,
            aux_streams=self.aux_streams,
            tf32=bool(self.tf32),
            timing_cache=self.timing_cache,
            plugin=self.plugin_library,
        )


def build_engine(config: EngineConfig, *, as_json: bool) -> None:
    """Build an engine, and print what it is.

    Raises:
        YolorDeployError: As ``pipeline.build_engine``.
    """
    from yolor_deploy.cli.stages import shown_build  # noqa: PLC0415 - beside its use
    from yolor_deploy.pipeline import build_engine as run  # noqa: PLC0415 - late

    with shown_build("build") as shown:
        result = run(config, note=shown.note, progress=shown.advance, engine_progress=shown.phase)
    if as_json:
        typer.echo(json.dumps(_as_json(result), indent=2))
        return
    from yolor_deploy.cli.tables import say  # noqa: PLC0415 - rich

    if result.lowered is not None:
        show_lowering(result.lowered, say)
    _show(result, say)


def _as_json(result: EngineResult) -> dict[str, Any]:
    from yolor_deploy.core.artifact import passport_path  # noqa: PLC0415 - beside its use

    path, passport, report = result.artifact.path, result.passport, result.report
    return {
        "path": str(path),
        "passport_path": str(passport_path(path)),
        "size_bytes": passport.plan_bytes,
        "sha256": passport.plan_sha256,
        "meta": json.loads(passport.meta.to_json()),
        "passport": passport.to_json(),
        **lowering_json(result.lowered),
        "nms_reason": result.nms_reason,
        "warnings": Counter(report.warnings),
        "peak_rss_bytes": report.peak_rss_bytes,
        "seconds": result.seconds,
    }


def _show(result: EngineResult, say: Say) -> None:
    from yolor_deploy.core.artifact import passport_path  # noqa: PLC0415 - beside its use

    path, passport, report = result.artifact.path, result.passport, result.report
    say(f"engine: {builder_text(passport.builder)}")
    way = _WAYS[passport.nms] if passport.nms else "none"
    reason = f": {result.nms_reason}" if result.nms_reason else ""
    say(f"post-processing: {way}{reason}")
    say(f"batches: {'; '.join(map(batch_text, passport.profiles))}")
    say("TF32: " + tf32_text(is_on=bool(passport.options.get("tf32"))))
    for warning, count in Counter(report.warnings).most_common(_MOST_WARNINGS):
        say(f"  warning: {printable(warning)}" + (f" ({count} times)" if count > 1 else ""))
    peak = f", {report.peak_rss_bytes / 1e9:.2f} GB at most" if report.peak_rss_bytes else ""
    say(f"its build alone: {report.parse_s + report.build_s:.1f} s{peak}")
    say(
        f"wrote {path} ({passport.meta.precision} for {passport.builder.flavour}, "
        f"{passport.plan_bytes / 1e6:.1f} MB) in {sum(result.seconds.values()):.1f} s"
    )
    say(f"wrote {passport_path(path)}: its passport, to be kept beside it")


def builder_text(builder: Builder) -> str:
    """Return what made an engine, and for which GPUs."""
    from yolor_deploy.backends.tensorrt import NAMES  # noqa: PLC0415 - late

    name = {str(key): text for key, text in NAMES.items()}.get(builder.flavour, builder.flavour)
    capabilities = ", ".join(builder.compute_capabilities)
    on = f"on {builder.gpu}" if builder.gpu else "without a GPU"
    cuda = f", CUDA {builder.cuda_version}" if builder.cuda_version else ""
    driver = f", driver {builder.driver}" if builder.driver else ""
    return (
        f"{name} {builder.version}, built {on}{cuda}{driver}, for compute capability {capabilities}"
    )


def tf32_text(*, is_on: bool) -> str:
    """Return what becomes of products of float32."""
    if is_on:
        return "on, products of float32 may be rounded to 10 bits of mantissa"
    return "off, products of float32 keep their bits (--tf32 for more speed)"

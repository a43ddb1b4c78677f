"""``yolor-deploy info``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from yolor_deploy.cli.boundary import printable

_MOST_ENTRIES = 7  # of a list in the text; --json has all


def info(
    file: Annotated[
        Path, typer.Argument(help="A checkpoint, or a file that `export` or `build` wrote.")
    ],
    cfg: Annotated[
        str | None, typer.Option(help="Darknet description: a file, or a published name.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Explain any checkpoint or artifact: family, sizes, classes, implicit sites, history."""
    from yolor_deploy.core import artifact as files  # noqa: PLC0415 - late

    passport = None
    if files.is_engine(file) or files.looks_like_plan(file):
        facts, passport = _of_engine(files.Artifact.read(file))
    elif files.looks_like_onnx(file):
        facts = _of_artifact(files.Artifact.read(file))
    else:
        from yolor_deploy.inspection import facts_of_checkpoint  # noqa: PLC0415 - torch

        facts = facts_of_checkpoint(str(file), cfg=cfg)
    if as_json:
        typer.echo(json.dumps(facts | ({"passport": passport} if passport else {}), indent=2))
        return
    from yolor_deploy.cli.tables import console  # noqa: PLC0415 - rich

    out = console()
    for key, value in facts.items():
        if isinstance(value, list):
            out.print(f"{key}:", markup=False)
            for item in value:
                out.print(printable(f"  {item}"), markup=False, soft_wrap=True)
        else:
            out.print(printable(f"{key}: {value}"), markup=False, soft_wrap=True)


def _of_artifact(artifact: Any) -> dict[str, Any]:
    from dataclasses import asdict  # noqa: PLC0415 - beside its use

    from yolor_deploy.core.describe import facts_of_spec  # noqa: PLC0415 - beside its use

    meta = artifact.meta
    facts = {
        "file": str(artifact.path),
        "kind": f"{meta.kind}, {meta.precision}, for {meta.target or 'any runtime'}",
        **facts_of_spec(meta.spec),
        "outputs": ", ".join(artifact.output_names),
    }
    if meta.nms:
        facts["post-processing"] = ", ".join(f"{k} {v}" for k, v in asdict(meta.nms).items())
    for record in meta.history:
        for site in record.options["sites"] if record.stage == "fold" else ():
            rest = f"kept, {site['kept']}" if site["kept"] else "folded"
            into = f" into {', '.join(site['into'])}" if site["into"] else ""
            facts.setdefault("folding", []).append(f"{site['layer']}: {rest}{into}")
    facts["history"] = [_stage(record) for record in meta.history]
    return facts


def _of_engine(artifact: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a passport tells, in words and as it is, of the plan that it belongs to."""
    from yolor_deploy.cli.build_engine import builder_text, tf32_text  # noqa: PLC0415 - late
    from yolor_deploy.core.describe import batch_text  # noqa: PLC0415 - beside its use
    from yolor_deploy.core.passport import Passport  # noqa: PLC0415 - beside its use

    passport = Passport.read(artifact.path)
    passport.require_plan(artifact)
    facts = _of_artifact(artifact)
    history = facts.pop("history")
    facts["engine"] = builder_text(passport.builder)
    facts["plan"] = f"{passport.plan_bytes:,} bytes, sha256 {passport.plan_sha256}, as it was built"
    facts["built from"] = f"sha256 {passport.source_sha256}"
    facts["profiles"] = [f"batch {batch_text(batch)}" for batch in passport.profiles]
    for name, tensors in (("plan inputs", passport.inputs), ("plan outputs", passport.outputs)):
        facts[name] = [
            f"{key}: {tensor.dtype} {list(tensor.shape)}" for key, tensor in tensors.items()
        ]
    facts["detections by"] = passport.nms or "none"
    if passport.plugin:
        facts["plugin"] = f"version {passport.plugin.version}, sha256 {passport.plugin.sha256}"
    facts["TF32"] = tf32_text(is_on=bool(passport.options.get("tf32")))
    facts["history"] = history
    return facts, passport.to_json()


def _in_short(value: Any) -> str:
    """Return a value on one line; of a long list or table, how many entries it has."""
    is_long = isinstance(value, list | dict) and len(value) > _MOST_ENTRIES
    return f"({len(value)})" if is_long else str(value)


def _stage(record: Any) -> str:
    own = {k: v for k, v in record.options.items() if k not in {"sites", "facts"}}
    plain = {**record.options.get("facts", {}), **own}
    options = ", ".join(f"{key} {_in_short(v)}" for key, v in plain.items() if v is not None)
    versions = ", ".join(f"{name} {version}" for name, version in record.versions.items())
    source = f"; input sha256 {record.input_sha256}" if record.input_sha256 else ""
    return f"{record.stage}: {options}{source} ({versions})".replace(":  (", ": (")

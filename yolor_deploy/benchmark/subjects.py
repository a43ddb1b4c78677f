"""Artifacts that are measured: found or made, planted, opened, described."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from yolor_deploy.backends import instruments_for, open_in_turns, read_artifact
from yolor_deploy.benchmark.inputs import BenchInput, drawn_input, images_input
from yolor_deploy.benchmark.limits import (
    is_made,
    is_plantable,
    is_published,
    require_batch,
    require_density_of_use,
    require_memory,
    require_published_classes,
    require_recipe,
    require_subjects,
)
from yolor_deploy.benchmark.made import Made, made_model, make_folder, recipe_of
from yolor_deploy.benchmark.options import BenchConfig, Recipe
from yolor_deploy.benchmark.planting import Density, plant_artifact, planted_density
from yolor_deploy.core.artifact import Artifact, sha256_of_file
from yolor_deploy.core.errors import YolorDeployError
from yolor_deploy.core.runtime import Array, Instruments, RawOutput, Session
from yolor_deploy.core.spec import NmsConfig
from yolor_deploy.measure.latency.record import Inputs, Subject
from yolor_deploy.measure.latency.sampling import Work
from yolor_deploy.planting import STAGE as PLANTED
from yolor_deploy.stage_timer import Note

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class OpenSubject:
    """An artifact that is loaded and can be timed.

    Attributes:
        name: In tables, unique.
        artifact: What was loaded.
        sha256: Of its file.
        session: That runs it.
        instruments: Of the session.
        input: What it is run on.
        notes: What limits the result.
    """

    name: str
    artifact: Artifact
    sha256: str
    session: Session
    instruments: Instruments
    input: BenchInput
    notes: list[str] = field(default_factory=list)
    _has_stages: bool = True
    _memory_bytes: dict[str, int] | None = None
    _outputs: dict[int, RawOutput] = field(default_factory=dict)
    _current: int = 0

    def work(self) -> Work:
        """Return what is timed."""
        return Work(self.name, self._prepare, self._run, self._run_stages)

    def release_stages(self) -> None:
        """Free what was loaded to time stages; more is loaded if they are timed again."""
        self.instruments.close()
        self.instruments = instruments_for(self.session)

    def close(self) -> None:
        """Free what was opened."""
        try:
            self.instruments.close()
        finally:
            self.session.close()
            self._outputs.clear()

    def described(self) -> Subject:
        """Return what is known of it, without samples; after its runs also what they found."""
        meta = self.artifact.meta
        names = "\n".join(meta.spec.class_names).encode()
        if self._memory_bytes is None:  # some read the whole file for it
            self._memory_bytes = dict(self.instruments.memory_bytes())
        return Subject(
            name=self.name,
            path=str(self.artifact.path),
            sha256=self.sha256,
            kind=meta.kind,
            variant=meta.spec.variant,
            family=meta.spec.family,
            precision=meta.precision,
            num_classes=meta.spec.num_classes,
            class_names_sha256=hashlib.sha256(names).hexdigest(),
            input=asdict(meta.spec.input),
            output=meta.output,
            nms=asdict(meta.nms) if meta.nms else None,
            random_weights=meta.spec.random_weights,
            history=tuple(json.loads(meta.to_json())["history"]),
            conditions=self.instruments.conditions(),
            inputs=self._inputs(),
            clock=self.instruments.clock,
            memory_bytes=self._memory_bytes,
            notes=tuple(self.notes),
        )

    def _prepare(self, number: int) -> Array:
        self._current = number % self.input.batches
        return self.input.preprocess(self._current)

    def _run(self, images: Array) -> None:
        self._outputs[self._current] = self.session.run(images)

    def _run_stages(self, images: Array) -> Mapping[str, float]:
        """Run with timed stages; where that fails it is noted, and not tried again."""
        if not self._has_stages:
            return {}
        try:
            stages, _ = self.instruments.run_stages(images)
        except (YolorDeployError, OSError, MemoryError) as error:
            problem = error.problem if isinstance(error, YolorDeployError) else repr(error)
            self._has_stages = False
            self.notes.append(f"stages not timed: {problem}")
            return {}
        return stages

    def _inputs(self) -> Inputs:
        planted = planted_density(self.artifact)
        return Inputs(
            kind=self.input.kind,
            count=self.input.batches,
            planted=planted is not None,
            asked_candidates=planted.candidates if planted else None,
            asked_objects=planted.objects if planted else None,
            candidates=self._planted_candidates(),
            objects=self._objects(),
            source=self.input.source,
        )

    def _planted_candidates(self) -> tuple[int, ...] | None:
        """Return what was counted when it was planted, if the first batch is of these pictures."""
        for record in reversed(self.artifact.meta.history):
            if record.stage == PLANTED:
                planted = (record.options.get("pictures"), record.options.get("seed"))
                found = record.options.get("found_candidates")
                is_same = planted == (self.input.kind, self.input.seed)
                return tuple(map(int, found)) if found and is_same else None
        return None

    def _objects(self) -> tuple[int, ...] | None:
        """Return the detections per image of the batches that were run."""
        if self.artifact.meta.output != "detections" or not self._outputs:
            return None
        counts = [self._outputs[batch]["num_detections"] for batch in sorted(self._outputs)]
        return tuple(int(count) for batch in counts for count in batch.reshape(-1))


def open_subjects(config: BenchConfig, *, note: Note = logger.info) -> list[OpenSubject]:
    """Open all that is to be measured, the reference last; what is missing is made.

    Raises:
        YolorDeployError: As of reading, making and opening artifacts; none stays open.
    """
    require_subjects(config)
    paths = _paths(config, note)
    artifacts = [read_artifact(path, trust=config.trust) for path in paths]
    for artifact in artifacts:
        require_batch(artifact, config.settings.batch)
    require_density_of_use(config, artifacts)
    artifacts = [_planted(artifact, config, note) for artifact in artifacts]
    require_memory(artifacts, config.settings.batch, config.device)
    opened: list[OpenSubject] = []
    try:
        for name, artifact in zip(_names(config, artifacts), artifacts, strict=True):
            note(f"opening {artifact.path.name}")
            opened.append(_opened(name, artifact, config))
    except BaseException:
        for subject in opened:
            subject.close()
        raise
    return opened


def _paths(config: BenchConfig, note: Note) -> list[Path]:
    subjects = config.all_subjects
    first = next((text for text in subjects if not is_published(text)), None)
    like = read_artifact(Path(first), trust=config.trust) if first else None
    if like is not None and first != subjects[-1] and not config.allow_different_work:
        require_published_classes(like, [text for text in subjects if is_published(text)])
    own = recipe_of(like) if like is not None and is_made(config) else Recipe()
    recipe = config.recipe.completed_by(own)
    require_recipe(config, recipe)
    made = _made(config, like, recipe)
    return [
        made_model(text, made, note=note) if is_published(text) else Path(text) for text in subjects
    ]


def _made(config: BenchConfig, like: Artifact | None, recipe: Recipe) -> Made:
    """Return how models of names are made: like the first artifact that was given."""
    nms = like.meta.nms if like and like.meta.nms else NmsConfig()
    density = config.density or (planted_density(like) if like else None) or Density()
    return Made(config.work, recipe, density, config.settings.batch, nms, config.seed)


def _planted(artifact: Artifact, config: BenchConfig, note: Note) -> Artifact:
    """Return a model of random weights with a head that finds something; any other as it is."""
    if not is_plantable(artifact):
        return artifact
    meta = artifact.meta
    sha256 = sha256_of_file(artifact.path)
    density = config.density or Density()
    words = [artifact.path.stem, sha256[:8], _text_of(density), f"seed{config.seed}"]
    output = config.work / f"{'.'.join(words)}.onnx"
    if output.is_file():
        return Artifact.read(output)
    note(f"planting {density.candidates} candidates in {artifact.path.name}")
    make_folder(config.work)
    plant_artifact(
        artifact,
        density,
        drawn_input(meta.spec, batch=meta.spec.input.batch.minimum, count=1, seed=config.seed),
        output,
    )
    return Artifact.read(output)


def _opened(name: str, artifact: Artifact, config: BenchConfig) -> OpenSubject:
    spec, batch = artifact.meta.spec, config.settings.batch
    made = (
        images_input(config.images, spec, batch=batch)
        if config.images
        else drawn_input(spec, batch=batch, seed=config.seed)
    )
    session = open_in_turns(artifact, device=config.device, trust=config.trust)
    try:
        instruments = instruments_for(session)
    except BaseException:
        session.close()
        raise
    subject = OpenSubject(name, artifact, sha256_of_file(artifact.path), session, instruments, made)
    if spec.random_weights and not planted_density(artifact):
        subject.notes.append(
            "random weights whose head was not biased: what its post-processing has to do is "
            "arbitrary"
        )
    return subject


def _names(config: BenchConfig, artifacts: Sequence[Artifact]) -> list[str]:
    """Return a short name for each: as it was given, the file's stem, numbered where equal."""
    given = config.all_subjects
    names: list[str] = []
    for text, artifact in zip(given, artifacts, strict=True):
        name = text if is_published(text) else artifact.path.stem
        if name in names and Path(text) not in map(Path, given[: len(names)]):
            name = f"{artifact.path.parent.name}/{name}"  # another file of that name
        number = 2
        unique = name
        while unique in names:
            unique = f"{name} ({number})"
            number += 1
        names.append(unique)
    return names


def _text_of(density: Density) -> str:
    return f"{density.candidates}-{density.objects}"

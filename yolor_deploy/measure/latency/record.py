"""All that a benchmark measured, as it is kept: samples, conditions, machine. Nothing derived.

``bench --json`` writes it, ``bench --replay`` reads it, and every table and picture comes from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from yolor_deploy.core.runtime import Clock, LayerTime, Peak, RunConditions, SelfTest

KIND = "yolor_deploy.bench"
FORMAT = 1
StoppedBy = Literal["noise", "samples", "timeout", "interrupted", "running"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What a benchmark was told.

    Attributes:
        noise_target: Half the width of the 95 % interval of the median, as a part of the median, at
            which sampling stops.
        min_samples: Of each subject, at least.
        max_samples: Of each subject, at most.
        time_limit_s: Of sampling, all subjects together. The warm-up comes before it, and takes at
            most three tenths of it.
        warmup_s: Least time of the warm-up of each subject.
        batch: Images a run.
        streams: Sessions that run at once in the measurement of throughput; empty for none.
        reference: Name of the subject that ratios are taken against; None for the last one.
    """

    noise_target: float = 0.01
    min_samples: int = 20
    max_samples: int = 10_000
    time_limit_s: float = 60.0
    warmup_s: float = 1.0
    batch: int = 1
    streams: tuple[int, ...] = ()
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class GpuCondition:
    """A GPU at one moment, as NVML tells; None for what it does not tell.

    Attributes:
        sm_clock_mhz: Of the multiprocessors.
        memory_clock_mhz: Of the memory.
        temperature_c: Degrees Celsius.
        power_w: Watts drawn.
        power_limit_w: Watts allowed.
        throttle_reasons: Names, such as ``sw_power_cap``; ``gpu_idle`` is none.
        other_processes: Process ids that compute on it, without ours.
        graphics_processes: Process ids that only draw on it, such as a desktop's, without ours.
        utilisation: 0..1, over the last fraction of a second.
        ecc_errors: Uncorrected memory errors since the driver was loaded.
        energy_j: Joules drawn since the driver was loaded.
        memory_used_bytes: By all processes.
    """

    sm_clock_mhz: float | None = None
    memory_clock_mhz: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    throttle_reasons: tuple[str, ...] = ()
    other_processes: tuple[int, ...] = ()
    graphics_processes: tuple[int, ...] = ()
    utilisation: float | None = None
    ecc_errors: int | None = None
    energy_j: float | None = None
    memory_used_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class CpuCondition:
    """The processor at one moment; None for what the system does not tell.

    Attributes:
        frequency_mhz: Mean over the cores of this process.
        governor: Such as ``performance``; of the first core.
        load: Load average over one minute.
        busy_others: Part of the machine's core time, since the moment before, that was spent by
            other processes than this one and its children: in cores.
        steal: Cores taken by the hypervisor since the moment before.
        throttled_s: Seconds that the container's quota has stopped this process for, in total.
        temperature_c: Degrees Celsius, the highest sensor.
        on_battery: Whether the machine runs on its battery.
    """

    frequency_mhz: float | None = None
    governor: str | None = None
    load: float | None = None
    busy_others: float | None = None
    steal: float | None = None
    throttled_s: float | None = None
    temperature_c: float | None = None
    on_battery: bool | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """The machine at one moment.

    Attributes:
        at_s: Seconds since the benchmark began.
        phase: ``before`` the first sample, ``during``, or ``after`` the last.
        cpu: The processor.
        gpu: The GPU in use; None where none is.
    """

    at_s: float
    phase: Literal["before", "during", "after"]
    cpu: CpuCondition
    gpu: GpuCondition | None = None


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """What does not change of a GPU; None for what is not known.

    Attributes:
        name: As the driver calls it.
        uuid: Of the card.
        driver: Version.
        cuda: Newest CUDA that the driver runs, such as ``13.0``.
        compute_capability: Such as ``9.0``.
        memory_bytes: Of its own.
        max_sm_clock_mhz: Highest clock of the multiprocessors.
        max_memory_clock_mhz: Highest clock of the memory.
        ecc: Whether error correction is on.
        mig: Whether the card is divided.
    """

    name: str
    uuid: str | None = None
    driver: str | None = None
    cuda: str | None = None
    compute_capability: str | None = None
    memory_bytes: int | None = None
    max_sm_clock_mhz: float | None = None
    max_memory_clock_mhz: float | None = None
    ecc: bool | None = None
    mig: bool | None = None


@dataclass(frozen=True, slots=True)
class Inputs:
    """What was run.

    Attributes:
        kind: ``images`` given by the user, or ``drawn`` pictures of ours.
        count: Different batches, which are rotated.
        planted: Whether the head was biased such that the numbers asked for come out.
        asked_candidates: Per image; None unless planted.
        asked_objects: Per image; None unless planted.
        candidates: Per image of the first batch, as counted when they were planted; None where
            none were, or in other pictures.
        objects: Detections per image of the batches, in their order.
        source: Where the images are from.
    """

    kind: Literal["images", "drawn"]
    count: int
    planted: bool
    asked_candidates: int | None
    asked_objects: int | None
    candidates: tuple[int, ...] | None
    objects: tuple[int, ...] | None
    source: str


@dataclass(frozen=True, slots=True)
class Throughput:
    """Runs back to back in several sessions at once.

    Attributes:
        streams: Sessions, one thread each.
        batch: Images a run.
        finished_s: When each run ended, seconds since the start, all sessions together, sorted.
    """

    streams: int
    batch: int
    finished_s: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Energy:
    """Energy of runs back to back, of the whole card.

    Attributes:
        joules: Drawn.
        seconds: Over which.
        images: Run in that time.
        idle_w: Watts before it, for comparison; None if not known.
    """

    joules: float
    seconds: float
    images: int
    idle_w: float | None


@dataclass(frozen=True, slots=True)
class DensityPoint:
    """Time of the NMS alone at a number of candidates.

    Attributes:
        candidates: Planted per image.
        objects: That were left of them.
        samples_ms: In the order measured.
    """

    candidates: int
    objects: int
    samples_ms: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class LayerCost:
    """What one node of the graph has to compute and to move, and what was measured of it.

    Attributes:
        name: Of the node.
        op: Operator.
        flops: Multiplications and additions, one batch.
        num_bytes: Read and written at least once, one batch: inputs, weights, outputs.
        ms: By the runtime's profile; None where no entry of it has this name.
    """

    name: str
    op: str
    flops: int
    num_bytes: int
    ms: float | None


@dataclass(frozen=True, slots=True)
class Subject:
    """One artifact, and all that was measured of it.

    Attributes:
        name: In tables; unique in a record.
        path: Of the artifact.
        sha256: Of that file.
        kind: ``model`` or ``engine``.
        variant: Published name, or ``custom``.
        family: Of the detector.
        precision: Such as ``fp16``.
        num_classes: Of the detector.
        class_names_sha256: Of the names joined by line breaks.
        input: Height, width, dtype, layout: ``InputSpec`` as JSON.
        output: What it ends in.
        nms: ``NmsConfig`` as JSON; None unless it detects.
        random_weights: Whether its weights were drawn.
        history: ``StageRecord`` as JSON, the model's hash included.
        conditions: How it ran.
        inputs: What it was run on.
        clock: Of ``stages``.
        warmup_ms: Runs before the samples, in their order.
        warmup_settled: Whether times had settled when sampling began.
        at_s: When each sample began, seconds since the benchmark began.
        samples: By what they are of, one list each as long as ``at_s``, milliseconds by the host's
            clock: ``preprocess`` (letterbox and tensor, of decoded pixels) and ``run`` (from images
            in host memory to outputs in host memory, everything in between included).
        stage_at_s: When each sample of ``stages`` began.
        stages: By stage, milliseconds, one list each as long as ``stage_at_s``: runs of their own,
            with every stage timed apart.
        stopped_by: Why sampling ended.
        throughput: Saturated runs.
        memory_bytes: By kind.
        energy: None where it was not measured.
        layers: None where they were not counted.
        profile: The runtime's own; empty if it was not taken.
        density: The NMS alone; empty if it was not measured.
        peak: Of the machine in this precision; None if it was not measured.
        self_test: Of ``clock``; None if it was not made.
        notes: What limits the result.
    """

    name: str
    path: str
    sha256: str
    kind: Literal["model", "engine"]
    variant: str
    family: str
    precision: str
    num_classes: int
    class_names_sha256: str
    input: Mapping[str, Any]
    output: str
    nms: Mapping[str, Any] | None
    random_weights: bool
    history: tuple[Mapping[str, Any], ...]
    conditions: RunConditions
    inputs: Inputs
    clock: Clock
    warmup_ms: tuple[float, ...] = ()
    warmup_settled: bool = False
    at_s: tuple[float, ...] = ()
    samples: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    stage_at_s: tuple[float, ...] = ()
    stages: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    stopped_by: StoppedBy = "running"
    throughput: tuple[Throughput, ...] = ()
    memory_bytes: Mapping[str, int] = field(default_factory=dict)
    energy: Energy | None = None
    layers: tuple[LayerCost, ...] | None = None
    profile: tuple[LayerTime, ...] = ()
    density: tuple[DensityPoint, ...] = ()
    peak: Peak | None = None
    self_test: SelfTest | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """One benchmark.

    Attributes:
        version: Of yolor-deploy.
        command: As it was called.
        started: ISO 8601 with time zone.
        settings: What it was told.
        environment: ``measure.environment.Environment`` as JSON.
        gpu: The GPU in use; None where none is.
        conditions: The machine from before to after, in order.
        overhead_us: What the harness adds to each sample: microseconds by kind, ``clock`` inside
            what is timed, ``sample`` around it. Subtracted nowhere.
        cache: Whether caches were warm: ``same`` artifact run after run, or ``interleaved``.
        subjects: The artifacts, in the order of each round.
        complete: Whether it came to its end.
        interrupted: Whether the user stopped it.
    """

    version: str
    command: tuple[str, ...]
    started: str
    settings: Settings
    environment: Mapping[str, Any]
    gpu: GpuFacts | None
    conditions: tuple[Condition, ...]
    overhead_us: Mapping[str, float]
    cache: Literal["same", "interleaved"]
    subjects: tuple[Subject, ...]
    complete: bool = False
    interrupted: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return plain values, with kind and format."""
        return {"kind": KIND, "format": FORMAT, **asdict(self)}

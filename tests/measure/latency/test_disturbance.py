"""What the machine did besides, told by conditions that are made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.measure.latency.series import clean_record, gpu_record, with_cpu, with_gpu
from yolor_deploy.measure.latency.disturbance import MACHINE_RULES
from yolor_deploy.measure.latency.record import Record
from yolor_deploy.measure.latency.summary import Finding

LAST = 11  # index of the moment after the last sample


def found_in(record: Record) -> list[Finding]:
    """Return the findings about the machine."""
    return [finding for rule in MACHINE_RULES for finding in rule(record)]


CASES = [
    pytest.param(
        with_gpu(gpu_record(), 4, throttle_reasons=("sw_power_cap", "applications_clocks_setting")),
        "throttled",
        "invalid",
        "the GPU throttled: sw_power_cap",
        id="gpu-throttled",
    ),
    pytest.param(
        with_cpu(clean_record(), LAST, throttled_s=2.0),
        "throttled",
        "invalid",
        "a CPU quota stopped the process for 0.5 s of 33 s",
        id="quota",
    ),
    pytest.param(
        with_cpu(clean_record(), LAST, throttled_s=1.51),
        "throttled",
        "warning",
        "a CPU quota stopped the process for 0.01 s of 33 s",
        id="quota-hardly",
    ),
    pytest.param(
        with_gpu(gpu_record(), 5, other_processes=(77, 12)),
        "foreign-process",
        "invalid",
        "others use the GPU: process 12, 77",
        id="gpu-shared",
    ),
    pytest.param(
        with_gpu(gpu_record(), 5, graphics_processes=(300,)),
        "foreign-process",
        "warning",
        "others draw on the GPU: 300",
        id="gpu-of-a-desktop",
    ),
    pytest.param(
        with_cpu(clean_record(), busy_others=0.5),
        "foreign-process",
        "invalid",
        "other processes took up to 0.5 cores, more than 0.25 at 10 of 11 moments",
        id="cpu-shared",
    ),
    pytest.param(
        with_cpu(clean_record(), 3, busy_others=0.3),
        "foreign-process",
        "invalid",
        "other processes took up to 0.3 cores, more than 0.25 at 1 of 11 moments",
        id="cpu-shared-once",
    ),
    pytest.param(
        with_cpu(clean_record(), LAST, steal=1.0),
        "foreign-process",
        "invalid",
        "the hypervisor took up to 1 cores, more than 0.25 at 1 of 11 moments",
        id="steal",
    ),
    pytest.param(
        with_cpu(gpu_record(), busy_others=4.0),
        "foreign-process",
        "warning",
        "other processes took up to 4 cores, more than 0.25 at 10 of 10 moments",
        id="cpu-of-a-gpu-run",
    ),
    pytest.param(
        with_gpu(gpu_record(), 6, sm_clock_mhz=1580.0),
        "clocks-changed",
        "warning",
        "the SM clock was 1580 MHz once, 1700 MHz in the median",
        id="clock-7-percent",
    ),
    pytest.param(
        with_gpu(gpu_record(), 6, sm_clock_mhz=1980.0),
        "clocks-changed",
        "invalid",
        "the SM clock was 1980 MHz once, 1700 MHz in the median",
        id="clock-16-percent",
    ),
    pytest.param(
        with_gpu(gpu_record(), LAST, ecc_errors=3),
        "ecc",
        "invalid",
        "1 memory errors that were not corrected",
        id="ecc",
    ),
    pytest.param(
        with_cpu(gpu_record(), 0, on_battery=True),
        "battery",
        "warning",
        "the machine ran on its battery",
        id="battery",
    ),
    pytest.param(
        with_cpu(clean_record(), governor="powersave"),
        "governor",
        "warning",
        "the governor of the CPU is powersave, not performance",
        id="governor",
    ),
]


@pytest.mark.parametrize(("record", "rule", "severity", "text"), CASES)
def test_rule_fires(record: Record, rule: str, severity: str, text: str) -> None:
    """It says what was seen, with its figure, and no other rule fires with it."""
    (found,) = found_in(record)

    assert (found.rule, found.severity, found.text) == (rule, severity, text)
    assert found.subject is None


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(clean_record(), id="cpu"),
        pytest.param(gpu_record(), id="gpu"),
        pytest.param(clean_record(conditions=()), id="not-watched"),
        pytest.param(
            with_gpu(gpu_record(), throttle_reasons=("gpu_idle", "applications_clocks_setting")),
            id="idle-and-locked-clocks",
        ),
        pytest.param(with_gpu(gpu_record(), 0, throttle_reasons=("hw_slowdown",)), id="before"),
        pytest.param(with_gpu(gpu_record(), 0, LAST, sm_clock_mhz=210.0), id="idle-clocks-around"),
        pytest.param(with_gpu(gpu_record(), 6, sm_clock_mhz=1640.0), id="clock-4-percent"),
        pytest.param(with_gpu(gpu_record(), sm_clock_mhz=None, ecc_errors=None), id="silent-nvml"),
        pytest.param(with_cpu(clean_record(), busy_others=0.2, steal=0.1), id="little-taken"),
        pytest.param(with_cpu(clean_record(), 0, busy_others=2.0), id="taken-before"),
        pytest.param(with_cpu(clean_record(), busy_others=None, throttled_s=None), id="silent-cpu"),
        pytest.param(with_cpu(gpu_record(), governor="powersave"), id="governor-of-a-gpu-run"),
    ],
)
def test_near_miss_is_not_found(record: Record) -> None:
    """What is harmless, before the samples, or not known is left alone."""
    assert found_in(record) == []


def test_quota_that_stopped_the_process_before_is_not_counted() -> None:
    """Loading and building are not what is measured."""
    record = clean_record()
    first, *others = record.conditions
    started = replace(first, at_s=-5.0, cpu=replace(first.cpu, throttled_s=0.0))

    assert found_in(replace(record, conditions=(started, first, *others))) == []


def test_rare_disturbance_is_a_warning() -> None:
    """One moment in more than twenty reaches neither median nor p90."""
    record = with_cpu(clean_record(), 3, busy_others=2.0)
    quiet = clean_record().conditions[1]
    longer = (*record.conditions[:LAST], *(replace(quiet, at_s=40.0 + i) for i in range(20)))

    (found,) = found_in(replace(record, conditions=longer))

    assert (found.rule, found.severity) == ("foreign-process", "warning")


def test_short_run_is_judged_by_the_moments_around_it() -> None:
    """Where no moment lies between samples, those before and after have to do."""
    record = with_gpu(gpu_record(), LAST, throttle_reasons=("hw_thermal_slowdown",))
    around = (record.conditions[0], record.conditions[LAST])

    (found,) = found_in(replace(record, conditions=around))

    assert found.text == "the GPU throttled: hw_thermal_slowdown"


def with_extras(record: Record, *changes: dict[str, Any], of: str = "gpu") -> Record:
    """Return a record with a moment after the last for each of these changes."""
    last = record.conditions[LAST]
    more = [
        replace(last, at_s=last.at_s + 3.0 * i, **{of: replace(getattr(last, of), **change)})
        for i, change in enumerate(changes, start=1)
    ]
    return replace(record, conditions=(*record.conditions, *more))


EXTRAS = [
    pytest.param(
        with_extras(gpu_record(), {}, {"throttle_reasons": ("hw_thermal_slowdown",)}),
        "throttled",
        "warning",
        "the GPU throttled while something else than latency was measured: hw_thermal_slowdown",
        id="gpu-too-hot",
    ),
    pytest.param(
        with_extras(gpu_record(), {}, {"throttle_reasons": ("sw_power_cap",)}),
        "throttled",
        "warning",
        "the GPU throttled while something else than latency was measured: sw_power_cap",
        id="gpu-at-its-power-limit",
    ),
    pytest.param(
        with_gpu(gpu_record(), LAST, throttle_reasons=("sw_power_cap",)),
        "throttled",
        "invalid",
        "the GPU throttled: sw_power_cap",
        id="gpu-right-after-the-samples",
    ),
    pytest.param(
        with_extras(gpu_record(), {"other_processes": (12,)}, {}),
        "foreign-process",
        "invalid",
        "others use the GPU: process 12",
        id="gpu-shared",
    ),
    pytest.param(
        with_extras(clean_record(), {"busy_others": 1.0}, {}, of="cpu"),
        "foreign-process",
        "invalid",
        "other processes took up to 1 cores, more than 0.25 at 1 of 13 moments",
        id="cpu-shared",
    ),
    pytest.param(
        with_extras(clean_record(), {"throttled_s": 1.5}, {"throttled_s": 3.5}, of="cpu"),
        "throttled",
        "warning",
        "a CPU quota stopped the process for 2 s of 6 s while something else than latency was "
        "measured",
        id="quota",
    ),
]


@pytest.mark.parametrize(("record", "rule", "severity", "text"), EXTRAS)
def test_disturbed_extras_are_found(record: Record, rule: str, severity: str, text: str) -> None:
    """Energy, saturation and peaks are measured later; throttling there is not that of samples."""
    (found,) = found_in(record)

    assert (found.rule, found.severity, found.text) == (rule, severity, text)


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(
            with_extras(gpu_record(), {"sm_clock_mhz": 900.0}, {"sm_clock_mhz": 1980.0}),
            id="clocks-under-other-loads",
        ),
        pytest.param(
            with_extras(clean_record(), {"load": 64.0, "busy_others": 0.1}, of="cpu"),
            id="our-own-load",
        ),
    ],
)
def test_what_extras_do_themselves_is_not_found(record: Record) -> None:
    """They use all cores, and change the clocks of a GPU: that is their work."""
    assert found_in(record) == []


def test_quiet_extras_do_not_hide_disturbed_samples() -> None:
    """One of eleven moments is too many, however many follow."""
    record = with_extras(with_cpu(clean_record(), 3, busy_others=2.0), *[{}] * 30, of="cpu")

    (found,) = found_in(record)

    assert (found.rule, found.severity) == ("foreign-process", "invalid")

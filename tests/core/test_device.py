"""Devices as a user says them."""

from __future__ import annotations

import pytest

from yolor_deploy.core.device import RuntimeDevice
from yolor_deploy.core.errors import BackendUnavailableError


@pytest.mark.parametrize(
    ("text", "device", "name"),
    [
        ("cpu", RuntimeDevice("cpu"), "cpu"),
        ("cuda", RuntimeDevice("cuda", 0), "cuda:0"),
        ("cuda:0", RuntimeDevice("cuda", 0), "cuda:0"),
        ("cuda:12", RuntimeDevice("cuda", 12), "cuda:12"),
    ],
)
def test_parse_reads_a_device(text: str, device: RuntimeDevice, name: str) -> None:
    """What it reads is read again from its name."""
    parsed = RuntimeDevice.parse(text)

    assert parsed == device
    assert parsed.name == name
    assert RuntimeDevice.parse(parsed.name) == device


@pytest.mark.parametrize(
    "text",
    ["", "gpu0", "CUDA", "cuda:", "cuda:-1", "cuda:01", "cuda:1 ", "cuda:٣", "cuda:1000", "cpu:0"],
)
def test_parse_refuses_anything_else(text: str) -> None:
    """The text is quoted, and what is expected is told."""
    with pytest.raises(BackendUnavailableError) as caught:
        RuntimeDevice.parse(text)

    assert caught.value.problem == f"{text!r} is not a device, expected cpu, cuda or cuda:N"
    assert caught.value.where == "--device"
    assert "cuda:0" in caught.value.hint

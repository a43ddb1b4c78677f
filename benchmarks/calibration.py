"""Time and memory of calibrating YOLOR-P6 at 1280 pixels, and what happens on an interrupt.

From the root of the repository::

    python -m benchmarks.calibration            # 100 images, some 15 minutes on two cores

``build --int8`` runs as a process of its own, is interrupted once as Ctrl-C does, and goes on. Its
memory is read twice a second; "extra" is what it has above the process that has only loaded the
model into ONNX Runtime. The weights are random: time and memory do not depend on them.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.process import ROOT, run, write_result

BOUND_EXTRA_BYTES = 3_000_000_000
_LOAD = """
import sys
from pathlib import Path
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.detector import open_session
open_session(Artifact.read(Path(sys.argv[1])))
"""


def write_images(folder: Path, count: int) -> None:
    """Write noisy pictures of blocks, 720 x 1280, the same for the same count."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        rng = np.random.default_rng(index)
        coarse = rng.integers(0, 256, (12, 20, 3)).repeat(60, axis=0)[:720].repeat(64, axis=1)
        noise = rng.integers(-30, 31, coarse.shape)
        picture = np.clip(coarse + noise, 0, 255).astype(np.uint8)
        Image.fromarray(picture).save(folder / f"{index:03d}.png")


def resident_bytes(pid: int) -> int:
    """Return the memory that a process has now; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    sizes = [int(line.split()[1]) for line in lines if line.startswith("VmRSS")]
    return 1024 * sizes[0] if sizes else 0


def watched(command: list[str], *, stop_after_s: float | None = None) -> dict[str, Any]:
    """Run a command, and read its memory twice a second.

    Args:
        command: To run.
        stop_after_s: Interrupt it then, as Ctrl-C does.
    """
    begin = time.perf_counter()
    samples = []
    with (
        tempfile.TemporaryFile("w+") as errors,
        tempfile.TemporaryFile("w+") as results,
        # A process that is started in the background has SIGINT ignored, and hands that on
        subprocess.Popen(
            command,
            stdout=results,
            stderr=errors,
            preexec_fn=_allow_interrupt,  # noqa: PLW1509
        ) as process,
    ):
        while process.poll() is None:
            samples.append(resident_bytes(process.pid))
            if stop_after_s and time.perf_counter() - begin > stop_after_s:
                process.send_signal(signal.SIGINT)
                stop_after_s = None
            time.sleep(0.5)
        errors.seek(0)
        results.seek(0)
        return {
            "exit_code": process.returncode,
            "wall_s": time.perf_counter() - begin,
            "rss_bytes_by_half_second": samples,
            "messages": errors.read()[-1000:],
            "stdout": results.read(),
        }


def _allow_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def main() -> int:
    """Run from the command line; 1 if the bound is missed or the interrupt lost images."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--folder", type=Path, default=ROOT / "out" / "calibration")
    given = parser.parse_args()
    folder = given.folder
    images, model = folder / "images", folder / "yolor-p6.onnx"
    write_images(images, given.images)
    cli = [sys.executable, "-m", "yolor_deploy"]
    if not model.exists():
        run([*cli, "export", "yolor-p6", "-o", str(model)])
    model.with_suffix(".calibration.npz").unlink(missing_ok=True)
    loaded = run([sys.executable, "-c", _LOAD, str(model)]).peak_rss_bytes
    output = folder / "yolor-p6.int8.onnx"
    output.unlink(missing_ok=True)
    command = [*cli, "build", str(model), "--int8", "--target", "tensorrt", "--json"]
    command += ["--calibration", str(images), "-o", str(output)]
    first = watched(command, stop_after_s=60)
    state = model.with_suffix(".calibration.npz")
    kept = len(_manifest(state)["images"])
    left = sorted(path.name for path in folder.iterdir())
    second = watched(command)
    done = len(_manifest(state)["images"])
    stages = json.loads(second.pop("stdout"))["seconds"] if second["exit_code"] == 0 else {}
    first.pop("stdout")
    rss = second["rss_bytes_by_half_second"]
    calibrating = rss[: int(2 * stages.get("calibrate", 0))] or rss
    thirds = [int(max(part)) for part in np.array_split(np.array(calibrating), 3)]
    extra = max(rss) - loaded
    results = {
        "images": done,
        "loaded_model_rss_bytes": loaded,
        "peak_extra_bytes": extra,
        "bound_extra_bytes": BOUND_EXTRA_BYTES,
        "peak_rss_by_third_of_calibration_bytes": thirds,
        "interrupted": {
            "exit_code": first["exit_code"],
            "images_kept": kept,
            "files_left": left,
        },
        "seconds_an_image": stages.get("calibrate", 0.0) / max(1, done - kept),
        "stages_s": stages,
        "first_run": first,
        "second_run": second,
    }
    write_result("calibration", "python -m benchmarks.calibration", results)
    print(f"{results['seconds_an_image']:.1f} s an image, {extra / 1e9:.2f} GB extra")
    was_interrupted = first["exit_code"] != 0 and 0 < kept < given.images
    is_good = extra <= BOUND_EXTRA_BYTES and done == given.images and was_interrupted
    return int(not is_good or second["exit_code"] != 0)


def _manifest(path: Path) -> Any:
    from dataclasses import asdict

    from yolor_deploy.calibration.file import read_calibration

    return asdict(read_calibration(path).manifest)


if __name__ == "__main__":
    sys.exit(main())

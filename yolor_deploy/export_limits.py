"""What an export refuses before it begins: sizes, batches and limits that cannot work."""

from __future__ import annotations

from yolor_deploy.core.errors import BuildError
from yolor_deploy.core.spec import DetectorSpec, NmsConfig

_MOST_ROWS = 1_000_000  # of detections of an image: 24 MB an image
_MOST_CANDIDATES = 2**31 - 1


def require_size(height: int, width: int, spec: DetectorSpec) -> None:
    """Refuse an input size that the strides do not divide.

    Raises:
        BuildError: With the nearest two sizes that would do.
    """
    stride = spec.max_stride
    for side in (height, width):
        if side < 1 or side % stride:
            below = max(side // stride, 1) * stride
            above = below + stride if side > below else below
            nearest = " and ".join(str(n) for n in dict.fromkeys((below, above)))
            raise BuildError(
                f"size {height}x{width}: {side} is not a multiple of {stride}, the largest stride "
                f"of {spec.variant}",
                where="--size",
                hint=f"the nearest are {nearest}",
            )


def require_memory(spec: DetectorSpec, *, available_bytes: int) -> None:
    """Refuse an input that cannot be run here, before the machine runs out of memory.

    Args:
        spec: With the size and the batch of the export.
        available_bytes: Memory of the machine; 0 if that is not known.

    Raises:
        BuildError: The smallest batch needs more than that.
    """
    image = spec.input
    batch = image.batch.minimum
    # The first maps of every model of these families are four times the image or more.
    needed = batch * image.height * image.width * 3 * 4 * 4
    if available_bytes and needed > available_bytes:
        raise BuildError(
            f"a batch of {batch} at {image.height}x{image.width} takes more than "
            f"{needed / 1e9:,.0f} GB, this machine has {available_bytes / 1e9:,.0f} GB",
            where="--batch, --size",
            hint="give a smaller size, or a range that begins lower, such as --batch 1:4:16",
        )


def require_limits(nms: NmsConfig) -> None:
    """Refuse post-processing limits that no runtime can hold.

    Raises:
        BuildError: With the largest number.
    """
    for name, most in (("max_detections", _MOST_ROWS), ("max_candidates", _MOST_CANDIDATES)):
        if getattr(nms, name) > most:
            raise BuildError(
                f"{name} is {getattr(nms, name)}, expected at most {most}",
                where=f"--{name.replace('_', '-')}",
                hint="give a smaller number",
            )

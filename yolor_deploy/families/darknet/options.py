"""Options of a cfg file that would change the result and are not carried out here.

darknet has options that the authors' PyTorch code refuses or leaves out; a model that was trained
with one of them would give other boxes. Options of training, and others that an inference does not
depend on, may be there.

Source: parser of AlexeyAB's darknet; the authors' cfg parsers.
"""

from __future__ import annotations

from dataclasses import replace

from yolor_deploy.families.darknet.cfg import Section

_CHANNEL_OPS = ("shift_channels", "control_channels", "select_channels", "alternate_channels")
_LINEAR = {"activation": "linear"}
_HARMLESS: dict[str, dict[str, str]] = {  # by kind and option: the value that changes nothing
    "convolutional": {
        "dilation": "1",
        **dict.fromkeys(("antialiasing", "coordconv", "flipped", "binary", "xnor"), "0"),
        **dict.fromkeys(("bin_output", "sway", "rotate", "stretch", "stretch_sway"), "0"),
    },
    "maxpool": {"maxpool_depth": "0", "antialiasing": "0"},
    "shortcut": _LINEAR,
    "sam": _LINEAR,
    "scale_channels": {**_LINEAR, "scale_wh": "0"},
    **{kind + form: _LINEAR for kind in _CHANNEL_OPS for form in ("", "_2d")},
    "upsample": {"scale": "1"},
    "route": {"groups": "1", "group_id": "0"},
    "reorg": {"stride": "2", "reverse": "0", "flatten": "0", "extra": "0"},
}


def require_known_options(section: Section) -> None:
    """Refuse an option that would change the result.

    Raises:
        CheckpointError: With the option and the value that it may have.
    """
    harmless = dict(_HARMLESS.get(section.kind, {}))
    if section.kind in {"convolutional", "maxpool"}:
        stride = section.options.get("stride", "1")
        harmless |= {"stride_x": stride, "stride_y": stride}
    if section.kind == "maxpool":
        harmless["padding"] = str(section.integer("size", section.integer("stride", 1)) - 1)
    if section.kind == "convolutional" and section.options.get("pad", "0") == "0":
        harmless["padding"] = "0"  # with pad=1 darknet does not read it
    for option, value in harmless.items():
        given = section.options.get(option, value)
        if not _is_equal(given, value):
            raise section.error(
                f"[{section.kind}] with {option}={given} is not supported",
                f"only {option}={value} is, or no such line",
            )
    if "share_index" in section.options:
        raise section.error(
            "[convolutional] with share_index= is not supported", "give each layer its own weights"
        )


def _is_equal(given: str, value: str) -> bool:
    try:
        return given == value or float(given) == float(value)
    except ValueError:
        return False


def without_early_sigmoid(sections: tuple[Section, ...]) -> tuple[Section, ...]:
    """Return the sections with heads as the authors' PyTorch code has them.

    darknet may take the sigmoid of the boxes in the last convolution (``activation=logistic``) and
    say so in ``new_coords=1``; with ``scale_x_y=2`` the boxes are those that the sigmoid of the
    decoding gives. The convolution is linear here.

    Raises:
        CheckpointError: A head decodes boxes in another way.
    """
    result = list(sections)
    for index, section in enumerate(sections):
        if section.kind != "yolo" or index == 0 or not section.integer("new_coords", 0, minimum=0):
            continue
        before = sections[index - 1]
        if before.options.get("activation") != "logistic":
            raise section.error(
                "new_coords=1 behind a layer with activation="
                f"{before.options.get('activation', 'linear')}",
                "give activation=logistic in the convolution before it, or leave new_coords out",
            )
        scale = section.floats("scale_x_y")[0] if "scale_x_y" in section.options else 1.0
        if scale != 2.0:  # noqa: PLR2004 - what the decoding of these families multiplies with
            raise section.error(
                f"new_coords=1 with scale_x_y={scale:g} decodes boxes in another way",
                "only scale_x_y=2.0 is supported",
            )
        options = {**before.options, "activation": "linear"}
        result[index - 1] = replace(before, options=options)
    return tuple(result)

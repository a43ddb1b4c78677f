"""What bad input gets: exit code 1, one message of three parts, no traceback, no new file."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.attacks.hostile import Layout, Storage, archive, pickled, saved
from tests.cli.invoke import assert_refused, invoke
from tests.exports import names_in
from tests.tiny_checkpoints import TinyCheckpoint, save, tiny_cfg, write_tiny_checkpoint

Spoil = Callable[[TinyCheckpoint], None]


@pytest.fixture
def tiny(tmp_path: Path) -> TinyCheckpoint:
    """A checkpoint of a few layers, with its cfg."""
    return write_tiny_checkpoint(tmp_path)


def refused(tiny: TinyCheckpoint, *arguments: object, words: tuple[str, ...]) -> None:
    """Export, and check that it is refused with these words and leaves the folder as it was."""
    before = {path: path.read_bytes() for path in tiny.path.parent.iterdir() if path.is_file()}
    names = names_in(tiny.path.parent)

    result = invoke("export", *arguments)

    assert_refused(result, *words)
    assert names_in(tiny.path.parent) == names
    assert all(path.read_bytes() == content for path, content in before.items())


def content(data: bytes) -> Spoil:
    """Put these bytes in the place of the checkpoint."""

    def spoil(tiny: TinyCheckpoint) -> None:
        tiny.path.write_bytes(data)

    return spoil


def truncated(tiny: TinyCheckpoint) -> None:
    """Cut the checkpoint in its middle."""
    data = tiny.path.read_bytes()
    tiny.path.write_bytes(data[: len(data) // 2])


def missing(tiny: TinyCheckpoint) -> None:
    """Remove the checkpoint."""
    tiny.path.unlink()


def torchscript() -> bytes:
    """Return an archive with the entries that torch.jit.save writes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as packed:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py", "version"):
            packed.writestr(f"traced/{name}", b"\x80\x02}.")
    return out.getvalue()


def zip_bomb() -> bytes:
    """Return an archive of 16 MB of zeros in a few kilobytes."""
    model = {"model": {"module_list.0.Conv2d.weight": Layout(Storage(numel=1 << 22))}}
    zeros = {"data/0": bytes(1 << 24)}
    return archive(pickled(model), zeros, compression=zipfile.ZIP_DEFLATED)


def oversized_tensor() -> bytes:
    """Return an archive whose tensor claims more values than the file has bytes."""
    layout = Layout(Storage(numel=1 << 40), size=(1 << 20, 1 << 20), stride=(1 << 20, 1))
    return archive(pickled({"model": {"module_list.0.Conv2d.weight": layout}}), {"data/0": b"1234"})


class Evil:
    """Runs a command where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch evil",)


def other_family(names: str) -> bytes:
    """Return a checkpoint with tensors of these names."""
    return saved({"model": {name: torch.ones(1) for name in names.split()}})


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        pytest.param(
            content(b"%PDF-1.7 no model\n" * 9), ("not a checkpoint",), id="no-checkpoint"
        ),
        pytest.param(content(b""), ("empty file",), id="empty"),
        pytest.param(truncated, ("tiny.pt", "again"), id="truncated"),
        pytest.param(content(torchscript()), ("TorchScript archive",), id="torchscript"),
        pytest.param(content(zip_bomb()), ("compressed entry",), id="zip-bomb"),
        pytest.param(content(oversized_tensor()), ("tiny.pt", "bytes"), id="oversized-tensor"),
        pytest.param(content(saved({"model": Evil()})), ("posix.system",), id="evil-pickle"),
        pytest.param(content(saved({"epoch": 3})), ("no model inside",), id="no-model"),
        pytest.param(
            content(other_family("model.22.dfl.conv.weight")), ("weights of YOLOv8",), id="yolov8"
        ),
        pytest.param(
            content(other_family("model.0.conv.conv.weight")), ("weights of YOLOv5",), id="yolov5"
        ),
        pytest.param(
            content(other_family("model.105.rbr_dense.0.weight")), ("YOLOv7",), id="yolov7"
        ),
        pytest.param(missing, ("no such file",), id="missing"),
    ],
)
def test_bad_checkpoint_is_refused(
    tiny: TinyCheckpoint, spoil: Spoil, words: tuple[str, ...]
) -> None:
    """Each kind of file has its own words, and nothing of it was run."""
    spoil(tiny)

    refused(tiny, *tiny.options, words=(*words, "tiny.pt"))


@pytest.mark.parametrize(
    ("value", "words"),
    [(float("nan"), "1 NaN and 0 infinite"), (float("inf"), "0 NaN and 1 infinite")],
)
def test_weight_that_is_not_finite_is_named(tiny: TinyCheckpoint, value: float, words: str) -> None:
    """A training that diverged is told by its first bad tensor."""
    tiny.tensors["module_list.1.BatchNorm2d.running_var"][3] = value
    save(tiny.path, tiny.tensors)

    refused(tiny, *tiny.options, words=("module_list.1.BatchNorm2d.running_var", words))


def test_cfg_that_does_not_match_names_layer_and_shapes(tiny: TinyCheckpoint) -> None:
    """The first tensor that does not fit is shown with both shapes."""
    tiny.cfg.write_text(tiny_cfg(width=16), encoding="utf-8")

    refused(
        tiny,
        *tiny.options,
        words=("module_list.0.Conv2d.weight", "[8, 3, 3, 3]", "[16, 3, 3, 3]", "tiny.cfg"),
    )


def test_cfg_of_another_class_count_names_layer_and_shapes(tiny: TinyCheckpoint) -> None:
    """Another number of classes is another number of filters of the heads."""
    tiny.cfg.write_text(tiny_cfg(num_classes=4), encoding="utf-8")

    refused(
        tiny,
        *tiny.options,
        words=("module_list.4.implicit", "[1, 8, 1, 1]", "[1, 9, 1, 1]", "number of classes"),
    )


def test_cfg_whose_classes_contradict_its_filters_is_refused(tiny: TinyCheckpoint) -> None:
    """A cfg that was edited in one of two places is told where."""
    text = tiny_cfg().replace("classes=3", "classes=80", 1)
    tiny.cfg.write_text(text, encoding="utf-8")

    refused(tiny, *tiny.options, words=("classes", "80", "3", "tiny.cfg"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["--cfg", "none.cfg"], ("none.cfg", "yolor_csp"), id="missing"),
        pytest.param(["--cfg", "{pt}"], ("cannot read the darknet description",), id="binary"),
        pytest.param(["--cfg", "{folder}"], ("Is a directory",), id="folder"),
        pytest.param([], ("match no published model", "--cfg FILE"), id="not-given"),
        pytest.param(["--cfg", "yolor_csp"], ("module_list.",), id="published"),
    ],
)
def test_wrong_cfg_is_refused(
    tiny: TinyCheckpoint, arguments: list[str], words: tuple[str, ...]
) -> None:
    """Without the right description the weights say too little."""
    places = {"pt": tiny.path, "folder": tiny.path.parent}

    refused(tiny, tiny.path, *(text.format(**places) for text in arguments), words=words)


def test_weights_file_without_cfg_is_refused(tiny: TinyCheckpoint) -> None:
    """A .weights file has no names: the hint lists what --cfg takes."""
    path = tiny.path.with_name("model.weights")
    path.write_bytes(bytes([0, 0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0]) + bytes(8) + bytes(4 * 100))

    refused(tiny, path, words=("does not say which model", "--cfg FILE", "yolor_csp"))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(b"a\nb\n", ("2 class names, the model has 3 classes",), id="too-few"),
        pytest.param(b"a\nb\nc\nd\n", ("4 class names",), id="too-many"),
        pytest.param(b"", ("0 class names",), id="empty"),
        pytest.param(b"\xff\xfea\0", ("not UTF-8 text",), id="utf-16"),
        pytest.param(None, ("No such file",), id="missing"),
    ],
)
def test_wrong_names_are_refused(
    tiny: TinyCheckpoint, data: bytes | None, words: tuple[str, ...]
) -> None:
    """One name per class, as text."""
    names = tiny.path.with_name("names.txt")
    if data is not None:
        names.write_bytes(data)

    refused(tiny, *tiny.options, "--names", names, words=(*words, "names.txt"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--size", "100"], ("100 is not a multiple of 16", "96 and 112")),
        (["--size", "64x100"], ("size 64x100: 100 is not", "96 and 112")),
        (["--size", "100x64"], ("size 100x64: 100 is not", "96 and 112")),
        (["--size", "8"], ("8 is not a multiple of 16", "the nearest are 16")),
        (["--size", "0"], ("0 is not a multiple of 16",)),
        (["--size", "-64"], ("'-64' is not N or HxW",)),
        (["--size", "64x"], ("'64x' is not N or HxW",)),
        (["--size", "64x64x3"], ("'64x64x3' is not N or HxW",)),
        (["--size", "big"], ("'big' is not N or HxW",)),
        (["--size", "9" * 5000], ("is not N or HxW",)),
        (["--size", "640000x640000"], ("a batch of 1 at 640000x640000 takes more than",)),
        (["--batch", "0"], ("batch range 0:0:0 is not 1 <= MIN",)),
        (["--batch", "4:2:8"], ("batch range 4:2:8 is not",)),
        (["--batch", "1:2"], ("'1:2' is not N or MIN:OPT:MAX",)),
        (["--batch", "many"], ("'many' is not N",)),
        (["--batch", "-1"], ("'-1' is not N",)),
        (["--batch", "999999999"], ("a batch of 999999999 at 64x64 takes more than",)),
        (["--batch", "1:1:" + "9" * 5000], ("is not N or MIN:OPT:MAX",)),
        (["--output", "boxes"], ("'boxes' is not one of raw, predictions, detections",)),
        (["--input", "float16"], ("'float16' is not one of float32, uint8",)),
        (["--score-threshold", "1.5"], ("score_threshold is 1.5, expected 0 to 1",)),
        (["--score-threshold", "nan"], ("score_threshold is nan",)),
        (["--iou-threshold", "-0.1"], ("iou_threshold is -0.1",)),
        (["--max-detections", "0"], ("max_detections is 0, expected 1 or more",)),
        (["--max-detections", "9" * 25], ("expected at most 1000000",)),
        (["--max-candidates", "-5"], ("max_candidates is -5",)),
        (["--max-candidates", "9" * 25], ("expected at most 2147483647",)),
        (["--seed", "-1"], ("seed is -1, expected 0 to",)),
        (["--seed", "9" * 25], ("expected 0 to 9223372036854775807",)),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, list) else "",
)
def test_option_out_of_range_is_refused(
    tiny: TinyCheckpoint, options: list[str], words: tuple[str, ...]
) -> None:
    """The message names the option, what was given, and what would do."""
    refused(tiny, *tiny.options, *options, words=(*words, options[0]))


@pytest.mark.parametrize(
    ("name", "near"),
    [("yolor-d7", "yolor-d6"), ("yolov4_p8", "yolov4_p7"), ("qqqq", "yolov4-csp")],
)
def test_unknown_name_gets_near_matches(tiny: TinyCheckpoint, name: str, near: str) -> None:
    """A name that is nearly right is answered with the right one."""
    refused(tiny, name, words=("no published model of that name", near))


def test_description_for_a_published_name_is_refused(tiny: TinyCheckpoint) -> None:
    """An option that would have no effect is an error."""
    refused(tiny, "yolor-p6", "--cfg", tiny.cfg, words=("has its own description", "tiny.cfg"))


def test_name_that_no_file_can_have_is_refused(tiny: TinyCheckpoint) -> None:
    """A path too long for the system is a mistake like any other."""
    refused(tiny, "x" * 5000, words=("File name too long",))
    refused(tiny, *tiny.options, "-o", "x" * 5000, words=("File name too long",))


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("{folder}/none/model.onnx", ("does not exist",)),
        ("{folder}", ("a folder, expected a file",)),
        ("{folder}/tiny.pt", ("the output is the same file as an input",)),
        ("{folder}/tiny.cfg", ("the output is the same file as an input",)),
        ("{folder}/link", ("the output is the same file as an input",)),
        ("/dev/null", ("a device or pipe, expected a file",)),
        ("{folder}/tiny.pt/model.onnx", ("does not exist",)),
    ],
)
def test_output_that_cannot_be_written_is_refused(
    tiny: TinyCheckpoint, output: str, words: tuple[str, ...]
) -> None:
    """A checkpoint is never overwritten, by whatever name it is reached."""
    tiny.path.with_name("link").symlink_to(tiny.path)

    refused(tiny, *tiny.options, "-o", output.format(folder=tiny.path.parent), words=words)


def test_read_only_folder_is_refused_before_the_work(
    tiny: TinyCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may write anywhere, so the answer of the system is given here."""
    monkeypatch.setattr(os, "access", lambda *_: False)

    refused(tiny, *tiny.options, words=("is read-only", "write elsewhere with -o"))


def test_full_disk_is_said(tiny: TinyCheckpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """The half-written file is gone, and the hint tells how much is free."""

    def full(_: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("yolor_deploy.graph.write.write_model", full)

    refused(tiny, *tiny.options, words=("No space left on device", "MB are free there"))


def test_link_at_the_output_is_replaced_and_its_target_kept(tiny: TinyCheckpoint) -> None:
    """A good export writes a file of its own, and not through a link."""
    target = tiny.path.with_name("precious")
    target.write_text("kept", encoding="utf-8")
    output = tiny.path.with_name("model.onnx")
    output.symlink_to(target)

    result = invoke("export", *tiny.options, "-o", output)

    assert result.exit_code == 0, result.output
    assert target.read_text(encoding="utf-8") == "kept"
    assert not output.is_symlink()


def test_message_holds_no_control_characters(tiny: TinyCheckpoint) -> None:
    """A name inside a hostile file cannot speak to the terminal."""
    data = b"\x80\x02cposix\x1b[31m\nsystem\n."
    tiny.path.write_bytes(archive(data))

    result = invoke("export", *tiny.options)

    assert_refused(result, "system")
    assert "\x1b" not in result.stderr

"""Names of classes: the checkpoint's own, COCO's, or numbers.

Source: the COCO data set's categories with annotations, by their category id.
"""

from __future__ import annotations

from yolor_deploy.checkpoint import Checkpoint
from yolor_deploy.core.errors import CheckpointError

_COCO = (
    "person bicycle car motorcycle airplane bus train truck boat traffic_light fire_hydrant "
    "stop_sign parking_meter bench bird cat dog horse sheep cow elephant bear zebra giraffe "
    "backpack umbrella handbag tie suitcase frisbee skis snowboard sports_ball kite baseball_bat "
    "baseball_glove skateboard surfboard tennis_racket bottle wine_glass cup fork knife spoon bowl "
    "banana apple sandwich orange broccoli carrot hot_dog pizza donut cake chair couch "
    "potted_plant bed dining_table toilet tv laptop mouse remote keyboard cell_phone microwave "
    "oven toaster sink refrigerator book clock vase scissors teddy_bear hair_drier toothbrush"
)


def class_names(checkpoint: Checkpoint, num_classes: int) -> tuple[str, ...]:
    """Return one name per class: as the file says, else the default.

    Raises:
        CheckpointError: The file names another number of classes than its heads have.
    """
    names = checkpoint.class_names
    if names is None:
        return default_names(num_classes)
    if len(names) != num_classes:
        raise CheckpointError(
            f"{len(names)} class names for heads of {num_classes} classes",
            where=checkpoint.file,
            hint="give a file with one name a line: --names FILE; or mend `names` in the model",
        )
    return names


def default_names(num_classes: int) -> tuple[str, ...]:
    """Return COCO's names for 80 classes, else ``class_0``, ``class_1``, ..."""
    if num_classes == 80:  # noqa: PLR2004 - COCO
        return tuple(name.replace("_", " ") for name in _COCO.split())
    return tuple(f"class_{index}" for index in range(num_classes))

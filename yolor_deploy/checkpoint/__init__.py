"""Readers of checkpoint files: restricted unpickler, zip and legacy, ``.weights``, safetensors."""

from yolor_deploy.checkpoint.finite import require_finite
from yolor_deploy.checkpoint.model import CfgText, Checkpoint, DarknetWeights
from yolor_deploy.checkpoint.reader import read_checkpoint

__all__ = ["CfgText", "Checkpoint", "DarknetWeights", "read_checkpoint", "require_finite"]

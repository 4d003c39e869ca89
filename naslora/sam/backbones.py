"""Facts about the backbones: sizes, official checkpoints, and what a job with one needs.

This module imports no torch, so that settings and workflow rules can use it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal


@dataclass(frozen=True)
class OfficialCheckpoint:
    """A file that Meta published.

    Attributes:
        url: its address.
        bytes: its size.
        sha256: its SHA-256 in hexadecimal digits. The digits in Meta's file names are the first
            six of the MD5.
    """

    url: str
    bytes: int
    sha256: str

    @property
    def name(self) -> str:
        """The file name, the last part of the address."""
        return PurePosixPath(self.url).name


@dataclass(frozen=True)
class Backbone:
    """A size of SAM.

    Attributes:
        embed_dim: channels of the image encoder.
        depth: its blocks.
        num_heads: attention heads of each block.
        global_attn_indexes: blocks that attend over the whole map; the others have windows.
        memory_mb: memory of a training or an evaluation in MB, a generous estimate.
        training_minutes: time limit of a training, a generous estimate.
        evaluation_minutes: time limit of an evaluation, a generous estimate.
        weights_bytes: size of all weights in float32.
        patch_size: side of a patch in pixels.
        window_size: side of a window in tokens.
        prompt_embed_dim: channels of image embeddings and prompts.
        decoder_mlp_dim: hidden width of the MLPs in the decoder's transformer.
        decoder_num_heads: attention heads of the decoder's transformer.
        checkpoint: Meta's weights; None where there are none.
        batched: which runs share a job, since they are short: "seed" for those of a task with one
            seed; "task" for all of a task if jobs run on this machine, else as "seed"; None for
            one job per run.
        multithreaded: whether its layers are large enough for several CPU threads.
    """

    embed_dim: int
    depth: int
    num_heads: int
    global_attn_indexes: tuple[int, ...]
    memory_mb: int
    training_minutes: int
    evaluation_minutes: int
    weights_bytes: int
    patch_size: int = 16
    window_size: int = 14
    prompt_embed_dim: int = 256
    decoder_mlp_dim: int = 2048
    decoder_num_heads: int = 8
    checkpoint: OfficialCheckpoint | None = None
    batched: Literal["seed", "task"] | None = None
    multithreaded: bool = True

    def grid(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of patches of images of a height and width in pixels.

        Raises:
            ValueError: the size is not a multiple of the patch size.
        """
        height, width = image_size
        patch = self.patch_size
        if min(height, width) < patch or height % patch or width % patch:
            raise ValueError(f"an image size must be a multiple of {patch}, not {height}x{width}")
        return height // patch, width // patch

    def multiply_adds(self, image_size: int) -> float:
        """Multiply-adds of the image encoder's blocks for one square image of a side in pixels."""
        tokens = float((image_size // self.patch_size) ** 2)
        linear = 12 * self.embed_dim**2 * tokens  # qkv, projection, and the MLP of width 4
        within = 2 * self.embed_dim * tokens  # times the tokens that each attends to
        windows = self.depth - len(self.global_attn_indexes)
        attention = windows * within * min(tokens, self.window_size**2)
        attention += len(self.global_attn_indexes) * within * tokens
        return self.depth * linear + attention


_META = "https://dl.fbaipublicfiles.com/segment_anything/"

BACKBONES: dict[str, Backbone] = {
    "vit_h": Backbone(
        embed_dim=1280,
        depth=32,
        num_heads=16,
        global_attn_indexes=(7, 15, 23, 31),
        memory_mb=64_000,
        training_minutes=2880,
        evaluation_minutes=240,
        weights_bytes=2_565_000_000,
        checkpoint=OfficialCheckpoint(
            _META + "sam_vit_h_4b8939.pth",
            2_564_550_879,
            "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        ),
    ),
    "vit_l": Backbone(
        embed_dim=1024,
        depth=24,
        num_heads=16,
        global_attn_indexes=(5, 11, 17, 23),
        memory_mb=32_000,
        training_minutes=1440,
        evaluation_minutes=120,
        weights_bytes=1_250_000_000,
        checkpoint=OfficialCheckpoint(
            _META + "sam_vit_l_0b3195.pth",
            1_249_524_607,
            "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        ),
    ),
    "vit_b": Backbone(
        embed_dim=768,
        depth=12,
        num_heads=12,
        global_attn_indexes=(2, 5, 8, 11),
        memory_mb=16_000,
        training_minutes=720,
        evaluation_minutes=120,
        weights_bytes=375_000_000,
        checkpoint=OfficialCheckpoint(
            _META + "sam_vit_b_01ec64.pth",
            375_042_383,
            "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        ),
    ),
    "small": Backbone(
        embed_dim=192,
        depth=6,
        num_heads=3,
        global_attn_indexes=(2, 5),
        memory_mb=4000,
        training_minutes=240,
        evaluation_minutes=60,
        weights_bytes=15_000_000,
        window_size=8,
        prompt_embed_dim=128,
        decoder_mlp_dim=512,
        batched="seed",
    ),
    "tiny": Backbone(
        embed_dim=64,
        depth=4,
        num_heads=2,
        global_attn_indexes=(1, 3),
        memory_mb=3000,
        training_minutes=30,
        evaluation_minutes=15,
        weights_bytes=2_000_000,
        patch_size=8,
        window_size=6,
        prompt_embed_dim=64,
        decoder_mlp_dim=128,
        batched="task",
        multithreaded=False,
    ),
}


def official_checkpoints() -> dict[str, OfficialCheckpoint]:
    """Meta's checkpoints by backbone."""
    return {name: b.checkpoint for name, b in BACKBONES.items() if b.checkpoint is not None}

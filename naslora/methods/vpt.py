"""VPT-deep: learnt tokens in addition to the patches in the attention of every block.

Source: Jia et al., "Visual Prompt Tuning" (arXiv 2203.12119), eq. 5, and the authors' code for
windowed attention (KMnP/vpt, `vit_prompt/swin_transformer.py`).
"""

from __future__ import annotations

import math

import torch
from torch import nn

from naslora.core.validation import StrictSettings
from naslora.methods.layers import encoder_blocks
from naslora.methods.registry import register
from naslora.methods.settings import Width
from naslora.sam.building import Sam


class VPTSettings(StrictSettings):
    """Settings of VPT.

    Attributes:
        tokens: prompts per block. 12 gives the paper's count on ViT-H.
    """

    tokens: Width = 12


@register("vpt", title="VPT", settings=VPTSettings, identity=False)
def apply(sam: Sam, settings: VPTSettings) -> None:
    """Give every block its own prompts (tokens, C).

    As the reference does: each prompt passes the block's first norm and joins the keys and values
    of every window (of the whole map in a global block), without a relative position; the initial
    values are uniform within sqrt(6 / (3 p^2 + C)) for patches of side p.

    The reference averages the prompts' own outputs over the windows and sends them through the
    MLP, but in its deep variant the next block's prompts replace them. SAM's neck reads the patches
    alone, so they affect nothing, and are not computed beyond the attention.

    The adapted SAM does not start with the outputs of the SAM that it adapts: the prompts take a
    share of every softmax from the first step.
    """
    encoder = sam.image_encoder
    dim = encoder.pos_embed.shape[-1]
    bound = math.sqrt(6 / (3 * encoder.patch_size**2 + dim))
    for block in encoder_blocks(sam):
        prompts = torch.empty(settings.tokens, dim).uniform_(-bound, bound)
        block.prompts = nn.Parameter(prompts.to(encoder.pos_embed))

"""PCM-Net the way its authors' code works, in plain lines and float32.

What their code does was read in github.com/jianjieluo/PCM-Net at 5e0c8db: `xmodaler/datasets/images/mscoco.py`,
`engine/defaults.py`, `losses/weighted_label_smoothing.py`, `modeling/embedding/visual_grid_cliptag_lr_embed.py`,
`modeling/decode_strategy/beam_searcher.py` and `modeling/layers/bert.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from pcm_net.captioner import PCMNet
from pcm_net.inputs import PatchInputs
from scripts.benchmarks.timing import StepClock, endless

WORDS = 20  # of each caption: the search does not stop before


class Archives(Dataset):
    """A compressed archive a picture, opened at every use.

    Args:
        archives: N files with `features` (P, W) and `g_feature` (1, D).
        beside: tensors of N rows that come with the pictures, such as their captions' tokens.
    """

    def __init__(self, archives: Sequence[Path], *beside: Tensor):
        self.archives, self.beside = archives, beside

    def __len__(self) -> int:
        return len(self.archives)

    def __getitem__(self, number: int) -> tuple:
        archive = np.load(self.archives[number])
        features, image = archive["features"].astype("float32"), archive["g_feature"].reshape(-1)
        return features, image / np.linalg.norm(image), *(rows[number] for rows in self.beside)


def read(model: PCMNet, head: nn.Module, features: Tensor, images: Tensor) -> PatchInputs:
    """A batch's inputs. The patches go through CLIP's `head` into the joint space every time that they are read."""
    features, images = features.to(model.device), images.to(model.device)
    align = model.alignment.training_side if model.training else model.alignment.inference_side
    with torch.no_grad():
        return PatchInputs(align(images), images, head(features), features)


def train(
    model: PCMNet, head: nn.Module, loader: DataLoader, steps: int, smoothing: float, clip_value: float,
    clock: StepClock,
) -> None:  # fmt: skip
    """Training steps by Adam; the loss is read back at each of them.

    Args:
        loader: of `Archives` with the captions' tokens (T,), all padded to one length, their mask (T,) and a weight.
        smoothing: of labels.
        clip_value: the largest entry of a gradient.
    """
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=4.4e-4)
    for features, images, *beside in islice(endless(loader), steps):
        clock.tick()
        tokens, mask, weights = (part.to(model.device) for part in beside)
        logits = model.logits(read(model, head, features, images), tokens)
        loss = smoothed_loss(logits, tokens, mask, weights, smoothing)
        optimizer.zero_grad()
        loss.backward()
        loss.item()
        nn.utils.clip_grad_value_(model.parameters(), clip_value)
        optimizer.step()
    clock.tick()


def smoothed_loss(logits: Tensor, tokens: Tensor, mask: Tensor, weights: Tensor, smoothing: float) -> Tensor:
    """Weighted divergence from the smoothed distribution, which is written out: the mean over the batch's tokens.

    Args:
        logits: (B, T, V).
        tokens, mask: (B, T).
        weights: (B,) of the captions.
        smoothing: the share of the other V - 1 words.
    """
    predicted = logits.flatten(0, 1).log_softmax(dim=-1)  # (B x T, V)
    wanted = torch.full_like(predicted, smoothing / (predicted.shape[1] - 1))
    wanted.scatter_(1, tokens.flatten()[:, None], 1 - smoothing)
    losses = F.kl_div(predicted, wanted, reduction="none").sum(dim=1) * weights.repeat_interleave(tokens.shape[1])
    return losses[mask.flatten()].mean()


@torch.no_grad()
def write(model: PCMNet, inputs: PatchInputs, words: int, beams: int) -> Tensor:
    """(B, words) tokens of the best captions of B images by beam search, which ranks by the sum of log-probabilities.

    The words' hidden states are kept. The keys and values of all words, and those of the image's states, are made again
    for every word of every beam, and the scores of all words of all beams are sorted. The end token is a word like any
    other here: random weights end no caption.
    """
    decoder, banned, images = model.language_model, model.banned_tokens(), len(inputs)
    states, seen = encode(model, inputs)  # (B, S, W), (B, S)
    tokens = torch.full((images, 1), decoder.config.bos_token_id, device=states.device)
    histories = [states[:, :0] for _ in decoder.base_model.encoder.layer]
    scores = states.new_zeros(images, 1)
    for place in range(words):
        state = _step(decoder, tokens[:, -1:], place, histories, states, seen)  # (rows, 1, W)
        logits = decoder.get_output_embeddings()(state)[:, 0].log_softmax(dim=-1)  # (rows, V)
        logits[:, banned] = -torch.inf
        ranked = (scores.flatten()[:, None] + logits).view(images, -1).sort(dim=-1, descending=True)
        scores, best = ranked.values[:, :beams], ranked.indices[:, :beams]  # (B, beams)
        first = torch.arange(images, device=best.device)[:, None] * (len(tokens) // images)  # each image's first row
        parents = (first + best // logits.shape[1]).flatten()
        tokens = torch.cat([tokens[parents], best.reshape(-1, 1) % logits.shape[1]], dim=1)
        histories = [history[parents] for history in histories]
        if place == 0:
            states, seen = states[parents], seen[parents]
    return tokens[::beams, 1:]


def encode(model: PCMNet, inputs: PatchInputs) -> tuple[Tensor, Tensor]:
    """States (B, 1 + 2 N, W) of the global row, N patches and their N words, and which may be looked at (B, 1 + 2 N).

    All words are appended, and the mask hides those of patches that are not selected.
    """
    encoder, mixed = model.encoder, model.mixup(inputs.images, inputs.patches)
    first = encoder.embed_global(inputs.rows)[:, None] + encoder.positions[:1] + encoder.types[0]
    patches = encoder.embed_patches(inputs.features) + encoder.positions[1:] + encoder.types[0]
    words = encoder.embed_words(mixed.text_map) + encoder.positions[1:] + encoder.types[1]
    states = encoder.norm(torch.cat([first, patches, words], dim=1).relu())
    seen = torch.cat([torch.ones_like(mixed.selected[:, :1]), torch.ones_like(mixed.selected), mixed.selected], dim=1)
    global_states = [states[:, 0]]
    for block in encoder.blocks:
        states = block(states, src_key_padding_mask=~seen)
        global_states.append(states[:, 0])
    fused = encoder.fuse_norm(encoder.fuse(torch.cat(global_states, dim=-1)))
    return torch.cat([fused[:, None], states[:, 1:]], dim=1), seen


def _step(decoder: Any, words: Tensor, place: int, histories: list[Tensor], states: Tensor, seen: Tensor) -> Tensor:
    """(R, 1, W) hidden states of words (R, 1) at `place`; the layers' `histories`, (R, place, W) each, grow by one."""
    positions = torch.full_like(words, place)
    state = decoder.base_model.embeddings(input_ids=words, position_ids=positions)
    for number, layer in enumerate(decoder.base_model.encoder.layer):
        histories[number] = torch.cat([histories[number], state], dim=1)
        state = _attend(layer.attention, state, histories[number])
        state = _attend(layer.crossattention, state, states, seen[:, None, None])
        state = layer.feed_forward_chunk(state)
    return state


def _attend(attention: Any, state: Tensor, others: Tensor, seen: Tensor | None = None) -> Tensor:
    """(R, 1, W) a block of attention from `state` (R, 1, W) to `others` (R, S, W)."""
    part = attention.self
    queries, keys, values = (
        linear(rows).unflatten(-1, (part.num_attention_heads, -1)).transpose(1, 2)
        for linear, rows in ((part.query, state), (part.key, others), (part.value, others))
    )
    mixed = F.scaled_dot_product_attention(queries, keys, values, seen)  # (R, heads, 1, W / heads)
    return attention.output(mixed.transpose(1, 2).flatten(2), state)

"""encoder.device, batch_size and workers: what cannot be had is refused, naming the option."""

from __future__ import annotations

import pytest
import torch

from embedding_space.encoders import Encoder, chosen_device, reload_encoder

ABSENT = ["gpu", "cuda:99", "meta", "", *([] if torch.cuda.is_available() else ["cuda", "cuda:0"])]


@pytest.mark.parametrize("device", ABSENT)
def test_a_device_that_is_not_there_is_refused_with_the_remedy(device):
    for make in (chosen_device, lambda name: Encoder(device=name)):
        with pytest.raises(ValueError, match=rf"device={device} \(option encoder\.device\) cannot be used here.*cpu"):
            make(device)
    described = {"name": "x", "model": "tiny", "pretrained": "random", "precision": "fp16"}
    with pytest.raises(ValueError, match=r"option encoder\.device"):
        reload_encoder(described, device=device)


def test_devices_that_are_there_are_taken():
    assert chosen_device("cpu").type == "cpu"
    assert chosen_device(None).type == ("cuda" if torch.cuda.is_available() else "cpu")


BAD_COUNTS = {"batch_size": (0, -1, 1.5, True, "many", None), "workers": (-1, 0.5, "all")}


@pytest.mark.parametrize(("option", "bad"), BAD_COUNTS.items())
def test_counts_out_of_range_are_refused_naming_the_option(option, bad):
    for value in bad:
        with pytest.raises(ValueError, match=rf"\(option encoder\.{option}\) must be a whole number, at least"):
            Encoder(**{option: value})

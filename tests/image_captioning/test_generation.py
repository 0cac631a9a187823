"""Decoding: parity with a slow loop, the end token, and that every option changes the captions."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf

from image_captioning.generation import STRATEGIES, Decoding, NucleusSampler, generate


def rows(count: int) -> torch.Tensor:
    return F.normalize(torch.randn(count, 8, generator=torch.Generator().manual_seed(1)), dim=-1)


def slow_greedy(captioner, row: torch.Tensor, most: int) -> list[int]:
    """One row, no cache: the most probable token, again and again."""
    banned, end = captioner.tokenizer.unk_token_id, captioner.tokenizer.eos_token_id
    inputs, ids = captioner.mapper(row[None]), []
    while len(ids) < most:
        logits = captioner.decoder(inputs_embeds=inputs, use_cache=False).logits[0, -1]
        logits[banned] = -torch.inf
        token = int(logits.argmax())
        if token == end:
            break
        ids.append(token)
        inputs = torch.cat([inputs, captioner.decoder.transformer.wte(torch.tensor([[token]]))], dim=1)
    return ids


@pytest.fixture
def captioner(make_captioner):
    made = make_captioner()
    made.decoder.lm_head.weight.data[made.tokenizer.eos_token_id] *= 3  # so that some captions end early
    return made


@torch.no_grad()
def test_batched_greedy_with_cache_equals_a_slow_loop_without(captioner):
    images = rows(24)
    expected = [slow_greedy(captioner, row, 15) for row in captioner.align_images(images)]
    lengths = {len(ids) for ids in expected}
    assert 15 in lengths and min(lengths) < 15  # both ways of stopping are seen
    expected = [captioner.tokenizer.decode(ids).strip() for ids in expected]
    for batch_size in (1, 7, 24):
        assert captioner.caption_images(images, Decoding(max_new_tokens=15), batch_size, progress=False) == expected


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:Passing")
@pytest.mark.parametrize("options", [{}, {"repetition_penalty": 1.7}, {"no_repeat_ngram": 2}, {"max_new_tokens": 1}])
def test_ended_captions_leave_the_batch_and_all_are_those_of_transformers(captioner, options, monkeypatch):
    decoding, gpt2, end = (
        Decoding(**{"max_new_tokens": 15, **options}),
        captioner.decoder,
        captioner.tokenizer.eos_token_id,
    )
    prefix, sizes, forward = captioner.mapper(captioner.align_images(rows(40))), [], gpt2.transformer.forward
    theirs = gpt2.generate(
        inputs_embeds=prefix,
        attention_mask=torch.ones(prefix.shape[:2], dtype=torch.long),
        max_new_tokens=decoding.max_new_tokens,
        do_sample=False,
        repetition_penalty=decoding.repetition_penalty,
        no_repeat_ngram_size=decoding.no_repeat_ngram,
        suppress_tokens=captioner.banned_tokens(),
        eos_token_id=end,
        pad_token_id=end,
    )
    monkeypatch.setattr(
        gpt2.transformer,
        "forward",
        lambda *ids, **inputs: sizes.append(len(inputs["inputs_embeds"])) or forward(*ids, **inputs),
    )
    assert torch.equal(generate(gpt2, prefix, decoding, end, captioner.banned_tokens()), theirs)
    ended = (theirs == end).long().cumsum(1) > 0
    assert sizes == [len(theirs), *(~ended).sum(0).tolist()[:-1]]
    assert len(set(sizes)) > 2 or decoding.max_new_tokens == 1


def test_one_beam_is_greedy(captioner):
    greedy = captioner.caption_images(rows(10), Decoding(), progress=False)
    assert captioner.caption_images(rows(10), Decoding("beam", beams=1), progress=False) == greedy


@torch.no_grad()
def test_all_beams_find_the_most_probable_caption(captioner):
    """With as many beams as tokens, two steps of beam search are exhaustive: parity with scoring every caption."""
    vocabulary, end = len(captioner.tokenizer), captioner.tokenizer.eos_token_id
    row = captioner.align_images(rows(1))
    best, best_score = None, -torch.inf
    for first in range(vocabulary):
        for second in [None] if first == end else range(vocabulary):
            ids = torch.tensor([[first]] if second is None else [[first, second]])
            score = -captioner(row, ids, torch.ones_like(ids, dtype=torch.bool)).item()
            if captioner.tokenizer.unk_token_id not in ids and score > best_score:
                best, best_score = ids, score
    decoding = Decoding("beam", beams=vocabulary, length_penalty=0.0, max_new_tokens=2)
    found = generate(captioner.decoder, captioner.mapper(row), decoding, end, [captioner.tokenizer.unk_token_id])
    assert found[0, : best.shape[1]].tolist() == best[0].tolist()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Decoding(), Decoding("beam")),
        (Decoding(), Decoding("nucleus")),
        (Decoding(), Decoding(max_new_tokens=2)),
        (Decoding(), Decoding(repetition_penalty=5.0)),
        (Decoding(), Decoding(no_repeat_ngram=1)),
        (Decoding("beam", beams=2), Decoding("beam", beams=6)),
        (Decoding("beam", beams=6, length_penalty=-3.0), Decoding("beam", beams=6, length_penalty=3.0)),
        (Decoding("beam", beams=3), Decoding("beam", beams=3, repetition_penalty=5.0)),
        (Decoding("nucleus", seed=0), Decoding("nucleus", seed=1)),
        (Decoding("nucleus", top_p=0.3), Decoding("nucleus", top_p=1.0)),
        (Decoding("nucleus", temperature=0.3), Decoding("nucleus", temperature=3.0)),
    ],
)
def test_every_option_changes_the_captions(captioner, one, other):
    first, second = (captioner.caption_images(rows(12), decoding, progress=False) for decoding in (one, other))
    assert first != second


def test_length_penalty_lengthens_and_no_repeat_ngram_keeps_its_word(captioner):
    short, long = (
        captioner.caption_images(rows(12), Decoding("beam", beams=6, length_penalty=penalty), progress=False)
        for penalty in (-3.0, 3.0)
    )
    assert sum(map(len, short)) < sum(map(len, long))
    decoding = Decoding(no_repeat_ngram=1, max_new_tokens=12)
    ids = generate(captioner.decoder, captioner.mapper(rows(12)), decoding, 0, [1])
    for row in ids.tolist():
        words = [token for token in row if token != 0]
        assert len(set(words)) == len(words)


def test_the_nucleus_of_next_to_no_mass_is_greedy_and_rows_do_not_depend_on_the_batch(captioner):
    images = rows(9)
    greedy = captioner.caption_images(images, Decoding(), progress=False)
    assert captioner.caption_images(images, Decoding("nucleus", top_p=1e-6), progress=False) == greedy
    together = captioner.caption_images(images, Decoding("nucleus", seed=5), progress=False)
    assert captioner.caption_images(images, Decoding("nucleus", seed=5), batch_size=2, progress=False) == together
    torch.manual_seed(77)  # the global generator has no say
    assert captioner.caption_images(images, Decoding("nucleus", seed=5), progress=False) == together


def test_nucleus_draws_have_the_right_frequencies():
    """Parity with the definition: tokens of cumulative mass top_p, renormalised."""
    probabilities = torch.tensor([0.05, 0.4, 0.1, 0.3, 0.15])
    scores = (probabilities.log() * 2.0).expand(4000, -1)  # temperature 2 undoes the factor
    decoding = Decoding("nucleus", top_p=0.8, temperature=2.0, max_new_tokens=1)
    drawn = NucleusSampler(decoding, range(4000))(torch.empty(4000, 0, dtype=torch.long), scores).argmax(-1)
    expected = torch.tensor([0.0, 0.4, 0.0, 0.3, 0.15]) / 0.85
    torch.testing.assert_close(torch.bincount(drawn, minlength=5) / 4000, expected, atol=0.025, rtol=0)


def test_banned_tokens_are_never_written(captioner):
    favourite = int(generate(captioner.decoder, captioner.mapper(rows(1)), Decoding(), 0, [])[0, 0])
    for strategy in STRATEGIES:
        ids = generate(captioner.decoder, captioner.mapper(rows(8)), Decoding(strategy), 0, [1, favourite])
        assert not torch.isin(ids, torch.tensor([1, favourite])).any()


def test_captions_hold_no_special_tokens(captioner):
    captioner.decoder.lm_head.weight.data[captioner.tokenizer.unk_token_id] *= 30
    for strategy in STRATEGIES:
        for caption in captioner.caption_images(rows(8), Decoding(strategy), progress=False):
            assert "<" not in caption and caption == caption.strip()


def test_generation_leaves_the_training_mode_as_it_was(captioner):
    captioner.train()
    captioner.caption_images(rows(2), progress=False)
    assert captioner.training and not captioner.alignment.training


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"strategy": "top_k"}, "decoding.strategy='top_k' must be 'greedy', 'beam' or 'nucleus'"),
        ({"beams": 3}, r"decoding.beams=3 belongs to the strategy beam and does nothing with greedy"),
        ({"strategy": "beam", "top_p": 0.5}, "decoding.top_p=0.5 belongs to the strategy nucleus"),
        ({"strategy": "nucleus", "length_penalty": 0.0}, "decoding.length_penalty=0.0 belongs to the strategy beam"),
        ({"strategy": "nucleus", "top_p": 0.0}, "decoding.top_p=0.0 must be greater than 0"),
        ({"strategy": "nucleus", "temperature": 0.0}, "decoding.temperature=0.0 must be greater than 0"),
        ({"strategy": "beam", "beams": 0}, "decoding.beams=0 must be greater than or equal to 1"),
        ({"strategy": "beam", "clip_weight": -1.0}, "decoding.clip_weight=-1.0 must be greater than or equal to 0"),
        ({"strategy": "beam", "beams": 1, "clip_weight": 2.0}, "decoding.clip_weight=2.0 needs decoding.beams > 1"),
        ({"max_new_tokens": 0}, "decoding.max_new_tokens=0"),
        ({"repetition_penalty": 0.0}, "decoding.repetition_penalty=0.0"),
        ({"no_repeat_ngram": -1}, "decoding.no_repeat_ngram=-1"),
    ],
)
def test_options_are_checked(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        Decoding(**options)


def test_too_many_tokens_for_the_positions_are_refused(captioner):
    with pytest.raises(ValueError, match=r"decoding\.max_new_tokens=46 is too many: the decoder has 48 positions"):
        captioner.caption_images(rows(1), Decoding(max_new_tokens=46))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_decoding_configs_hold_just_the_options_of_their_strategy(strategy):
    path = Path(__file__).resolve().parents[2] / "configs" / "decoding" / f"{strategy}.yaml"
    options = OmegaConf.to_container(OmegaConf.load(path))
    assert set(options) == {
        "strategy",
        "max_new_tokens",
        "repetition_penalty",
        "no_repeat_ngram",
        *STRATEGIES[strategy],
    }
    assert Decoding(**options) == Decoding(strategy)


def test_a_lower_precision_is_that_of_an_autocast_and_is_checked(captioner):
    images = rows(12)
    with torch.autocast("cpu", torch.bfloat16):
        expected = captioner.caption_images(images, progress=False)
    assert captioner.caption_images(images, progress=False, precision="bf16") == expected
    with pytest.raises(ValueError, match="precision='bf32' must be one of auto, fp32, bf16, fp16"):
        captioner.caption_images(images, precision="bf32")

"""The desk's answers are the captioner's own; visitors do not mix; the queue is bounded."""

from __future__ import annotations

import shutil
import threading

import pytest
import torch

from common.paths import PRETRAINED
from image_captioning.memory_captions import consensus_memory
from web_app.desk import Busy, Turnstile
from web_app.look import Bridge


def test_every_methods_caption_is_the_captioners(desk, picture, tmp_path):
    encoded = desk.encode([picture(tmp_path / "a.png")])
    answers = {answer.method: answer.caption for answer in desk.look(encoded, Bridge()).answers()}
    assert list(answers) == ["raw", "collapse", "memory", "bridge", "memory_bridge", "consensus"]
    captioner, rows = desk.main.captioner, encoded["photos"].rows
    assert answers["memory_bridge"] == captioner.caption_images(rows, progress=False)[0]
    for name in ("raw", "collapse", "memory", "bridge"):
        other = captioner.with_alignment(desk.main.method(name).chain)
        assert answers[name] == other.caption_images(rows, progress=False)[0]
    memory = consensus_memory(captioner, None)
    consensus = captioner.caption_images(rows, desk.main.consensus, progress=False, memory=memory)[0]
    assert answers["consensus"] == consensus


def test_the_bridges_values_change_the_methods_that_have_one(desk, picture, tmp_path):
    encoded = desk.encode([picture(tmp_path / "a.png", seed=3)])
    rows = encoded["photos"].rows
    moved = desk.look(encoded, Bridge(700, 10)).answers()
    alone = desk.main.captioner.with_alignment(
        desk.main.captioner.alignment.with_inference_options({"image_timestep": 700, "image_steps": 10})
    )
    by_name = {answer.method: answer.caption for answer in moved}
    assert by_name["memory_bridge"] == alone.caption_images(rows, progress=False)[0]
    before = {answer.method: answer.caption for answer in desk.look(encoded, Bridge()).answers()}
    assert all(by_name[name] == before[name] for name in ("raw", "collapse", "memory"))


def test_what_is_inside_belongs_together(desk, picture, tmp_path):
    encoded = desk.encode([picture(tmp_path / "a.png")])
    inside = desk.look(encoded, Bridge(300, 3)).inside("memory_bridge")
    assert inside.caption == " ".join(word.text for word in inside.words).strip()
    assert len(inside.beams) == 4 and inside.beams[0].score >= inside.beams[-1].score
    cosines = [text.cosine for text in inside.near]
    assert len(cosines) == 8 and cosines == sorted(cosines, reverse=True)
    memory = desk.main.memory
    row = memory.chain.inference_side(encoded["photos"].rows)[0]
    best = int((memory.rows @ row).argmax())
    assert inside.near[0].text == memory.captions[best]
    assert inside.way is not None and inside.way.stops[-1].name == "t = 0" and len(inside.way.near) == 60


def test_several_visitors_at_once_get_their_own_answers(desk, picture, tmp_path):
    encoded = [desk.encode([picture(tmp_path / f"{seed}.png", seed)]) for seed in range(6)]
    bridges = [Bridge(100 * (seed + 1), seed + 1) for seed in range(6)]
    alone = [desk.look(*pair).answers() for pair in zip(encoded, bridges, strict=True)]
    together: list = [None] * 6

    def visit(number: int) -> None:
        with desk.turnstile.models():
            together[number] = desk.look(encoded[number], bridges[number]).answers()

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


def test_other_checkpoints_answer_by_their_own_decoders(load_desk, picture, tmp_path):
    folder = tmp_path / "mine"
    shutil.copytree(PRETRAINED / "photos", folder, ignore=shutil.ignore_patterns("clip", "memory_captions*"))
    desk = load_desk("photos", [str(folder)])
    assert desk.answering["mine"].encoder is desk.main.encoder  # loaded once
    encoded = desk.encode([picture(tmp_path / "a.png")])
    *_, last = desk.look(encoded, Bridge()).answers()
    assert (last.checkpoint, last.method) == ("mine", "memory_bridge")
    assert last.caption == desk.look(encoded, Bridge()).answers()[4].caption
    with pytest.raises(ValueError, match="two checkpoints are called mine"):
        load_desk("photos", [str(folder), str(folder)])
    with pytest.raises(ValueError, match="sounds reads sounds, and checkpoint=photos pictures"):
        load_desk("photos", ["sounds"])


def test_a_method_without_an_answer_says_why_and_others_answer(desk, picture, tmp_path, load_desk):
    broken = load_desk("photos", [])
    for step in broken.main.captioner.alignment.steps:
        if hasattr(step, "inference_mean"):
            step.inference_mean.fill_(torch.nan)
    answers = broken.look(broken.encode([picture(tmp_path / "a.png")]), Bridge()).answers()
    assert answers[0].caption and answers[1].caption is None and "has no image mean" in str(answers[1].problem)


def test_an_unknown_method_names_the_known_ones(desk):
    with pytest.raises(ValueError, match=r"Unknown method of checkpoint=photos 'bridges'.*did you mean bridge\?"):
        desk.main.method("bridges")


def test_the_queue_is_bounded_and_places_come_back():
    turnstile = Turnstile(2)
    with turnstile.place(), turnstile.place(), pytest.raises(Busy, match="2 requests wait already"):
        turnstile.place().__enter__()
    with turnstile.place(), pytest.raises(RuntimeError, match="of its own"), turnstile.place():
        raise RuntimeError("of its own")
    with turnstile.place(), turnstile.place():
        pass

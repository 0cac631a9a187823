"""What the page shows: answers, refusals, and nothing that a visitor could smuggle in."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pytest

from image_captioning.inspect_captions import Beam, Word
from web_app import markup
from web_app.handlers import Handlers
from web_app.links import PageState
from web_app.look import Answer, Inside, NearText
from web_app.uploads import Limits

EVIL = "<script>alert(1)</script>\"'&"


def text_of(html: str) -> str:
    parser, pieces = HTMLParser(), []
    parser.handle_data = pieces.append  # pyright: ignore[reportAttributeAccessIssue]
    parser.feed(html)
    return " ".join(" ".join(pieces).split())


def test_an_upload_is_answered_by_every_method(handlers, picture, tmp_path):
    encoded, shown, parts = handlers.upload(picture(tmp_path / "0.png"), "my dog.png", handlers.usual)
    said = text_of(parts.captions)
    assert all(name in said for name in ("raw", "collapse", "memory", "bridge", "memory_bridge", "consensus"))
    assert 'alt="The picture my dog.png' in shown and "data:image/jpeg;base64," in shown
    assert "How likely each word" in parts.words and parts.way.count("<svg") == 2 and "(end)" in parts.words
    assert "Beams of memory_bridge" in parts.beams and "nearest to the image" in parts.near
    moved = handlers.answer(encoded, PageState("bridge", 500, 3))
    assert "t = 0" in moved.way and "for bridge" in moved.words and moved.steps == 3


def test_steps_are_no_more_than_the_timestep(handlers, picture, tmp_path):
    encoded, _, _ = handlers.upload(picture(tmp_path / "0.png"), "0.png", handlers.usual)
    assert handlers.answer(encoded, PageState("bridge", 2, 50)).steps == 2


def test_the_file_is_gone_before_its_captions_are_made(handlers, picture, tmp_path, monkeypatch):
    path, answer = picture(tmp_path / "a.png"), handlers.answer
    gone = []
    monkeypatch.setattr(handlers, "answer", lambda *asked: (gone.append(not path.exists()), answer(*asked))[1])
    encoded, shown, _ = handlers.upload(path, "a.png", handlers.usual)
    assert gone == [True] and encoded is not None and "data:image/jpeg" in shown


def test_a_file_whose_reading_fails_in_any_way_is_deleted(handlers, picture, tmp_path, monkeypatch):
    path = picture(tmp_path / "a.png")
    monkeypatch.setattr(handlers.desk, "encode", lambda paths: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        handlers.upload(path, "a.png", handlers.usual)
    assert not path.exists()


@pytest.mark.parametrize("content", [b"no picture at all", b"\xff\xd8\xff\xe0 cut off"])
def test_a_file_that_cannot_be_read_leaves_a_sentence(handlers, tmp_path, content):
    (tmp_path / "x.jpg").write_bytes(content)
    encoded, shown, parts = handlers.upload(tmp_path / "x.jpg", EVIL + ".jpg", handlers.usual)
    assert encoded is None and shown == "" and 'role="alert"' in parts.captions
    assert "<script>" not in parts.captions and str(tmp_path) not in parts.captions
    assert not (tmp_path / "x.jpg").exists()


def test_a_cut_off_picture_is_refused_by_its_name(handlers, picture, tmp_path):
    whole = picture(tmp_path / "a.png").read_bytes()
    (tmp_path / "b.png").write_bytes(whole[: len(whole) // 2])
    encoded, _, parts = handlers.upload(tmp_path / "b.png", "mine.png", handlers.usual)
    assert encoded is None and "mine.png cannot be read as a picture" in text_of(parts.captions)


def test_a_file_that_was_deleted_before_its_turn_leaves_a_sentence(handlers, picture, tmp_path, monkeypatch):
    said = "dog.png waited so long for its turn that it was deleted: send it again"
    assert said in text_of(handlers.upload(tmp_path / "gone.png", "dog.png", handlers.usual)[2].captions)
    path = picture(tmp_path / "a.png")
    monkeypatch.setattr(
        "web_app.handlers.check_upload", lambda path, *_: path.unlink()
    )  # while it waits for the models
    encoded, _, parts = handlers.upload(path, "dog.png", handlers.usual)
    assert encoded is None and 'role="alert"' in parts.captions and str(tmp_path) not in parts.captions


def test_an_unknown_method_leaves_the_captions(handlers, picture, tmp_path):
    encoded, _, _ = handlers.upload(picture(tmp_path / "0.png"), "0.png", handlers.usual)
    parts = handlers.answer(encoded, PageState("nope", 100, 1))
    assert "<table>" in parts.captions and "Unknown method" in parts.words


def test_what_models_and_visitors_say_is_escaped():
    inside = Inside(EVIL, EVIL, [Word(EVIL, -1.0)], [Beam(EVIL, -1.0)], [NearText(EVIL, 0.5, 0.4)], None)
    pages = [
        markup.captions([Answer(EVIL, EVIL, EVIL, EVIL), Answer("a", "b", "c", None, EVIL)], "photos"),
        markup.beams(inside),
        markup.near_texts(inside, "image"),
        markup.words(inside),
        markup.problem(EVIL),
    ]
    for page in pages:
        assert "<script>" not in page and "&lt;script&gt;" in page


def test_a_video_checkpoint_has_no_bridge_and_no_memory(load_desk, write_video, tmp_path):
    handlers = Handlers(load_desk("videos", []), Limits())
    assert handlers.timesteps == 0 and handlers.usual.timestep == 0 and handlers.usual.method == "collapse"
    path = write_video(tmp_path / "a.mp4", frames=12)
    encoded, shown, parts = handlers.upload(path, "a.mp4", handlers.usual)
    assert encoded is not None and "data:image/jpeg" in shown and "collapse" in parts.captions
    assert "no captions of a text memory" in parts.near and parts.way.count("<svg") == 2


def test_a_sound_is_shown_and_can_be_played(load_desk, write_sound, tmp_path):
    handlers = Handlers(load_desk("sounds", []), Limits())
    path = write_sound(tmp_path / "a.wav", np.sin(np.arange(32_000) / 10))
    encoded, shown, parts = handlers.upload(path, "a.wav", handlers.usual)
    assert encoded is not None and "<audio controls" in shown and "data:audio/wav" in shown
    assert "<table>" in parts.captions


def test_drawing_without_a_painter_says_so(handlers):
    assert "draw_with=null" in handlers.draw("a boat", 0)

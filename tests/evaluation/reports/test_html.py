"""The HTML report and its figures: self-contained, escaped, whole; pictures that are missing do not stop it."""

from __future__ import annotations

import base64
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from embedding_space.pictures import open_picture
from evaluation.captions.patch_selection import PatchSelection
from evaluation.reports.example import Example
from evaluation.reports.figure_grid import save_figure_grid
from evaluation.reports.gallery import patch_layers
from evaluation.reports.html import write_report
from evaluation.reports.plots import plot_cosine_against_timestep, plot_embedding_pca, save_plot
from evaluation.reports.previews import thumbnail
from evaluation.table import Column, Table

EVIL = "<script>alert('x')</script> & \"quoted\""


class Page(HTMLParser):
    """Tags, attributes and text of a page; complains about tags closed in the wrong order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def pictures(tmp_path):
    Image.effect_noise((1200, 800), 50).save(tmp_path / "photo.jpg")
    Image.new("RGBA", (64, 64), (255, 0, 0, 0)).save(tmp_path / "scene.png")
    (tmp_path / "broken.jpg").write_bytes(b"not a picture")
    return tmp_path


def examples(folder):
    captions = {"C³": "a dog", EVIL: EVIL, "empty": "  "}
    return [
        Example(folder / name, name, [EVIL], captions) for name in ("photo.jpg", "scene.png", "broken.jpg", "gone.jpg")
    ]


def test_report_is_one_escaped_self_contained_file(pictures):
    path = pictures / "new" / "report.html"
    table = Table(
        [{"method": EVIL, "CIDEr": 45.0}, {"method": "b", "CIDEr": 40.0}],
        [Column("method"), Column("CIDEr", 1, "higher")],
    )
    figure = Figure()
    figure.subplots().plot([0, 1])
    save_plot(figure, pictures, "plot")
    assert (pictures / "plot.png").stat().st_size > 1000
    svg = (pictures / "plot.svg").read_bytes()
    write_report(
        path,
        EVIL,
        f"One.\n\n{EVIL}",
        facts={"command": EVIL, "seeds": "0, 1"},
        tables=[(EVIL, table)],
        plots=[(EVIL, svg), ("again", svg)],
        examples=examples(pictures),
        notes=[EVIL, "half a pair \ud83d and \0 nul"],
    )
    html = path.read_text(encoding="utf-8")
    page = Page(html)
    assert "script" not in page.tags and "link" not in page.tags
    assert page.text.count(EVIL) >= 10
    sources = [
        value for name, value in page.attributes if name in ("src", "href", "srcset", "data") and value[0] != "#"
    ]
    assert len(sources) == 4 and all(source.startswith("data:image/") for source in sources)
    assert "http:" not in html.split("<body>")[1] and "url(" not in html
    assert page.text.count("cannot be read") == 2 and page.text.count("(empty)") == 4
    assert page.attributes.count(("class", "number best")) == 1
    assert len(html) < 600_000  # the photograph was made smaller
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_patches_given_to_words_are_drawn_where_the_picture_is(pictures):
    one, other = PatchSelection(2, "crop", [1], ["dog", EVIL]), PatchSelection(2, "crop", [2], ["cat"])
    cards = [
        Example(pictures / "photo.jpg", "1", ["a"], {"x": "a", "y": "b", "z": "c", "none": "d"}, {}, selections)
        for selections in ({"x": one, "y": one, "z": one}, {"x": one, "y": one, "z": other})
    ]
    assert patch_layers(cards) == [["x", "y"], ["z"]] and patch_layers(cards[:1]) == [["x", "y", "z"]]
    write_report(pictures / "r.html", "Title", "Summary.", examples=cards, picture_side=300)
    html = (pictures / "r.html").read_text()
    page = Page(html)
    assert page.text.count(f"Concepts: dog, {EVIL}") == 3 and "x, y" in page.text and "script" not in page.tags
    assert page.attributes.count(("viewbox", "0 0 300 200")) == 4 and page.tags.count("rect") == 4
    assert '<rect x="150.0" y="0.0" width="100.0" height="100.0"/>' in html  # the middle of 300 x 200 is 200 x 200
    assert 'option[value="1"]:checked) .layer1' in html
    write_report(pictures / "r.html", "Title", "Summary.", examples=examples(pictures))
    html = (pictures / "r.html").read_text()
    assert "Concepts:" not in html and 'id="patches"' not in html


def test_sounds_can_be_played_and_videos_are_strips_of_their_frames(tmp_path, write_video, write_sound):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    write_sound(tmp_path / "short.wav", np.sin(np.arange(16_000) / 5))
    write_sound(tmp_path / "long.wav", np.zeros(600_000))
    sounds = [Example(tmp_path / f"{name}.wav", name, [EVIL], {"a": "b"}, medium="sound") for name in ("short", "long")]
    write_report(tmp_path / "r.html", "Title", "Summary.", examples=sounds)
    page = Page((tmp_path / "r.html").read_text())
    played = [value for name, value in page.attributes if name == "src" and value.startswith("data:audio/wav;base64,")]
    assert len(played) == page.tags.count("audio") == 1 and page.tags.count("img") == 2
    assert base64.b64decode(played[0].split(",")[1]) == (tmp_path / "short.wav").read_bytes()
    assert "to listen, open long.wav" in page.text and "Sounds and captions" in page.text
    policy = next(value for name, value in page.attributes if name == "content" and "default-src" in value)
    assert "media-src data:" in policy
    write_video(tmp_path / "a.mp4")
    videos = [
        Example(tmp_path / f"{name}.mp4", name, [], {}, medium="video", frames=count)
        for name, count in (("a", 2), ("a", 5), ("broken", 5))
    ]
    sizes = [strip.size for strip in (thumbnail(example, 80) for example in videos) if strip]
    assert sizes == [(2 * 40 + 2, 30), (3 * 40 + 4, 2 * 30 + 2)]
    strip = np.asarray(thumbnail(videos[0], 80))
    assert abs(int(strip[25, 35, 0]) - 60) < 8 and abs(int(strip[25, 42 + 35, 0]) - 180) < 8
    write_report(tmp_path / "r.html", "Title", "Summary.", examples=videos)
    page = Page((tmp_path / "r.html").read_text())
    assert page.tags.count("img") == 2 and "cannot be read: broken.mp4" in page.text and "audio" not in page.tags


def test_a_spectrogram_shows_low_tones_below_and_silence_white(tmp_path, write_sound):
    path = write_sound(tmp_path / "a.wav", np.sin(2 * np.pi * 200 * np.arange(5 * 16_000) / 16_000))
    shades = np.asarray(thumbnail(Example(path, "1", [], medium="sound"), 120))[..., 0]
    assert shades.shape == (40, 120) and shades[25:].min(axis=0).max() < 60  # low tones over the whole width
    assert shades[:20, 5:-5].min() > 200
    write_sound(path, np.concatenate([np.sin(np.arange(8_000)), np.zeros(40_000)]))
    assert (np.asarray(thumbnail(Example(path, "1", [], medium="sound"), 120))[:, 40:] == 255).all()
    write_sound(path, np.sin(np.arange(80)))  # shorter than a window
    assert (np.asarray(thumbnail(Example(path, "1", [], medium="sound"), 120))[:, 40:] == 255).all()


def test_sections_without_content_are_left_out(tmp_path):
    write_report(tmp_path / "r.html", "Title", "Summary.")
    page = Page((tmp_path / "r.html").read_text())
    assert "h2" not in page.tags and page.tags.count("p") == 1


def test_pca_axes_are_those_of_the_first_panel_and_show_its_gap():
    generator = torch.Generator().manual_seed(0)
    texts, images = torch.randn(700, 8, generator=generator) * 0.05, torch.randn(50, 8, generator=generator) * 0.05
    texts[:, 0] -= 0.5
    images[:, 0] += 0.5
    stretched = torch.diag(torch.tensor([1.0, 1, 1, 1, 1, 1, 1, 40]))  # varies most where the first panel does not
    centered = (texts - texts.mean(0)) @ stretched, (images - images.mean(0)) @ stretched
    figure = plot_embedding_pca({"before\n1.0 apart": (texts, images), "centred": centered})
    before, centered = figure.axes
    assert before.get_title() == "before\n1.0 apart" and before.get_ylabel().endswith("of variance in before")
    assert before.get_xlim() == centered.get_xlim()
    text_points, image_points = (collection.get_offsets() for collection in before.collections)
    assert len(text_points) == 600 and len(image_points) == 50
    distance = abs(text_points.mean(0) - image_points.mean(0))
    assert distance[0] == pytest.approx(1, abs=0.05) and distance[1] < 0.1
    with pytest.raises(ValueError, match=r"one dimension, got \[4, 8\]"):
        plot_embedding_pca({"before": (texts, images[:, :4])})


def test_cosine_plot_shows_every_line_and_level():
    figure = plot_cosine_against_timestep([0, 200, 400], {"5 steps": [0.3, 0.4, 0.35]}, {"no bridge": 0.33})
    assert len(figure.axes[0].lines) == 2
    assert list(figure.axes[0].lines[0].get_ydata()) == [0.3, 0.4, 0.35]
    with pytest.raises(ValueError, match="'a' has 2 cosines for 3 timesteps"):
        plot_cosine_against_timestep([0, 200, 400], {"a": [0.1, 0.2]}, {})
    with pytest.raises(ValueError, match="at most 4 lines"):
        plot_cosine_against_timestep([0], {str(n): [0.1] for n in range(5)}, {})


def test_plots_leave_matplotlib_as_it_was():
    before = dict(matplotlib.rcParams)
    plot_cosine_against_timestep([0], {"a": [0.1]}, {})
    assert dict(matplotlib.rcParams) == before


def test_figure_grid(pictures):
    cards = [Example(pictures / "photo.jpg", "1", ["costs $5 or $6"], {"C³": "a $ sign " * 40, "b": ""})] * 4
    save_figure_grid(pictures / "grid.png", cards, columns=3, dpi=40)
    with Image.open(pictures / "grid.png") as grid:
        assert grid.format == "PNG" and grid.width > 300
    Image.new("RGB", (300, 100)).save(pictures / "wide.png")
    sizes = []
    for name in ("photo.jpg", "wide.png"):
        save_figure_grid(pictures / "grid.png", [Example(pictures / name, "1", ["a"])], dpi=40)
        with Image.open(pictures / "grid.png") as grid:
            sizes.append(grid.height)
    assert sizes[1] < sizes[0] - 30  # no empty space above what is wide
    with pytest.raises(FileNotFoundError):
        save_figure_grid(pictures / "grid.png", [Example(pictures / "gone.jpg", "1", [])])
    with pytest.raises(ValueError, match="no examples"):
        save_figure_grid(pictures / "grid.png", [])


def test_transparent_pictures_become_white(pictures):
    assert open_picture(pictures / "scene.png").getpixel((3, 3)) == (255, 255, 255)

"""Captioning pictures of one's own: what an earlier run wrote is not lost."""

from __future__ import annotations

from image_captioning.caption_photos import keep_earlier


def test_captions_of_earlier_runs_are_kept_under_another_name(tmp_path, capsys):
    def run(content: str) -> None:
        keep_earlier(tmp_path, content.encode())
        for name in ("captions.json", "captions.csv"):
            (tmp_path / name).write_text(content)

    for content in ("a", "b", "b", "c"):
        run(content)
    kept = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert {kept[name] for name in kept if name.endswith(".json")} == {"a", "b", "c"} and len(kept) == 6
    assert (kept["captions.csv"], kept["captions_1.csv"], kept["captions_2.csv"]) == ("c", "a", "b")
    assert capsys.readouterr().err.count("are kept as") == 2

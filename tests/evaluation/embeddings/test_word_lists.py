"""Classes and templates from options and from files, however an editor saved them."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evaluation.embeddings.word_lists import word_list

WORD = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(WORD, min_size=1), ending=st.sampled_from(["\n", "\r\n", "\n\n"]), mark=st.booleans())
def test_what_an_editor_saved_comes_back(tmp_path, words, ending, mark):
    content = (codecs.BOM_UTF8 if mark else b"") + ending.join(words).encode()
    (tmp_path / "words.txt").write_bytes(content)
    assert word_list("classes", str(tmp_path / "words.txt")) == words
    assert word_list("classes", words) == words


def test_files_that_hold_no_words_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*gone\.txt \(option classes\)"):
        word_list("classes", str(tmp_path / "gone.txt"))
    (tmp_path / "empty.txt").write_bytes(codecs.BOM_UTF8 + b"\n \n")
    with pytest.raises(ValueError, match=r"empty\.txt \(option templates\) is empty"):
        word_list("templates", str(tmp_path / "empty.txt"))
    (tmp_path / "wide.txt").write_bytes("dog\ncat".encode("utf-16"))
    with pytest.raises(ValueError, match=r"wide\.txt \(option classes\) is no UTF-8 text: save it as UTF-8"):
        word_list("classes", str(tmp_path / "wide.txt"))

"""Every format of predictions and references: what its writer wrote comes back, what is damaged is refused."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from evaluation.captions.prediction_files import read_predictions
from evaluation.captions.references import read_reference_file

# Byte order marks begin lines, and are left out there.
IDS = st.text(min_size=1).filter(lambda text: text.strip() and not set(text) & {"\0", "\ufeff"})
CAPTIONS = st.text().filter(lambda text: not set(text) & {"\0", "\ufeff"})
ONE_LINE = CAPTIONS.map(lambda text: " ".join(text.replace("\t", " ").splitlines()))
ONE_LINE_IDS = IDS.map(lambda text: " ".join(text.replace("\t", " ").splitlines())).filter(str.strip)
PREDICTIONS = st.dictionaries(IDS, CAPTIONS, min_size=1)
REFERENCES = st.dictionaries(IDS, st.lists(CAPTIONS, min_size=1, max_size=3), min_size=1)


def captions_of_references(*arguments):
    return read_reference_file(*arguments).captions


def as_csv(rows: list[tuple], quoting: int = csv.QUOTE_MINIMAL) -> str:
    file = io.StringIO(newline="")
    csv.writer(file, quoting=quoting).writerows(rows)
    return file.getvalue()


def read(content: str | bytes, name: str, reader=read_predictions):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return reader(path)


def looks_like_rows(caption: str) -> bool:
    """Whether the caption spans lines of which one could be a row of two columns."""
    lines = caption.replace("\r", "\n").split("\n")
    return len(lines) > 1 and ("," in caption or "." in caption)


@given(PREDICTIONS, st.sampled_from(["", "\ufeff"]), st.booleans(), st.booleans())
def test_json_lists_and_objects_come_back(predictions, bom, ascii_only, as_list):
    content = [{"image_id": i, "caption": c} for i, c in predictions.items()] if as_list else predictions
    text = bom + json.dumps(content, ensure_ascii=ascii_only)
    assert read(text, "p.json") == predictions
    assert read(gzip.compress(text.encode()), "p.json.gz") == predictions


@given(PREDICTIONS)
def test_pycocoevalcaps_two_forms_come_back(predictions):
    assume("annotations" not in predictions)
    assert read(json.dumps({i: [c] for i, c in predictions.items()}), "p.json") == predictions
    assert read(json.dumps({i: [{"caption": c}] for i, c in predictions.items()}), "p.json") == predictions


@given(PREDICTIONS, st.sampled_from([".jsonl", ".ndjson", ".JSONL", ".json"]), st.booleans())
def test_json_lines_come_back(predictions, ending, ascii_only):
    lines = [json.dumps({"image_id": i, "caption": c}, ensure_ascii=ascii_only) for i, c in predictions.items()]
    assume(ending != ".json" or len(lines) > 1)  # one object alone is the plain form {id: caption}
    assert read("\n".join(lines) + "\n", f"p{ending}") == predictions


@given(PREDICTIONS, st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
def test_csv_comes_back(predictions, quoting):
    assume(not any(looks_like_rows(text) for item in predictions.items() for text in item))
    rows = [("image_id", "caption"), *predictions.items()]
    assert read(as_csv(rows, quoting), "p.csv") == predictions


@given(st.dictionaries(ONE_LINE_IDS, ONE_LINE, min_size=1))
def test_tsv_comes_back_with_quotes_as_text(predictions):
    lines = [f"{i}\t{c}" for i, c in predictions.items()]
    assert read("image_id\tcaption\n" + "\n".join(lines) + "\n", "p.tsv") == predictions


@given(REFERENCES)
def test_references_come_back_from_every_format(references):
    pairs = [(i, c) for i, captions in references.items() for c in captions]
    objects = [{"image_id": i, "caption": c} for i, c in pairs]
    assert read(json.dumps(objects), "r.json", captions_of_references) == references
    assert read("\n".join(map(json.dumps, reversed(objects))), "r.jsonl", captions_of_references) == {
        i: captions[::-1] for i, captions in references.items()
    }
    grouped = [json.dumps({"image_id": i, "captions": captions}) for i, captions in references.items()]
    assert read("\n".join(grouped), "r.ndjson", captions_of_references) == references
    coco = {"images": [{"id": i} for i in references], "annotations": objects}
    assert read("\ufeff" + json.dumps(coco), "r.json", captions_of_references) == references
    if "images" not in references and "annotations" not in references:
        dictionary = {i: [{"caption": c} for c in captions] for i, captions in references.items()}
        assert read(json.dumps(dictionary), "r.json", captions_of_references) == references
    if not any(looks_like_rows(text) for pair in pairs for text in pair):
        assert read(as_csv([("image_id", "caption"), *pairs]), "r.csv", captions_of_references) == references


ROWS = [("image_id", "caption"), ("1", "a man, on a bench"), ("2", 'a "red" dog'), ("3", "a cat"), ("4", "two birds")]


@given(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]), st.integers(0, 1000), st.booleans())
def test_csv_that_lost_or_gained_a_quote_or_lost_a_separator_is_refused(quoting, at, lost):
    whole = as_csv(ROWS, quoting)
    quotes = [n for n, character in enumerate(whole) if character == '"']
    separators = [n for n, character in enumerate(whole) if character == "," and whole[n + 1] != " "]
    places = quotes + separators if lost else quotes
    place = places[at % len(places)]
    damaged = whole[:place] + ("" if lost else '"') + whole[place + lost :]
    with pytest.raises(ValueError, match=r"p\.csv, lines? \d"):
        read(damaged, "p.csv")


@given(st.integers(min_value=1), st.sampled_from(["p.json", "p.jsonl", "p.json.gz"]))
def test_a_file_that_was_cut_is_refused(at, name):
    entries = [{"image_id": n, "caption": f"caption {n}, longer"} for n in range(4)]
    lines = "\n".join(map(json.dumps, entries))
    whole = (lines if name == "p.jsonl" else json.dumps(entries)).encode()
    whole = gzip.compress(whole, mtime=0) if name.endswith(".gz") else whole
    cut = whole[: at % len(whole)]
    assume(name != "p.jsonl" or (cut[-1:] != b"}" and cut[-1:] != b"\n" and cut))
    with pytest.raises(ValueError, match=r"p\.json"):
        read(cut, name)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "p.csv",
            "image_id,caption\n1,a man, on a bench\n",
            "line 2 has 3 fields, its header 2 .*quote the caption",
        ),
        ("p.csv", 'image_id,caption\n1,"a man\n2,a dog"\n', "line 2: a quoted field goes over"),
        ("p.csv", 'image_id,caption\n1,"a man\n2,a dog\n', "lines 2 to 3 are no CSV"),
        ("p.csv", 'image_id,caption\n1,a "man" sits\n', "line 2 has a quote in a field that is not quoted itself"),
        ("p.csv", "image_id,caption\n1\n", "line 2 has 1 fields"),
        ("p.csv", "image_id,caption,caption\n1,a,b\n", "its header has two columns 'caption'"),
        ("p.csv", "1,a cat\n2,a dog\n", "line 2 must be an object with `image_id`"),
        ("p.csv", "image_id:caption\n1:a cat\n", "must be an object with `image_id`"),
        ("p.csv", "image_id;caption\n1;a man; sitting\n", "line 2 has 3 fields, .*quote the caption"),
        (
            "p.csv",
            'image_id,caption\n1,"a dog, red\n2,a cat, blue"\n',
            "line 2: a quoted field goes over",
        ),
        ("p.csv", 'image_id,caption\n1,"\n2,a cat"\n', "line 2: a quoted field goes over"),
        ("p.csv", 'caption,image_id\n"a dog,1\na cat",2\n', "line 2: a quoted field goes over"),
        ("p.csv", 'image_id,caption,by\n1,"a dog,me\n2,a cat",me\n', "line 2: a quoted field goes over"),
        ("p.csv", '[{"image_id": 1, "caption": "a"}]', "holds JSON, no table"),
        ("p.csv", "", "holds no captions"),
        ("p.csv", "image_id,caption\n", "holds no captions"),
        ("p.csv", "image_id,caption\n1,a\0b\n", "line 2 holds a NUL byte"),
        ("p.csv", "image_id,caption,Caption\n1,a,b\n", "two columns of one name"),
        ("p.csv", "image_id,caption\n,\n", "line 2: an image id must be"),
        ("p.csv", "image_id,caption\n,a cat\n", 'line 2: an image id must be .* not blank; got ""'),
        ("p.tsv", "image_id\tcaption\n1\ta\tb\n", "line 2 has 3 fields.*must not hold a tab"),
        ("p.jsonl", "", "holds no captions"),
        ("p.jsonl", '{"image_id": 1, "caption": "a"}\n{"image_id": 2', "line 2 is not valid JSON"),
        ("p.jsonl", '[{"image_id": 1, "caption": "a"}]', r"line 1 must be a JSON object.*must be called \.json"),
        ("p.json", '{"image_id": 1, "caption": "a"}\n{"image_id": 2', "line 2 is not valid JSON"),
        ("p.json", "[" * 100_000, "is not valid JSON"),
        ("p.json", '[{"image_id": ' + "1" * 5000 + ', "caption": "a"}]', "is not valid JSON"),
        ("p.json.gz", '{"1": "a"}', "is not compressed with gzip"),
        ("p.json", "{'1': 'a'}", "is not valid JSON"),
        ("p.txt", "a cat on a mat\n", r"option predictions\) holds no JSON.*let its name end in"),
        ("p.json", '{"1": "a"}'.encode("utf-16"), "UTF-16: save it as UTF-8"),
        ("p.json", b'{"1": "caf\xe9"}', "is not UTF-8 text .line 1: .* at byte 10"),
        ("p.json", {"1": ["a", "b"]}, "entry '1': one caption an image is scored, not 2"),
        ("p.json", {"1": []}, "entry '1': one caption an image is scored, not 0"),
        ("p.json", {"1": [{"text": "a"}]}, "entry '1': a caption must be a string"),
        ("p.csv", "image_id,caption\n1,a\n1,b\n", "line 3: image 1 has a caption already"),
    ],
)
def test_what_cannot_be_read_as_what_it_is_is_refused(name, content, message):
    content = content if isinstance(content, str | bytes) else json.dumps(content)
    with pytest.raises(ValueError, match=message):
        read(content, name)


@pytest.mark.parametrize("value", [None, True, 1.5, [1], {"a": 1}, "", " \t"])
@pytest.mark.parametrize("name", ["p.json", "p.jsonl"])
def test_an_id_is_an_integer_or_a_string_in_every_file(value, name):
    entry = {"image_id": value, "caption": "a", "sentences": []}
    content = json.dumps([entry] if name == "p.json" else entry)
    for reader in (read_predictions, captions_of_references):
        with pytest.raises(ValueError, match=r"(entry 0|line 1): an image id must be an integer or a string"):
            read(content, name, reader)
    coco = {"images": [{"id": value}], "annotations": [{"image_id": 1, "caption": "a"}]}
    karpathy = {"images": [{"imgid": value, "split": "test", "sentences": [{"raw": "a"}]}]}
    for content in (coco, karpathy, {"annotations": [entry]}):
        with pytest.raises(ValueError, match="an image id must be an integer or a string"):
            read(json.dumps(content), "r.json", captions_of_references)


def test_numbers_and_their_decimal_strings_are_one_id():
    assert read('[{"image_id": 7, "caption": "a"}]', "p.json") == read("image_id,caption\n7,a\n", "p.csv") == {"7": "a"}
    with pytest.raises(ValueError, match="image 7 has a caption already"):
        read('[{"image_id": 7, "caption": "a"}, {"image_id": "7", "caption": "b"}]', "p.json")


def test_columns_may_have_other_names_and_blanks_around_them():
    assert read("path, Caption \na.jpg,a cat\n", "p.csv") == {"a.jpg": "a cat"}
    assert read("file_name\ttext\na.jpg\ta cat\n", "p.tsv") == {"a.jpg": "a cat"}
    assert read(",image_id,caption\n0,7,a cat\n", "p.csv") == {"7": "a cat"}  # as pandas writes with its index
    numbered = "image_id,caption_1,caption_2\n7,a cat,a pet\n8,a dog,\n"
    assert read(numbered, "r.csv", captions_of_references) == {"7": ["a cat", "a pet"], "8": ["a dog"]}
    assert read('{"annotations": [{"image_id": 1, "caption": "a"}]}', "p.json") == {"1": "a"}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", "| "])
def test_tables_may_have_any_usual_delimiter(delimiter):
    rows = [("Image_ID", "caption"), ("7", "a cat"), ("8", "two dogs")]
    text = "\n".join(map(delimiter.join, rows))
    for name in ("p.csv", "p.tsv"):
        assert read(text, name) == {"7": "a cat", "8": "two dogs"}
        assert read(text, name, captions_of_references) == {"7": ["a cat"], "8": ["two dogs"]}
    flickr30k = "image_name| comment_number| comment\na.jpg| 0| A man , in a hat .\na.jpg| 1| Two men .\n"
    assert read(flickr30k, "results.csv", captions_of_references) == {"a.jpg": ["A man , in a hat .", "Two men ."]}


def test_a_caption_of_several_lines_with_commas_is_no_swallowed_row():
    text = "a man, in a red coat, sits\non a bench, reads, and waits"
    assert read(as_csv([("image_id", "caption"), ("7", text)]), "p.csv") == {"7": text}


def test_one_object_in_a_json_file_is_an_entry():
    assert read('{"image_id": "a.jpg", "caption": "a cat"}\n', "p.json") == {"a.jpg": "a cat"}


def test_half_characters_are_replaced_and_counted(caplog):
    content = json.dumps(
        [{"image_id": 1, "caption": "a \ud83d and \ude00 b"}, {"image_id": 2, "caption": "\U0001f600"}]
    )
    assert read(content, "p.json") == {"1": "a \ufffd and \ufffd b", "2": "\U0001f600"}
    assert read(json.dumps({"1": ["a \ud83d", "b"]}), "r.json", captions_of_references) == {"1": ["a \ufffd", "b"]}
    warnings = [record.getMessage() for record in caplog.records]
    assert (
        "p.json: 2 half characters" in warnings[0] and "entry 0" in warnings[0] and "r.json: 1 half char" in warnings[1]
    )

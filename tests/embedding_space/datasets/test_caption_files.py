"""Files of captions of every format: read as what they are, or refused by a sentence with file, line and remedy."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pytest

from embedding_space.datasets.folders import read_captioned_folder
from embedding_space.datasets.texts import read_texts


def folder(path: Path, content: str | bytes, name: str, **keys) -> dict[str, tuple[str, tuple[str, ...]]]:
    """{photo: (split, captions)} of a folder whose captions are in the file `name`."""
    write(path / name, content)
    options = {"images": ".", "split": "train", "image_key": "image", "text_key": "caption", "split_key": "split"}
    return {p.image_id: (p.split, p.captions) for p in read_captioned_folder(path, name, **{**options, **keys})}


def texts(path: Path, content: str | bytes, name: str, text_key: object = "caption") -> list[str]:
    """The captions of a text-only corpus in the file `name`."""
    write(path / name, content)
    found = read_texts([str(path / name)], "train", "texts.train", text_key, "image")
    return [caption for photo in found for caption in photo.captions]


def write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))


FLICKR30K = 'image_name| comment_number| comment\n1.jpg| 0| A man , in a hat .\n1.jpg| 1|  Two 12" dogs .\n'
TOKENS = '1.jpg#0\tA man , in a hat .\n1.jpg#1\tTwo 12" dogs .\n'
READ = {"1.jpg": ("train", ("A man , in a hat .", 'Two 12" dogs .'))}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("results.csv", FLICKR30K),
        ("results.txt", FLICKR30K),
        ("Flickr8k.token.txt", TOKENS),
        ("results_20130124.token", TOKENS),
        ("captions.txt", 'image,caption\n1.jpg,"A man , in a hat ."\n1.jpg,"Two 12"" dogs ."\n'),
        ("captions.csv", 'image;caption\n1.jpg;A man , in a hat .\n1.jpg;"Two 12"" dogs ."\n'),
        ("captions.csv", ' image , caption_2, caption_10 \n1.jpg,"A man , in a hat .","Two 12"" dogs ."\n'),
        ("captions.tsv", 'image\tcaption_1\tcaption_2\n1.jpg\tA man , in a hat .\tTwo 12" dogs .\n'),
        (
            "captions.tsv",
            'image\tcaption\n1.jpg\tA man , in a hat .\n1.jpg\t"Two 12"" dogs ."\n',
        ),
        ("metadata.csv", 'file_name,text\n1.jpg,"A man , in a hat ."\n1.jpg,"Two 12"" dogs ."\n'),
        ("metadata.jsonl", '{"file_name": "1.jpg", "text": ["A man , in a hat .", "Two 12\\" dogs ."]}\n'),
        ("list.csv", 'image,caption\n1.jpg,"[""A man , in a hat ."", ""Two 12\\"" dogs .""]"\n'),
        ("captions.json", '{"1.jpg": ["A man , in a hat .", "Two 12\\" dogs ."]}'),
        ("captions.JSON", '[{"image": "1.jpg", "caption": ["A man , in a hat .", "Two 12\\" dogs ."]}]'),
        ("c.NDJSON", '{"image": "./1.jpg", "caption_0": "A man , in a hat .", "caption_1": "Two 12\\" dogs ."}'),
    ],
)
def test_published_formats_are_read(tmp_path, name, content, capsys):
    for dress in (content, "\ufeff" + content, content.replace("\n", "\r\n"), content.replace("\n", "\r")):
        assert folder(tmp_path, dress, name) == READ
    write(tmp_path / f"{name}.gz", gzip.compress(content.encode()))
    assert folder(tmp_path, gzip.compress(content.encode()), f"{name}.gz") == READ
    printed = capsys.readouterr().out
    assert "1 photos, 2 captions" in printed and "first caption: A man , in a hat .\n" in printed


def test_what_was_read_from_which_columns_is_printed(tmp_path, capsys):
    folder(tmp_path, "image_name,caption_1,caption_2,Split\n1.jpg,a,b,Test\n2.jpg,c, ,\n", "captions.csv")
    printed = capsys.readouterr().out
    assert "2 entries, 2 photos, 3 captions, 1 blank ones left out" in printed
    assert "caption from caption_1 and caption_2, photo from image_name, split from Split" in printed


def test_scattered_lines_of_a_photo_are_together(tmp_path):
    lines = [{"image": f"{n}.jpg", "caption": f"{k} of {n}"} for k in range(3) for n in range(2)]
    content = "".join(json.dumps(line) + "\n" for line in lines)
    assert folder(tmp_path, content, "captions.jsonl") == {
        f"{n}.jpg": ("train", tuple(f"{k} of {n}" for k in range(3))) for n in range(2)
    }


CSV = "image,caption\n"
FOLDER_REFUSED = [
    (
        "a.csv",
        f"{CSV}0.jpg,a man, sitting on a bench\n",
        r"a\.csv, line 2 has 3 fields, .*quote the caption",
    ),
    ("a.csv", "image,caption,split\n0.jpg,a man\n", "line 2 has 2 fields, its header 3"),
    (
        "a.csv",
        f'{CSV}0.jpg,"welcome home\n1.jpg,a cat\n2.jpg,two birds"\n',
        "line 2: a quoted field goes over",
    ),
    ("a.csv", f'{CSV}0.jpg,"\n1.jpg,a cat"\n', "line 2: a quoted field goes over"),
    ("a.csv", 'caption,image\n"a dog,0.jpg\na cat",1.jpg\n', "line 2: a quoted field goes over"),
    ("a.csv", 'caption,image\n"a dog,7\na cat",8\n', "line 2: a quoted field goes over"),
    ("a.csv", 'image,caption,split\n7,"a dog,train\n8,a cat",train\n', "line 2: a quoted field goes over"),
    ("a.csv", '{"image": "0.jpg", "caption": "x"}\n', r"holds JSON, no table: call it \.jsonl"),
    ("a.csv", f'{CSV}0.jpg,"welcome home\n1.jpg,a cat\n', "no CSV: unexpected end of data"),
    ("a.csv", f'{CSV}0.jpg,"stop" says the sign\n', "line 2 is no CSV"),
    ("a.csv", f'{CSV}0.jpg,a 12" pizza\n', "line 2 has a quote in a field that is not quoted"),
    ("a.csv", f'{CSV}0.jpg,"say \\"stop\\""\n', "line 2 is no CSV"),
    ("a.csv", "", "is empty"),
    ("a.csv", CSV, "is empty"),
    ("a.csv", f"{CSV}0.jpg,\n1.jpg, \n", "holds no captions"),
    ("a.csv", "image,caption,caption\n0.jpg,a,b\n", "two columns 'caption'"),
    ("a.csv", "photo,caption\n0.jpg,a\n", r"line 2: the field 'image' is missing; .*'photo', 'caption'.*image_key="),
    ("a.csv", f"{CSV},a\n", "line 2: the field 'image' is missing"),
    ("a.csv", "image,set,caption\n0.jpg,TEST,a\n", r"line 2: the field 'set' says 'TEST'.*split_key="),
    ("a.csv", "image,Fold,caption\n0.jpg,val,a\n", r"line 2: the field 'Fold' says 'val'.*split_key="),
    ("a.csv", "image,data_split,caption\n0.jpg,dev,a\n", r"line 2: the field 'data_split' says 'dev'.*split_key="),
    ("a.csv", f"{CSV}0.jpg,\"['a dog' 'a cat']\"\n", "line 2: the caption looks like a list"),
    ("a.tsv", "image\tcaption\n0.jpg\ta\tb\n", "line 2 has 3 fields, its header 2 .*must not hold a tab"),
    ("a.tsv", "0.jpg\ta dog\n1.jpg\ta cat\n", "the first line of a table must be a header"),
    ("a.csv", f"{FLICKR30K}2.jpg| 4 A dog runs .\n", r"line 4 has 2 fields, its header 3"),
    ("a.token", "0.jpg#0\ta\n0.jpg#0\tb\n", r"line 2: 0\.jpg#0 is there twice"),
    ("a.token", "0.jpg#0\ta\n0.jpg b\n", r"line 2 must read photo\.jpg#0"),
    ("a.txt", "a dog\na cat\n", "line 1 names no photo"),
    ("a.json", '["a dog"]', "entry 0 names no photo"),
    ("a.json", '{"image": "0.jpg"}\n{"image": "1.jpg"}\n', r"one object per line: call it \.jsonl"),
    (
        "a.json",
        '{"images": [], "annotations": [{"caption": "x"}]}',
        r"\[0\]: the field 'image_id' is missing",
    ),
    ("a.json", '{"images": [{"sentences": []}]}', r"Karpathy's.*dataset=coco"),
    ("a.jsonl", '[\n {"image": "0.jpg"}\n]\n', r"line 1 is not valid JSON.*must be called \.json"),
    (
        "a.jsonl",
        '{"image": "0.jpg", "image": "1.jpg", "caption": "x"}',
        "line 1 .*the key 'image' is there twice",
    ),
    ("a.jsonl", '{"image": "0.jpg", "caption": ["x", 5]}', "line 1: a caption must be text, not 5"),
    ("a.jsonl", '{"image": "0\\ud83d.jpg", "caption": "x"}', "line 1: .*half a character"),
    ("a.jsonl", '{"image": "0.jpg", "caption": "x\\u0000y"}', "line 1: a caption holds a NUL"),
    ("a.jsonl", '{"image": "0.jpg", "caption": "x", "split": 3}', "line 1: 3 is no name of a split"),
    ("a.jsonl", '{"image": "0.jpg", "caption": "x", "split": "a+b"}', r"line 1: 'a\+b' is no name of a split"),
    ("a.jsonl", "[" * 100_000, "line 1 is not valid JSON"),
]
TEXTS_REFUSED = [
    ("a.txt", "\n  \n", "is empty"),
    ("a.txt", "caption\na dog\n", "line 1 is a header"),
    ("a.txt", "a dog\n0.jpg\ta cat\n", r"line 2 holds a tab.*\.tsv"),
    ("a.txt", "0.jpg,a dog\n", r"line 1 begins with the name of a picture.*\.csv"),
    ("a.txt", '{"caption": "a dog"}\n', r"line 1 looks like JSON.*\.jsonl"),
    ("a.txt", '[\n"a dog"\n]\n', "line 1 looks like JSON"),
    ("a.txt", '["a dog",\n"a cat"]\n', "line 1 looks like JSON"),
    ("a.txt", "a dog\n\0\n", "line 2 holds a NUL byte"),
    ("a.txt", "a dog\na \rcat\n", "line 2 holds a carriage return"),
    ("a.txt", b"a dog\nna\xefve\n", r"a\.txt is not UTF-8 text \(line 2"),
    ("a.txt", "a dog\n".encode("utf-16"), "not UTF-8 text but UTF-16"),
    ("a.txt", "a dog\n".encode("utf-16-le"), "NUL byte, as UTF-16 does"),
    ("a.txt.gz", gzip.compress(b"a dog\n", mtime=0)[:-9], "damaged gzip"),
    ("a.parquet", "PAR1", r"must end in \.jsonl, \.csv or \.tsv"),
    ("a.csv", 'caption\n"a dog\na cat"\n', "line 2: a quoted field goes over several lines"),
    ("a.csv", "id,text\n1,a dog\n", r"the field 'caption' is missing; .*'id', 'text'.*text_key="),
    ("a.json", "", "is not valid JSON"),
    ("a.json", "[]", "is empty"),
    ("a.json", "5", "must hold a list or an object"),
    ("a.json", '{"image": {"0": "a.jpg"}, "caption": {"0": "a dog"}}', "one object with the field 'caption'"),
    ("a.json", '{"image": ["a.jpg"], "caption": ["a dog"]}', "one object with the field 'caption'"),
    ("a.json", '{"image": "a.jpg", "caption": "a dog"}', "one object with the field 'caption'"),
    ("a.json", '{"file_name": "a.jpg", "text": "a dog"}', "one object with the field 'file_name'"),
    ("a.json", '{"train": ["a dog"], "Validation": ["a cat"]}', r"texts by split \('train', 'Validation'\)"),
    ("a.json", '{"photo": {"caption": "a dog"}}', "entry 'photo': a caption must be text"),
    ("a.txt", "text\na dog\n", "line 1 is a header"),
    ("a.txt", "id,text\n1,a dog\n", "line 1 looks like the header of a table.*text_key="),
    ("a.txt", "number | words\n1 | a dog\n", "line 1 looks like the header of a table"),
    ("a.txt", "a dog\n391895,a cat\n", "line 2 begins with a number and a delimiter"),
    ("a.txt", '7;"a cat"\n', "line 1 begins with a number and a delimiter"),
    ("a.txt", "['a dog', 'a cat']\n", "line 1 is a list of Python's"),
    ("a.txt", "<!DOCTYPE html>\n<p>404</p>\n", "line 1 is HTML or XML"),
    ("a.srt", "1\n00:00:01,000 --> 00:00:02,000\na dog\n", r"must end in \.jsonl"),
]


@pytest.mark.parametrize(("name", "content", "message"), FOLDER_REFUSED)
def test_what_is_no_file_of_photos_and_captions_is_refused(tmp_path, name, content, message):
    with pytest.raises(ValueError, match=message):
        folder(tmp_path, content, name)


@pytest.mark.parametrize(("name", "content", "message"), TEXTS_REFUSED)
def test_what_is_no_file_of_captions_is_refused(tmp_path, name, content, message):
    with pytest.raises(ValueError, match=message):
        texts(tmp_path, content, name)


COCO = {"images": [], "annotations": [{"image_id": 1, "caption": "a dog"}, {"image_id": 2, "caption": "a cat"}]}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "a dog\n\n a  cat "),
        ("a.en", "a dog\ra cat\r"),
        ("a.txt.gz", gzip.compress(b"a dog\na cat\n", mtime=0)),
        ("a.json", json.dumps(["a dog", "a cat"])),
        ("a.json", json.dumps([{"caption": "a dog"}, {"caption": ["a cat"]}])),
        ("a.json", json.dumps(COCO)),
        ("a.csv", "caption\na dog\n\na cat\n"),
        ("a.csv", 'id,caption\n1,"a dog\n"\n2,"a\ncat"\n'),  # COCO's captions end so, and pandas writes them so
        ("a.csv", "caption,split\na dog,train\na cat,\nheld out,Test\n"),
        ("a.tsv", "caption\turl\na dog\thttp://a/1.jpg\na cat\thttp://a/2.jpg\n"),
        ("a.ndjson", '{"caption": "a dog"}\n\n{"caption": "a cat"}\n'),
        ("a.token.txt", "1.jpg#0\ta dog\n1.jpg#1\ta cat\n"),
    ],
)
def test_captions_alone_are_read_from_every_format(tmp_path, name, content):
    assert texts(tmp_path, content, name) == ["a dog", "a cat"]


@pytest.mark.parametrize(
    "caption",
    ["2,000 people march", "2, maybe 3, dogs", "dogs, cats", "a man, a dog", "<person> holds a dog", "dogs", "3 dogs"],
)
def test_captions_that_look_a_bit_like_rows_are_captions(tmp_path, caption):
    assert texts(tmp_path, f"{caption}\na cat\n", "a.txt") == [caption, "a cat"]


@pytest.mark.parametrize("sign", ["\x85", "\u2028", "\u2029", "\x0b", "\x0c", "\x1c"])
@pytest.mark.parametrize(("name", "before"), [("a.txt", ""), ("a.csv", "caption,x\n"), ("a.tsv", "caption\tx\n")])
def test_only_line_ends_end_lines(tmp_path, sign, name, before):
    more = {"a.txt": "", "a.csv": ",1", "a.tsv": "\t1"}[name]
    assert texts(tmp_path, f"{before}a{sign}dog{more}\na cat{more}\n", name) == ["a dog", "a cat"]


def test_quotes_are_text_in_tsv_but_for_columns_that_are_quoted_throughout(tmp_path):
    lines = ['"stop" says the sign', '"two birds"', '"welcome home', 'a 12" pizza', 'a boat" on a lake']
    assert texts(tmp_path, "caption\tn\n" + "".join(f"{line}\t1\n" for line in lines), "a.tsv") == lines
    assert texts(tmp_path, '"caption"\t"n"\n"a dog"\t"1"\n"a ""big"" cat"\t"2"\n', "a.tsv") == ["a dog", 'a "big" cat']


def test_several_keys_of_captions(tmp_path):
    content = "image,first,second,third\n0.jpg,a,b,c\n1.jpg,d,,f\n"
    read = folder(tmp_path, content, "a.csv", text_key=["first", "third"])
    assert read == {"0.jpg": ("train", ("a", "c")), "1.jpg": ("train", ("d", "f"))}
    assert folder(tmp_path, content, "a.csv", text_key=["second"])["1.jpg"] == ("train", ())
    for ending, more in (("csv", content), ("jsonl", '{"image": "0.jpg", "first": "a"}\n')):
        with pytest.raises(ValueError, match=r"no entry has the field 'fourth' \(option dataset\.text_key"):
            folder(tmp_path, more, f"a.{ending}", text_key=["first", "fourth"])
    with pytest.raises(ValueError, match=r"no entry has the field 'part' \(option dataset\.split_key"):
        folder(tmp_path, f"{CSV}0.jpg,a\n", "a.csv", split_key="part")


@pytest.mark.parametrize("bad", [None, True, False, 1.0, 1.5, [1], {"a": 1}, "", " "])
def test_one_rule_for_ids(tmp_path, bad):
    for image, name in ((7, "7"), ("7", "7"), (10**30, str(10**30)), ("a b.jpg", "a b.jpg")):
        assert list(folder(tmp_path, json.dumps({"image": image, "caption": "x"}), "a.jsonl")) == [name]
    with pytest.raises(ValueError, match=r"a\.jsonl, line 1: (an image's id must be|the field 'image' is missing)"):
        folder(tmp_path, json.dumps({"image": bad, "caption": "x"}), "a.jsonl")


def test_a_photo_in_two_splits_is_refused_by_its_lines(tmp_path):
    content = "image,caption,split\n0.jpg,a,Test\n1.jpg,b,train\n./0.jpg,c,train\n"
    with pytest.raises(ValueError, match=r"line 4: 0\.jpg is of split 'train', but of 'Test' in line 2"):
        folder(tmp_path, content, "a.csv")
    same = folder(tmp_path, "image,caption,split\n0.jpg,a,Test\n0.jpg,c,testing\n", "a.csv")
    assert same == {"0.jpg": ("Test", ("a", "c"))}


def test_half_characters_are_replaced_and_counted(tmp_path, capsys):
    content = '{"caption": "a smile \\ud83d\\ude00"}\n{"caption": "half \\ud83d"}\n{"caption": "\\ude00\\ud83d"}\n'
    assert texts(tmp_path, content, "a.jsonl") == ["a smile 😀", "half \ufffd", "\ufffd\ufffd"]
    assert "(a lone surrogate) became U+FFFD: 2" in capsys.readouterr().out


def test_a_log_that_cannot_show_a_caption_does_not_end_the_reading(tmp_path, monkeypatch):
    log = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", log)
    assert texts(tmp_path, "a smile 😀\n", "a.txt") == ["a smile 😀"]
    log.flush()
    assert b"first caption: a smile \\U0001f600" in log.buffer.getvalue()


def test_a_lost_line_of_a_token_file_is_reported(tmp_path, capsys):
    folder(tmp_path, "0.jpg#0\ta\n0.jpg#2\tc\n1.jpg#0\td\n", "a.token")
    assert "1 photos lack a caption between their numbers, such as 0.jpg" in capsys.readouterr().out

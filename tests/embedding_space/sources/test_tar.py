"""Tar files of samples: keys, fields, and what is no whole tar file."""

from __future__ import annotations

import tarfile

import pytest

from embedding_space.sources.tar import TarShard, split_name

MEMBERS = {"000.jpg": b"zero", "000.json": b"{}", "dir/001.PNG": b"one", "dir/001.txt": b"-", "002.txt": b"no picture"}


def content(source):
    return [(row.key, file.name, file.content) for row in source.rows() for file in [row.read()]]


@pytest.mark.parametrize(("ending", "mode"), [("tar", "w"), ("tar.gz", "w:gz")])
def test_the_pictures_of_samples_are_read_in_order(write_tar, tmp_path, ending, mode):
    path = write_tar(tmp_path / f"s.{ending}", MEMBERS, mode)
    expected = [("000", f"{path}/000.jpg", b"zero"), ("dir/001", f"{path}/dir/001.PNG", b"one")]
    assert content(TarShard(path, "image")) == expected
    assert [key for key, *_ in content(TarShard(path, "image", prefix_keys=True))] == [f"{path}/000", f"{path}/dir/001"]
    assert [row.key for row in TarShard(path, "image").rows()] == ["000", "dir/001"]  # nothing is read
    assert content(TarShard(path, "image", "txt"))[1] == ("002", f"{path}/002.txt", b"no picture")


def test_a_sample_with_two_pictures_needs_a_field(write_tar, tmp_path):
    path = write_tar(tmp_path / "s.tar", {"0.left.png": b"l", "0.right.png": b"r"})
    with pytest.raises(ValueError, match=r"two files of its sample 0 are pictures, .* 0.right.png: .*field=right.png"):
        content(TarShard(path, "image"))
    assert content(TarShard(path, "image", "right.png")) == [("0", f"{path}/0.right.png", b"r")]


def test_a_tar_that_is_cut_off_anywhere_is_refused(write_tar, tmp_path):
    whole = write_tar(tmp_path / "s.tar", {f"{number}.jpg": bytes(number * 300) for number in range(4)}).read_bytes()
    with tarfile.open(tmp_path / "s.tar") as tar:
        end = max(member.offset_data + member.size for member in tar)
    end = -(-end // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE  # where the end mark begins
    cut = tmp_path / "cut.tar"
    for length in range(0, end + tarfile.BLOCKSIZE, 100):
        cut.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"cut.tar .*fetch or write it again"):
            list(TarShard(cut, "image").rows())
    cut.write_bytes(whole[: end + tarfile.BLOCKSIZE])
    assert len(list(TarShard(cut, "image").rows())) == 4
    damaged = bytearray(whole)
    damaged[512:600] = b"x" * 88  # the second header: tarfile takes it for the end
    cut.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"cut.tar .*fetch or write it again"):
        list(TarShard(cut, "image").rows())
    with pytest.raises(FileNotFoundError):
        list(TarShard(tmp_path / "gone.tar", "image").rows())


def test_a_link_is_no_picture(tmp_path):
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        link = tarfile.TarInfo("0.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    [row] = TarShard(tmp_path / "s.tar", "image").rows()
    with pytest.raises(ValueError, match=r"0.jpg is a link or a device, and no file in the tar"):
        row.read()


def test_names_are_split_as_webdataset_does():
    names = ("a/0001.left.JPG", "./a.b/c.d", "plain", "x.jpg")
    assert [split_name(name) for name in names] == [("a/0001", "left.jpg"), ("a.b/c", "d"), ("plain", ""), ("x", "jpg")]

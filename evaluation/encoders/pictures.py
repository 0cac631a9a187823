"""The pictures of probes: in a folder, in an installed package, or fetched. The repository has none of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from common.files import file_sha256
from common.paths import PACKAGE, find_in_package
from embedding_space.datasets.download import check_network, fetch


@dataclass(frozen=True)
class Picture:
    """A picture file of a probe.

    Attributes:
        sha256: of the file.
        url: where it can be fetched; None where it comes with a package.
        package: a PyPI package that has it, by its name there and as it is imported.
    """

    sha256: str
    url: str | None = None
    package: tuple[str, str] | None = None


SCIKIT_IMAGE = ("scikit-image", "skimage")
CLIP_COMMIT = "d05afc436d78f1c48dc0dbf8e5980a9d471f35f6"
# name of the file: where it is to be had
PICTURES = {
    "CLIP.png": Picture(
        "308a3ca4503f1c7a07803916c369d78c4ef501e5ab7fc727da9b5e1d2f9ec85b",
        url=f"https://raw.githubusercontent.com/openai/CLIP/{CLIP_COMMIT}/CLIP.png",
    ),
    "000000039769.jpg": Picture(
        "dea9e7ef97386345f7cff32f9055da4982da5471c48d575146c796ab4563b04e",
        url="http://images.cocodataset.org/val2017/000000039769.jpg",
    ),
    "page.png": Picture("341a6f0a61557662b02734a9b6e56ec33a915b2c41886b97509dedf2a43b47a3", package=SCIKIT_IMAGE),
    "astronaut.png": Picture("88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5", package=SCIKIT_IMAGE),
    "rocket.jpg": Picture("c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c", package=SCIKIT_IMAGE),
    "chelsea.png": Picture("596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb", package=SCIKIT_IMAGE),
    "horse.png": Picture("c7fb60789fe394c485f842291ea3b21e50d140f39d6dcb5fb9917cc178225455", package=SCIKIT_IMAGE),
    "coffee.png": Picture("cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7", package=SCIKIT_IMAGE),
    "camera.png": Picture("b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a", package=SCIKIT_IMAGE),
    "motorcycle_right.png": Picture(
        "5fc913ae870e42a4b662314bc904d1786bcad8e2f0b9b67dba5a229406357797", package=SCIKIT_IMAGE
    ),
}


def find_picture(name: str, folder: Path | None, cache_dir: Path, download: bool) -> Path | str:
    """The picture's file, or one sentence on why it is not there.

    Args:
        folder: the user's, which comes first.
        cache_dir: what was fetched before, and where it is fetched to.
        download: whether it may be fetched.

    Raises:
        ValueError: the user's file is another picture.
    """
    picture = PICTURES[name]
    if folder is not None and (folder / name).is_file():
        return _checked(folder / name, picture, f"pictures={folder}")
    if (cache_dir / name).is_file():
        return _checked(cache_dir / name, picture, f"cache_dir={cache_dir}")
    if picture.package is not None:
        distribution, module = picture.package
        try:
            file = find_in_package(f"{PACKAGE}{module}", name)
        except (ImportError, ValueError):
            return f"{name} comes with a package: pip install {distribution}"
        return file if file_sha256(file) == picture.sha256 else f"{distribution} has another {name} than the probe's"
    if picture.url is None or not download:
        return f"{name} is not there: run python scripts/check_encoder.py, which fetches it, or give pictures=FOLDER"
    try:
        check_network([picture.url])
        cache_dir.mkdir(parents=True, exist_ok=True)
        return _checked(fetch(picture.url, cache_dir / name, progress=False), picture, f"cache_dir={cache_dir}")
    except (FileNotFoundError, ValueError) as error:
        return f"{name} is not there ({error}); save {picture.url} in a folder and give pictures=FOLDER"


def _checked(file: Path, picture: Picture, option: str) -> Path:
    """The file. Raises ValueError when its checksum is another one."""
    if (actual := file_sha256(file)) != picture.sha256:
        where = picture.url or f"the package {picture.package and picture.package[0]}"
        raise ValueError(
            f"{option}: {file.name} has the SHA-256 {actual[:12]}, not {picture.sha256[:12]}, so that its values are "
            f"not the published ones: delete it, or take the file from {where}"
        )
    return file

"""A web page that captions photos, sounds or videos by every method, and an HTTP endpoint. See configs/web.yaml.

python scripts/web.py checkpoint=photos
"""

from __future__ import annotations

from omegaconf import DictConfig

from common.cli import command


def main() -> None:
    """The command line: options of `configs/web.yaml`."""

    def run(config: DictConfig) -> None:
        from web_app.serve import serve

        serve(config)

    command("web", run)()


if __name__ == "__main__":
    main()

"""Whether an encoder is the one that it is called.

The work behind `scripts/check_encoder.py`, and the check before a data set is encoded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from omegaconf import DictConfig

from common.files import write_json
from common.plain import plain
from common.provenance import run_facts
from common.registry import look_up
from common.warn import warn_once
from embedding_space.encoders.base import Encoder
from embedding_space.encoders.load import load_encoder
from evaluation.encoders.check import Check, check_probes, check_weights, checks_table
from evaluation.encoders.known import KNOWN, KnownWeights, find_known
from evaluation.encoders.rows import check_rows


def check_encoder(config: DictConfig) -> list[Check]:
    """Check as `configs/check_encoder.yaml` says, print the table and write `checks.json`.

    Raises:
        ValueError: a check failed, or the encoder cannot be loaded.
        FileNotFoundError: `pictures` is no folder.
    """
    fetch = config.pictures == "fetch"
    folder = None if fetch or config.pictures == "none" else Path(config.pictures)
    if folder is not None and not folder.is_dir():
        raise FileNotFoundError(
            f"pictures={folder} is no folder, and neither fetch nor none: name the one that holds the probes' pictures"
        )
    if config.known is not None:
        look_up(config.known, KNOWN, "name of known weights", "known")
    encoder = load_encoder(**config.encoder)
    name, known = _known(encoder, config.known)
    checks = []
    if known is None:
        reason = f"nothing was published for this encoder that is known here; known: {', '.join(KNOWN)} (option known)"
        checks.append(Check("published values", "not checked", remark=reason))
    else:
        checks += check_weights(encoder, known)
        checks += check_probes(encoder, known.probes, folder, Path(config.cache_dir), fetch)
    checks += check_rows(encoder, known, Path(config.store), config.split, config.sample, config.seed)
    print(
        f"{encoder.description['name']}, held against {name or 'nothing that was published'}\n\n{checks_table(checks)}"
    )
    content = {"facts": run_facts(), "config": plain(config), "encoder": encoder.description, "known": name}
    write_json(Path(config.output_dir) / "checks.json", content | {"checks": [asdict(check) for check in checks]})
    unchecked = [check.name for check in checks if check.state in ("not checked", "unclear")]
    if unchecked:
        print(f"\nLeft unchecked or unclear: {', '.join(unchecked)}.")
    raise_failed(checks, f"the encoder {encoder.description['name']}")
    return checks


def check_before_encoding(encoder: Encoder, cache_dir: str | Path) -> None:
    """The checks that take a second, of weights of which values are known; nothing is fetched. Doubts are warned of.

    Raises:
        ValueError: a check failed.
    """
    _, known = _known(encoder, None)
    if known is None:
        return
    checks = [*check_weights(encoder, known), *check_probes(encoder, known.probes, None, Path(cache_dir), False)]
    for check in checks:
        if check.state == "unclear":
            warn_once(f"{encoder.description['name']}, {check.name}: {check.remark} ({check.source})")
    raise_failed(checks, f"the encoder {encoder.description['name']}", " (check_encoder=false encodes nevertheless)")


def raise_failed(checks: Sequence[Check], what: str, otherwise: str = "") -> None:
    """Raise a ValueError that names the checks that failed, if any did."""
    failed = [check for check in checks if check.state == "failed"]
    if not failed:
        return
    count = sum(check.state in ("passed", "failed") for check in checks)
    values = "; ".join(f"{check.name}: {check.measured}, not {check.expected}" for check in failed)
    remedies = "; ".join(dict.fromkeys(check.remedy for check in failed))
    raise ValueError(f"{len(failed)} of {count} checks of {what} failed ({values}): {remedies}{otherwise}")


def _known(encoder: Encoder, name: str | None) -> tuple[str | None, KnownWeights | None]:
    if name is not None:
        return name, KNOWN[name]
    description: Mapping = encoder.description.get("of", encoder.description)
    return find_known(description) or (None, None)

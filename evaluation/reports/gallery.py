"""The pictures of a comparison with each method's caption and score: which are shown, and how they are sorted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from itertools import permutations
from pathlib import Path

import numpy as np

from embedding_space.store import EmbeddingStore
from evaluation.captions.prediction_files import read_predictions
from evaluation.reports.plots import Example
from evaluation.reports.statistics import read_per_image

ORDERS = {
    "set": "as in the data set",
    "first": "first better by most",
    "second": "second better by most",
    "either": "furthest apart",
}

# Everything that it changes is there without it, in the data set's order.
SCRIPT = """
const form = document.getElementById("sorting"), grid = document.getElementById("pictures");
const cards = Array.from(grid.children, (card, place) => ({card, place, scores: JSON.parse(card.dataset.scores),
  difference: card.querySelector(".difference"), captions: Array.from(card.querySelectorAll("dl > div"))}));
const signed = value => (value < 0 ? "\\u2212" : value > 0 ? "+" : "") + Math.abs(value).toFixed(1);
function sort() {
  const options = form.elements, first = +options.first.value, second = +options.second.value;
  const apart = c => c.scores[first] - c.scores[second];
  const key = {first: c => -apart(c), second: apart, either: c => -Math.abs(apart(c)), set: c => c.place};
  const by = key[options.order.value];
  cards.sort((a, b) => by(a) - by(b) || a.place - b.place);
  grid.append(...cards.map(c => c.card));
  for (const c of cards) {
    c.difference.textContent = signed(apart(c));
    c.captions.forEach((entry, n) => {
      const chosen = n === first || n === second;
      entry.classList.toggle("chosen", chosen);
      entry.hidden = !chosen && !options.all.checked;
    });
  }
  const better = cards.filter(c => apart(c) > 0).length, worse = cards.filter(c => apart(c) < 0).length;
  const name = select => select.selectedOptions[0].textContent;
  options.told.value = `${name(options.first)} is better on ${better} of these pictures, ` +
    `${name(options.second)} on ${worse}, ${cards.length - better - worse} are equal.`;
}
form.addEventListener("input", sort);
form.addEventListener("submit", event => event.preventDefault());
form.hidden = false;
sort();
"""


def gallery_examples(
    runs: Sequence[Mapping], store: EmbeddingStore, split: str, count: int, decoding: str | None = None
) -> list[Example]:
    """At most `count` pictures of `split` with references and each method's caption and CIDEr, in the split's order.

    Captions and scores are of the first seed and of `decoding`, by default the first. Half of the pictures are evenly
    spaced; in the others two methods' CIDEr differ most, every two methods in turn. Methods that are fed texts are left
    out. Raises ValueError for a decoding that no run has.
    """
    decoding = decoding or runs[0]["decoding_name"]
    own = [run for run in runs if (run["seed"], run["decoding_name"]) == (runs[0]["seed"], decoding)]
    if not own:
        known = ", ".join(dict.fromkeys(run["decoding_name"] for run in runs))
        raise ValueError(f"decoding={decoding} is not among the comparison's: {known}")
    folders = {run["method"]: Path(run["evaluation"]) for run in own if run["caption_from"] == "images"}
    captions = {method: read_predictions(folder / "predictions.json") for method, folder in folders.items()}
    found = {method: read_per_image(folder, "CIDEr") for method, folder in folders.items()}
    by_id = {m: dict(zip(ids, 100 * values, strict=True)) for m, (ids, values) in _there(found).items()}
    references = store.tables.references(split)
    paths = dict(zip(references, store.tables.image_paths(store.tables.image_rows(split)), strict=True))
    image_ids = [image_id for image_id in references if references[image_id]]  # the others were not scored
    scores = np.array([[by_id[method][image_id] for image_id in image_ids] for method in by_id])
    return [
        Example(
            paths[image_ids[row]],
            image_ids[row],
            references[image_ids[row]],
            {method: own[image_ids[row]] for method, own in captions.items()},
            {method: float(own[image_ids[row]]) for method, own in by_id.items()},
        )
        for row in chosen_rows(scores, len(image_ids), count)
    ]


def chosen_rows(scores: np.ndarray, images: int, count: int) -> list[int]:
    """Increasing rows of at most `count` of so many images: half evenly spaced, half of the largest differences between
    two rows of `scores` (methods, images), every ordered pair in turn."""
    spaced = count if len(scores) < 2 else (count + 1) // 2
    chosen = dict.fromkeys(np.linspace(0, images - 1, min(spaced, images)).round().astype(int).tolist())
    if len(scores) > 1 and count:
        pairs = np.array(list(permutations(range(len(scores)), 2)))
        most = np.argsort(scores[pairs[:, 1]] - scores[pairs[:, 0]], axis=1, kind="stable")[:, :count]
        for row in most.T.ravel().tolist():
            if len(chosen) >= min(count, images):
                break
            chosen[row] = None
    return sorted(chosen)


def sortable(examples: Sequence[Example]) -> bool:
    """Whether there are scores of the same two methods or more in all examples, by which they can be sorted."""
    methods = {tuple(example.scores) for example in examples}
    return len(methods) == 1 and len(examples[0].scores) > 1 and all(list(e.captions) == [*e.scores] for e in examples)


def controls(examples: Sequence[Example], second: str | None) -> str:
    """The form that sorts; it begins with the method of the highest mean score and `second`, else the first other."""
    methods = list(examples[0].scores)
    first = max(methods, key=lambda method: sum(example.scores[method] for example in examples))
    if second not in methods or second == first:
        second = next(method for method in methods if method != first)
    orders = [f'<option value="{value}">{label}</option>' for value, label in ORDERS.items()]
    return (
        '<form id="sorting" class="controls" hidden aria-label="Sort the pictures">'
        f"<label>First method{_select('first', methods, first)}</label>"
        f"<label>Second method{_select('second', methods, second)}</label>"
        f'<label>Order<select name="order" autocomplete="off">{"".join(orders)}</select></label>'
        '<label class="tick"><input type="checkbox" name="all" autocomplete="off">all captions</label>'
        '<output name="told"></output></form>'
    )


def score_list(example: Example) -> str:
    """The attribute that the script reads: the scores in the order of the captions."""
    return f' data-scores="{escape(json.dumps([round(score, 2) for score in example.scores.values()]))}"'


def _select(name: str, methods: Sequence[str], chosen: str) -> str:
    options = "".join(
        f'<option value="{n}"{" selected" if method == chosen else ""}>{escape(method)}</option>'
        for n, method in enumerate(methods)
    )
    return f'<select name="{name}" autocomplete="off">{options}</select>'


def _there(found: Mapping) -> dict:
    return {method: values for method, values in found.items() if values is not None}

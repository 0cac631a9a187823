// Sorts the pictures. Without it they are in the data set's order, and nothing is missing.
const form = document.getElementById("sorting");
const grid = document.getElementById("pictures");
const cards = Array.from(grid.children, (card, place) => ({
  card,
  place,
  scores: JSON.parse(card.dataset.scores),
  difference: card.querySelector(".difference"),
  captions: Array.from(card.querySelectorAll("dl > div")),
}));

function signed(value) {
  const sign = value < 0 ? "\u2212" : value > 0 ? "+" : "";
  return sign + Math.abs(value).toFixed(1);
}

function sort() {
  const options = form.elements;
  const first = +options.first.value;
  const second = +options.second.value;
  const difference = (c) => c.scores[first] - c.scores[second];
  const orders = {
    set: (c) => c.place,
    first: (c) => -difference(c),
    second: difference,
    either: (c) => -Math.abs(difference(c)),
  };
  const key = orders[options.order.value];
  cards.sort((a, b) => key(a) - key(b) || a.place - b.place);
  grid.append(...cards.map((c) => c.card));
  for (const c of cards) {
    c.difference.textContent = signed(difference(c));
    c.captions.forEach((caption, n) => {
      const chosen = n === first || n === second;
      caption.classList.toggle("chosen", chosen);
      caption.hidden = !chosen && !options.all.checked;
    });
  }
  const better = cards.filter((c) => difference(c) > 0).length;
  const worse = cards.filter((c) => difference(c) < 0).length;
  const name = (select) => select.selectedOptions[0].textContent;
  options.counts.value =
    `${name(options.first)} is better on ${better} of these pictures, ` +
    `${name(options.second)} on ${worse}, ${cards.length - better - worse} are equal.`;
}

form.addEventListener("input", sort);
form.addEventListener("submit", (event) => event.preventDefault());
form.hidden = false;
sort();

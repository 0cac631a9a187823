// Picks tests of the table, turns them so that the chosen method is the first, and sorts them by a column.
{
  const form = document.getElementById("pair-choice");
  const table = document.getElementById("pair-tests");
  const body = table.tBodies[0];
  const [DECODING, FIRST, SECOND, DIFFERENCE, INTERVAL] = [0, 1, 2, 3, 4];
  const rows = Array.from(body.rows, (row, place) => ({
    row,
    place,
    text: Array.from(row.cells, (cell) => cell.textContent),
    significant: row.cells[DIFFERENCE].classList.contains("better"),
  }));
  const opposite = (text) => text.replace(/[+-]/g, (sign) => (sign === "+" ? "-" : "+"));
  let sorted = { column: null, ascending: true };

  // The other method less the first one: the signs change, and the interval's ends change places.
  function turned(text) {
    const result = [...text];
    result[FIRST] = text[SECOND];
    result[SECOND] = text[FIRST];
    result[DIFFERENCE] = opposite(text[DIFFERENCE]);
    const [low, high] = text[INTERVAL].slice(1, -1).split(", ");
    result[INTERVAL] = `[${opposite(high)}, ${opposite(low)}]`;
    return result;
  }

  // A row's text as the choice wants it; null where it is of other methods, or of another decoding.
  function fitting({ text, significant }) {
    const { first, second, decoding, significant: only } = form.elements;
    if ((decoding.value && text[DECODING] !== decoding.value) || (only.checked && !significant)) return null;
    const fits = (t) => (!first.value || t[FIRST] === first.value) && (!second.value || t[SECOND] === second.value);
    return [text, turned(text)].find(fits) || null;
  }

  function show() {
    const shown = [];
    for (const each of rows) {
      const text = fitting(each);
      each.row.hidden = text === null;
      if (text === null) continue;
      shown.push({ ...each, text });
      text.forEach((value, column) => (each.row.cells[column].textContent = value));
      const cell = each.row.cells[DIFFERENCE];
      cell.classList.toggle("better", each.significant && !text[DIFFERENCE].startsWith("-"));
      cell.classList.toggle("worse", each.significant && text[DIFFERENCE].startsWith("-"));
    }
    if (sorted.column !== null) {
      const { column, ascending } = sorted;
      // An interval is sorted by its lower end. What is no number comes last in both directions.
      const key = ({ text }) => (column < DIFFERENCE ? text[column] : Number.parseFloat(text[column].replace("[", "")));
      shown.sort((a, b) => {
        const [one, two] = [key(a), key(b)];
        if (Number.isNaN(one) || Number.isNaN(two)) return Number.isNaN(one) - Number.isNaN(two) || a.place - b.place;
        return (one < two ? -1 : one > two ? 1 : 0) * (ascending ? 1 : -1) || a.place - b.place;
      });
    } else {
      shown.sort((a, b) => a.place - b.place);
    }
    body.append(...shown.map((each) => each.row));
    const { first, second, said } = form.elements;
    table.classList.toggle("first-chosen", first.value !== "");
    table.classList.toggle("second-chosen", second.value !== "");
    const significant = shown.filter((each) => each.significant).length;
    said.value =
      first.value && first.value === second.value
        ? "Choose two different methods."
        : `${shown.length} tests, ${significant} of them significant at 5 % after Holm's correction.`;
  }

  Array.from(table.tHead.rows[0].cells).forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.addEventListener("click", () => {
      sorted = { column, ascending: sorted.column !== column || !sorted.ascending };
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", sorted.ascending ? "ascending" : "descending");
      show();
    });
    head.replaceChildren(button);
  });
  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  // At first, the best method beside each other one, with the first decoding.
  form.elements.first.selectedIndex = 1;
  form.elements.decoding.selectedIndex = 1;
  form.hidden = false;
  show();
}

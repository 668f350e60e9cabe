// The index: sorting, filtering, and the pictures of a row.
{
  const index = document.getElementById("index");
  const body = index.tBodies[0], rows = [...body.rows], shown = document.getElementById("shown");
  index.tHead.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const heading = button.closest("th"), column = Number(button.dataset.column);
    const up = heading.getAttribute("aria-sort") !== "ascending";
    for (const other of index.tHead.querySelectorAll("[aria-sort]")) other.setAttribute("aria-sort", "none");
    heading.setAttribute("aria-sort", up ? "ascending" : "descending");
    const value = (row) => row.cells[column].dataset.value;
    const numbers = (one, two) => Number(one) - Number(two);
    const texts = new Intl.Collator("en", { numeric: true }).compare;
    const compare = button.dataset.kind === "number" ? numbers : texts;
    // Rows without a value come last in both directions.
    rows.sort((a, b) => (value(a) === "") - (value(b) === "") || (up ? 1 : -1) * compare(value(a), value(b)));
    body.append(...rows);
  });
  document.getElementById("filter").addEventListener("input", (event) => {
    const wanted = event.target.value.toLowerCase();
    let count = 0;
    for (const row of rows) {
      row.hidden = !row.textContent.toLowerCase().includes(wanted);
      count += row.hidden ? 0 : 1;
    }
    shown.textContent = `${count} of ${rows.length} shown`;
  });
  body.addEventListener("click", (event) => {
    const button = event.target.closest("[data-open]");
    if (button) document.getElementById(button.dataset.open).showModal();
  });
}

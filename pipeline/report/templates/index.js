const body = document.querySelector(".index tbody");
const heads = [...document.querySelectorAll(".index [data-key]")];
const value = (row, key) => {
  const text = row.querySelectorAll("[data-value]")[key].dataset.value;
  return text === "" ? NaN : Number(text);
};
for (const head of heads) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = head.textContent;
  head.replaceChildren(button);
  button.addEventListener("click", () => {
    const up = head.ariaSort !== "ascending", sign = up ? 1 : -1;
    const rows = [...body.rows].map((row) => [value(row, head.dataset.key), row]);
    rows.sort(([a], [b]) => (isNaN(a) || isNaN(b) ? isNaN(a) - isNaN(b) : a === b ? 0 : a < b ? -sign : sign));
    body.append(...rows.map(([, row]) => row));
    for (const other of heads) other.removeAttribute("aria-sort");
    head.ariaSort = up ? "ascending" : "descending";
  });
}

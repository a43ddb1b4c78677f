"use strict";
// Sorts a table by the column whose heading was pressed: up, then down.
(() => {
  const valueOf = (row, at, kind) => {
    const cell = row.cells[at];
    if (kind === "text") {
      return cell.textContent.trim().toLowerCase();
    }
    return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
  };

  // What was not measured stays at the end, up and down.
  const compare = (a, b, sign) => {
    if (a === null || b === null) {
      return (a === null) - (b === null);
    }
    if (typeof a === "string") {
      return sign * a.localeCompare(b, "en", { numeric: true });
    }
    return sign * (a - b);
  };

  const sortBy = (table, head) => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.rows[0].cells) {
      other.setAttribute("aria-sort", "none");
    }
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const keyed = Array.from(table.tBodies[0].rows, (row) => ({
      row,
      value: valueOf(row, head.cellIndex, head.dataset.kind),
    }));
    keyed.sort((a, b) => compare(a.value, b.value, up ? 1 : -1));
    table.tBodies[0].append(...keyed.map((item) => item.row));
  };

  for (const table of document.querySelectorAll("table.sortable")) {
    for (const head of table.tHead.rows[0].cells) {
      head.querySelector("button").addEventListener("click", () => sortBy(table, head));
    }
  }
})();

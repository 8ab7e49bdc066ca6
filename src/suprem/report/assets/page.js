// The page as a whole: tables that sort, help, which viewer gets the keys, and the start.

function showHelp() {
  document.getElementById("help").showModal();
}

/** Numbers by size, texts by the alphabet, cells without a value last in both directions. */
function compareCells(one, other, descending) {
  const a = one.dataset.sort;
  const b = other.dataset.sort;
  if (a === "" || b === "") return (a === "") - (b === "");
  const numbers = Number(a) - Number(b);
  const order = Number.isNaN(numbers) ? a.localeCompare(b, undefined, { numeric: true }) : numbers;
  return descending ? -order : order;
}

function makeSortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = head.querySelector(".sort");
    if (!button) return;
    button.addEventListener("click", () => {
      const descending = head.getAttribute("aria-sort") === "ascending";
      const rows = [...table.tBodies[0].rows];
      rows.sort((a, b) => compareCells(a.cells[column], b.cells[column], descending));
      table.tBodies[0].append(...rows);
      for (const other of heads) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    });
  });
}

/** The viewer that a key is for: the one with the focus, else the one under the pointer, else the only one. */
function viewerForKeys(viewers) {
  const within = (element) => viewers.find((viewer) => viewer.section.contains(element));
  return within(document.activeElement) || viewers.find((viewer) => viewer.section.matches(":hover")) ||
    (viewers.length === 1 ? viewers[0] : undefined);
}

function listenToKeys(viewers) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.getElementById("help").open) return;
    if (event.key === "?") {
      showHelp();
      event.preventDefault();
      return;
    }
    // Sliders and lists have their own arrows, and a table its own scrolling.
    const { activeElement } = document;
    const moves = /^(Arrow|Page)/.test(event.key);
    if (moves && activeElement.matches("input[type=range], select, .scroll")) return;
    const viewer = viewerForKeys(viewers);
    if (viewer && viewer.controls && viewer.controls.key(event)) event.preventDefault();
  });
}

/** One after the other, so that the first can be looked at while the others are unpacked. */
async function start() {
  const sections = [...document.querySelectorAll("section.viewer")];
  document.querySelectorAll("table.sortable").forEach(makeSortable);
  const viewers = [];
  listenToKeys(viewers);
  for (const section of sections) {
    try {
      const viewer = new Viewer(section);
      viewers.push(viewer);
      await viewer.load();
    } catch (error) {
      section.dataset.state = "failed";
      section.querySelector(".loading").textContent = error.message;
      console.error(error);
    }
  }
  document.documentElement.dataset.state = "ready";
}

start();

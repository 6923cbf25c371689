// Points at the nearest datum, or with the arrow keys at the next, and sorts tables by a column.
for (const picture of document.querySelectorAll("svg.picture")) {
  const data = [...picture.querySelectorAll(".datum")], said = picture.parentElement.querySelector(".said");
  let at = -1;
  const point = i => {
    data[at]?.classList.remove("pointed"); at = i; data[at]?.classList.add("pointed");
    said.textContent = data[at]?.dataset.say ?? "";
  };
  const middles = () => data.map(d => { const b = d.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; });
  picture.addEventListener("pointermove", event => {
    let best = -1, least = 30 * 30;
    middles().forEach(([x, y], i) => {
      const far = (x - event.clientX) ** 2 + (y - event.clientY) ** 2;
      if (far <= least) { least = far; best = i; } // of two at one place the one on top
    });
    if (best !== at) point(best);
  });
  picture.addEventListener("pointerleave", () => point(-1));
  picture.addEventListener("blur", () => point(-1));
  picture.addEventListener("keydown", event => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step || !data.length) return;
    event.preventDefault(); point((at + step + data.length) % data.length);
  });
}
const scales = { k: 1e3, K: 1e3, M: 1e6, B: 1e9, T: 1e12 };
const valued = text => {
  const found = text.match(/^[-+]?\d[\d.]*(e[-+]?\d+)?/);
  return found ? parseFloat(found[0]) * (scales[text[found[0].length]] ?? 1) : NaN;
};
for (const head of document.querySelectorAll("th")) head.querySelector("button")?.addEventListener("click", () => {
  const body = head.closest("table").tBodies[0], column = head.cellIndex;
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const compare = (a, b) => {
    const [x, y] = [a, b].map(row => row.cells[column].textContent), [p, q] = [x, y].map(valued);
    return Number.isNaN(p) || Number.isNaN(q) ? x.localeCompare(y) : p - q;
  };
  body.append(...[...body.rows].sort((a, b) => down ? compare(b, a) : compare(a, b)));
});

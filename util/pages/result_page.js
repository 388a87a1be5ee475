// PAGE = {labels, rows: [[name, [link or null per label]]]}
// scores = {score: {name: value}}, of scores.js beside this page: evaluations write it.
PAGE.scores = Object.keys(scores);
for (const row of PAGE.rows) row.push(PAGE.scores.map((score) => scores[score][row[0]] ?? null));
const CHUNK = 60, SHEET_ROWS = 200;
const shown = new Set(PAGE.labels);
let rows = PAGE.rows, drawn = 0, current = -1;

const scoreLine = (scores) => PAGE.scores.map((score, i) => `${score} ${number(scores[i])}`).join(" · ");

// The grid: only what the reader has scrolled to is in the document.
function card(row, index) {
  const [name, links, scores] = row;
  const figures = PAGE.labels.map((label, i) => shown.has(label) && links[i]
    ? make("figure", {}, make("img", {src: links[i], alt: `${name}: ${label}`, loading: "lazy", decoding: "async"}), make("figcaption", {title: label}, label))
    : null);
  return make("div", {class: "card", tabindex: 0, role: "button", "aria-label": `enlarge ${name}`, onclick: () => view(index), onfocus: () => { current = index; }},
    make("div", {class: "name"}, make("span", {title: name}, name), make("span", {}, scoreLine(scores))),
    make("div", {class: "row"}, ...figures));
}
function drawTo(count) {
  const part = document.createDocumentFragment();
  for (; drawn < Math.min(count, rows.length); drawn++) part.append(card(rows[drawn], drawn));
  $("#grid").append(part);
}
function redraw() {
  const words = $("#filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  rows = PAGE.rows.filter(([name]) => words.every((word) => name.toLowerCase().includes(word)));
  const by = $("#sort").value, sign = $("#order").textContent === "↑" ? 1 : -1;
  if (by === "name") rows.sort((a, b) => sign * a[0].localeCompare(b[0], undefined, {numeric: true}));
  else if (by !== "") rows.sort((a, b) => (a[2][by] === null) - (b[2][by] === null) || sign * (a[2][by] - b[2][by])); // those without last
  else if (sign < 0) rows.reverse();
  $("#count").textContent = rows.length === PAGE.rows.length ? `${rows.length} images` : `${rows.length} of ${PAGE.rows.length} images`;
  $("#grid").style.setProperty("--columns", Math.max(1, shown.size));
  $("#grid").replaceChildren();
  drawn = 0; current = -1;
  if (asSheet()) drawSheet(); else fill();
}

// The contact sheet: what the filter leaves, in its order, as a table to print, whose heads stand on each printed page.
const asSheet = () => $("#as_sheet").getAttribute("aria-pressed") === "true";
function drawSheet() {
  const step = Math.ceil(rows.length / SHEET_ROWS) || 1, chosen = rows.filter((_, index) => index % step === 0);
  const which = PAGE.labels.map((label, i) => i).filter((i) => shown.has(PAGE.labels[i]));
  const beside = Math.max(1, Math.min(chosen.length, Math.floor(Math.min(innerWidth, 1200) / (100 * (which.length + 1)))));
  const line = (first) => make("tr", {}, ...chosen.slice(first, first + beside).flatMap(([name, links]) => [
    make("th", {scope: "row"}, name), ...which.map((i) => make("td", {}, links[i] && make("img", {src: links[i], alt: `${name}: ${PAGE.labels[i]}`})))]));
  const heads = Array.from({length: beside}, () => ["image", ...which.map((i) => PAGE.labels[i])]).flat();
  $("#sheet").replaceChildren(
    make("caption", {}, `${chosen.length} of ${PAGE.rows.length} images`),
    make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", {scope: "col"}, head)))),
    make("tbody", {}, ...chosen.map((_, index) => index).filter((index) => index % beside === 0).map(line)));
}
$("#as_sheet").onclick = () => {
  $("#as_sheet").setAttribute("aria-pressed", !asSheet());
  $("#sheet").hidden = $("#print").hidden = !asSheet();
  $("#grid").hidden = asSheet();
  redraw();
};
$("#print").onclick = () => print();
function fill() {
  while (!asSheet() && drawn < rows.length && document.documentElement.scrollHeight < scrollY + 2.5 * innerHeight) drawTo(drawn + CHUNK);
}
addEventListener("scroll", fill, {passive: true});
addEventListener("resize", fill);

$("#sort").append(make("option", {value: ""}, "as tested"), make("option", {value: "name"}, "name"),
  ...PAGE.scores.map((score, i) => make("option", {value: i}, score)));
$("#sort").onchange = redraw;
$("#order").onclick = () => { $("#order").textContent = $("#order").textContent === "↑" ? "↓" : "↑"; redraw(); };
$("#filter").oninput = redraw;
$("#labels").append(...PAGE.labels.map((label) => toggle(shown, label, redraw, label)));
if (matchMedia("(hover: hover)").matches) $("#filter").placeholder += "  ( / )";
const setSize = (size) => { $("#grid").style.setProperty("--size", `${size}px`); };
$("#size").oninput = () => { setSize($("#size").value); fill(); };
// Two cards beside each other fill the window.
$("#size").value = Math.max(96, Math.min(256, ((document.documentElement.clientWidth - 80) / 2 - 12) / PAGE.labels.length - 6));
setSize($("#size").value);

const view = (index) => look(rows.map(([name, links, scores]) => ({
  name, note: scoreLine(scores), links: Object.fromEntries(PAGE.labels.map((label, i) => [label, links[i]]).filter(([, link]) => link)),
})), index, focusCard);

// The keyboard: in the grid the arrows move from card to card, Enter opens.
function focusCard(index) {
  if (index < 0 || index >= rows.length) return;
  drawTo(index + 1);
  $("#grid").children[index].focus();
}
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /INPUT|SELECT/.test(event.target.tagName)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const perRow = () => {
    const cards = $("#grid").children, top = cards[0] && cards[0].offsetTop;
    return Math.max(1, [...cards].slice(0, 100).findIndex((each) => each.offsetTop !== top));
  };
  const move = {ArrowRight: () => 1, ArrowLeft: () => -1, ArrowDown: perRow, ArrowUp: () => -perRow()};
  if (event.key === "/") { event.preventDefault(); $("#filter").focus(); }
  else if (["Enter", " "].includes(event.key) && event.target.matches(".card")) { event.preventDefault(); view(current); }
  else if (event.key in move) { event.preventDefault(); focusCard(current < 0 ? 0 : current + move[event.key]()); }
});
redraw();
showStarts(PAGE.starts);

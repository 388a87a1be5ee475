// The viewer: pictures of one set under a slider, or all side by side. A set is {name, note, links: {label: link}}.
const viewer = $("#viewer"), stage = $("#stage");
let sets = [], at = 0, after = () => {}; // after(index): what to do when it is closed
let zoom = null, factor = 1, split = 50, together = false; // zoom null: fit
const choices = [[$("#left"), /^(real|input)/i, 0], [$("#right"), /^(fake|output)/i, 1]]; // what they show at first

// Opens with set ``index`` of ``all``; the arrows go to the others.
function look(all, index, then = () => {}) {
  const labels = [...new Set(all.flatMap((set) => Object.keys(set.links)))];
  for (const [select, wanted, otherwise] of choices) {
    const before = select.value;
    select.replaceChildren(...labels.map((label) => make("option", {}, label)));
    select.value = labels.includes(before) ? before : labels.find((label) => wanted.test(label)) || labels[otherwise] || labels[0];
  }
  sets = all; at = index; after = then;
  if (!viewer.open) viewer.showModal();
  show();
}
const go = (index) => { if (index >= 0 && index < sets.length) { at = index; show(); } };
function show() {
  const {name, note, links} = sets[at];
  $("#name").textContent = name;
  $("#where").textContent = `${at + 1} / ${sets.length}`;
  $("#note").textContent = note;
  $("#choose").hidden = together;
  $("#mode").textContent = together ? "slider" : "side by side";
  const picture = (label) => make("img", {src: links[label] || "", alt: `${name}: ${label}`, draggable: "false", onload: scale});
  if (together) {
    stage.replaceChildren(make("div", {class: "all"}, ...Object.keys(links).map((label) => make("figure", {}, picture(label), make("figcaption", {}, label)))));
  } else {
    const labels = choices.map(([select]) => select.value);
    const pair = make("div", {class: "pair"}, ...labels.map(picture), make("i"), ...labels.map((label) => make("em", {}, label)));
    const slide = (event) => {
      const box = pair.getBoundingClientRect();
      setSplit(100 * (event.clientX - box.left) / box.width);
    };
    pair.onpointerdown = (event) => { pair.setPointerCapture(event.pointerId); slide(event); };
    pair.onpointermove = (event) => { if (event.buttons) slide(event); };
    stage.replaceChildren(pair);
    setSplit(split);
  }
  scale();
  for (const link of Object.values(sets[at + 1]?.links || {})) new Image().src = link; // the next one is ready
}
function setSplit(percent) {
  split = Math.max(0, Math.min(100, percent));
  $(".pair", stage)?.style.setProperty("--split", `${split}%`);
}
function scale() {
  const images = [...stage.querySelectorAll("img")], first = images.find((image) => image.naturalWidth);
  if (!first) return;
  const many = together ? images.length : 1;
  const room = Math.min((stage.clientWidth - 24 - 10 * (many - 1)) / many / first.naturalWidth, (stage.clientHeight - (together ? 48 : 24)) / first.naturalHeight);
  factor = zoom || (room > 1 ? Math.floor(room * 2) / 2 : room);
  for (const image of images) {
    const like = together && image.naturalWidth ? image : first; // under the slider both have the left one's size
    image.style.width = `${like.naturalWidth * factor}px`;
    image.style.height = `${like.naturalHeight * factor}px`;
    image.style.imageRendering = zoom && factor >= 2 ? "pixelated" : "auto";
  }
  $("#zoom").textContent = `${Math.round(100 * factor)}%`;
}
const setZoom = (wanted) => { zoom = wanted && Math.max(0.125, Math.min(32, wanted)); scale(); };
const act = {
  Escape: () => { viewer.close(); after(at); }, // close() itself focuses what had the focus before
  ArrowLeft: () => go(at - 1), ArrowRight: () => go(at + 1), Home: () => go(0), End: () => go(sets.length - 1),
  " ": () => setSplit(split > 50 ? 0 : 100), ",": () => setSplit(split - 5), ".": () => setSplit(split + 5),
  "+": () => setZoom(factor * 2), "=": () => setZoom(factor * 2), "-": () => setZoom(factor / 2),
  1: () => setZoom(1), 0: () => setZoom(null), s: () => { together = !together; show(); },
};
const buttons = {close: "Escape", previous: "ArrowLeft", next: "ArrowRight", larger: "+", smaller: "-", pixel: 1, fit: 0, mode: "s"};
for (const [id, key] of Object.entries(buttons)) $(`#${id}`).onclick = act[key];
for (const [select] of choices) select.onchange = () => { stage.focus(); show(); };
stage.addEventListener("wheel", (event) => {
  if (!event.ctrlKey) return;
  event.preventDefault();
  setZoom(factor * (event.deltaY < 0 ? 1.25 : 0.8));
}, {passive: false});
addEventListener("resize", () => { if (viewer.open) scale(); });
addEventListener("keydown", (event) => {
  if (!viewer.open) return;
  event.stopImmediatePropagation(); // the page below has keys of its own
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") {
    if (event.key === "Escape") event.target.blur();
  } else if (event.key in act) { event.preventDefault(); act[event.key](); }
});

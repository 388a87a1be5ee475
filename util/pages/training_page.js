// data/state.js calls state({chunks, ...}), data/pages.js pages({title: link}); each data/NNNNN.js calls add([rows]). Script files, because a page that was
// opened from the file system may not fetch JSON.
const rows = {losses: [], scores: [], images: [], samples: []};
const add = (events) => { for (const event of events) rows[event.kind].push(event); };
let now = null;
const state = (value) => { now = value; };
const pages = (links) => { // data/pages.js: other pages of this run
  $("#pages").hidden = !Object.keys(links).length;
  $("#pages").replaceChildren(...Object.entries(links).map(([title, href]) => make("a", {href}, title)));
};
const load = (src) => new Promise((resolve, reject) => {
  const end = (then) => ({target}) => { target.remove(); then(); };
  document.head.append(make("script", {src, onload: end(resolve), onerror: end(() => reject(new Error(src)))}));
});
const chunk = (index) => `data/${String(index).padStart(5, "0")}.js`;
const place = (row) => `epoch ${row.epoch}, image ${row.total_images.toLocaleString("en")}`;

async function start() {
  try { await load("data/pages.js"); await load("data/state.js"); } catch { return; }
  await Promise.all(Array.from({length: now.chunks}, (_, index) => load(chunk(index))));
  if (now.newest) rows.losses.push(now.newest);
  for (const kind of Object.values(rows)) kind.sort((a, b) => a.total_images - b.total_images);
  showState(); showScores(); showSamples(); showLosses(); showSpeed(); showEpochs(); showStarts(now.starts);
  const seen = now.updated;
  setInterval(async () => { // a page left open says when there is more
    await load(`data/state.js?${Date.now()}`);
    $("#reload").hidden = now.updated === seen;
  }, 30000);
}
$("#reload").onclick = () => location.reload();

const duration = (seconds) => { // 3:07:12
  const [hours, minutes, rest] = [seconds / 3600, seconds / 60 % 60, seconds % 60].map(Math.floor);
  return [hours, ...[minutes, rest].map((value) => String(value).padStart(2, "0"))].join(":");
};
function showState() {
  const at = now.at || rows.losses.at(-1), terms = now.ended ? [["training", now.ended]] : [];
  if (!at) terms.push(["waits", "for the first step"]);
  else {
    terms.push(["epoch", at.epoch + (at.last_epoch ? ` of ${at.last_epoch}` : "")]);
    if (at.share) terms.push(["progress", `${Math.floor(100 * at.share)}%`]);
    if (at.seconds_left && !now.ended) terms.push(["left", duration(at.seconds_left)]);
    terms.push(["images", at.total_images.toLocaleString("en")], ["images/s", number(at.images_per_second)]);
  }
  terms.push(["updated", now.updated]);
  $("#state").replaceChildren(...terms.map(term));
  $("#go_on").hidden = now.ended !== "interrupted";
  $("#checkpoints").append(...now.checkpoints.map(([name, link]) => make("a", {href: link}, name)));
}

// Plots. series: [[name, [[x, y, row], ...]], ...]
const SVG = (tag, attributes = {}) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
};
function ticks(low, high, count, least = 0) {
  const rough = Math.max((high - low) / count, least), power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= rough);
  const all = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + step * 1e-6; value += step) all.push(Math.abs(value) < step * 1e-9 ? 0 : value);
  return all;
}
const short = (value) => Math.abs(value) >= 1e6 ? `${number(value / 1e6)}M` : Math.abs(value) >= 1e4 ? `${number(value / 1e3)}k` : number(value);
// The formula of util/loggers/smoothing.py: an average about as wide as a share of the points so far.
function smooth(points, share) {
  let mean = 0;
  return points.map(([x, y, row], index) => [x, mean += (y - mean) / Math.max(1, Math.min((index + 1) * share, WIDEST)), row]);
}
function thin(points, most = 700) {
  const stride = Math.ceil(points.length / most);
  return stride < 2 ? points : points.filter((_, index) => index % stride === 0 || index === points.length - 1);
}
// What a curve is called in the legend: both similarities of a layer, which share a colour, by the layer.
const key = (name) => name.replace(/^similarity_.*_(\d+)$/, "layer $1").replace(/^similarity_/, "");
function plot(title, unit, series, {smoothing = 0, fromZero = false, markers = false, hint = null, note = null} = {}) {
  const figure = make("figure", {class: "plot"}), svg = SVG("svg", {viewBox: "0 0 480 220", preserveAspectRatio: "none", role: "img", "aria-label": title});
  const keys = [...new Set(series.map(([name]) => key(name)))], kept = new Set(keys);
  const colour = (name) => COLORS[keys.indexOf(key(name)) % COLORS.length];
  const dash = (name) => (/^similarity_positive/.test(name) ? {"stroke-dasharray": "6 4"} : {});
  const left = 60, right = 464, top = 8, bottom = 182;
  let drawn = [], x = null;
  function draw() {
    const shown = series.filter(([name]) => kept.has(key(name))).map(([name, points]) => [name, points.filter(([, y]) => y !== null && y !== undefined)]).filter(([, points]) => points.length);
    svg.replaceChildren();
    drawn = shown.map(([name, points]) => [name, smoothing ? smooth(points, smoothing) : points]);
    const width = svg.getBoundingClientRect().width || 480;
    svg.setAttribute("viewBox", `0 0 ${width} 220`);
    const end = width - (480 - right);
    if (!shown.length) return;
    const values = shown.flatMap(([, points]) => points.map(([, y]) => y)).sort((a, b) => a - b);
    // A few outliers, as in the first steps, don't flatten the rest.
    let low = values[Math.floor(0.005 * values.length)], high = values[Math.ceil(0.995 * values.length) - 1];
    for (const [, points] of drawn) for (const [, y] of points) { low = Math.min(low, y); high = Math.max(high, y); }
    if (fromZero) low = Math.min(0, low);
    if (low === high) { low -= Math.abs(low) / 2 || 1; high += Math.abs(high) / 2 || 1; }
    const pad = fromZero ? 0 : (high - low) * 0.04;
    low -= pad; high += (high - low) * 0.04;
    const xs = shown.flatMap(([, points]) => [points[0][0], points.at(-1)[0]]);
    const first = Math.min(...xs), last = Math.max(...xs) > first ? Math.max(...xs) : first + 1;
    x = (value) => left + (value - first) / (last - first) * (end - left);
    const y = (value) => bottom - (Math.max(low, Math.min(high, value)) - low) / (high - low) * (bottom - top);
    const write = (words, where) => {
      const text = SVG("text", {"text-anchor": "middle", ...where});
      text.textContent = words;
      svg.append(text);
    };
    for (const value of ticks(low, high, 6)) {
      svg.append(SVG("line", {class: "grid", x1: left, x2: end, y1: y(value), y2: y(value)}));
      write(Math.abs(value) < 1e-3 && value ? value.toExponential(1).replace(".0", "") : short(value), {x: left - 6, y: y(value) + 4, "text-anchor": "end"});
    }
    for (const value of ticks(first, last, 5, 1)) write(short(value), {x: x(value), y: bottom + 16});
    write("images", {x: (left + end) / 2, y: 216});
    write(unit, {transform: `translate(12 ${(top + bottom) / 2}) rotate(-90)`});
    const path = (points) => "M" + thin(points).map(([at, value]) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`).join("L");
    if (smoothing) for (const [name, points] of shown) svg.append(SVG("path", {class: "raw", d: path(points), stroke: colour(name)}));
    for (const [name, points] of drawn) {
      svg.append(SVG("path", {d: path(points), stroke: colour(name), ...dash(name)}));
      if (markers || points.length <= FEW) for (const [at, value] of points) svg.append(SVG("circle", {cx: x(at), cy: y(value), r: 3, fill: colour(name)}));
    }
  }
  svg.onpointermove = (event) => {
    if (!drawn.length) return;
    const box = svg.getBoundingClientRect(), at = event.clientX - box.left;
    const nearest = (points) => points.reduce((best, point) => Math.abs(x(point[0]) - at) < Math.abs(x(best[0]) - at) ? point : best);
    const found = drawn.map(([name, points]) => [name, nearest(points)]);
    const row = found[0][1][2];
    $("#tip").replaceChildren(place(row), ...found.map(([name, [, value]]) => make("div", {}, make("i", {style: `background:${colour(name)}`}), `${name} ${number(value)}`)));
    $("#tip").hidden = false;
    $("#tip").style.left = `${Math.min(event.clientX + 14, innerWidth - $("#tip").offsetWidth - 8)}px`;
    $("#tip").style.top = `${event.clientY + 14}px`;
    svg.querySelector(".cursor")?.remove();
    svg.append(SVG("line", {class: "cursor", x1: x(found[0][1][0]), x2: x(found[0][1][0]), y1: top, y2: bottom}));
  };
  svg.onpointerleave = () => { $("#tip").hidden = true; svg.querySelector(".cursor")?.remove(); };
  const names = keys.map((name) => toggle(kept, name, draw, make("i", {style: `background:${COLORS[keys.indexOf(name) % COLORS.length]}`}), name));
  const name = make("b", {}, title);
  figure.append(make("figcaption", {}, hint ? make("details", {}, make("summary", {title: hint}, name, make("span", {}, "?")), hint) : name, ...(String(keys) === title ? [] : names), note), svg);
  figure.draw = (weight) => { smoothing = weight; draw(); };
  new ResizeObserver(draw).observe(svg);
  return figure;
}
const curve = (from, name, get) => [name, from.filter((row) => get(row) !== undefined).map((row) => [row.total_images, get(row), row])];
const namesOf = (from, get) => [...new Set(from.flatMap((row) => Object.keys(get(row) || {})))];

function showLosses() {
  const names = namesOf(rows.losses, (row) => row.losses);
  const figures = Object.entries(GROUPS).map(([group, title]) => {
    const members = names.filter((name) => now.groups[name] === group);
    return members.length && plot(title, group === "similarity" ? "mean cosine" : "loss", members.map((name) => curve(rows.losses, name, (row) => row.losses[name])), {
      smoothing: +$("#smoothing").value, hint: HINTS[group], note: group === "similarity" ? "dashed: positives, solid: negatives" : null,
    });
  }).filter(Boolean);
  $("#losses").hidden = !figures.length;
  $("#losses .plots").append(...figures);
  $("#smoothing").oninput = () => figures.forEach((figure) => figure.draw(+$("#smoothing").value));
}
function showSpeed() {
  const rates = namesOf(rows.losses, (row) => row.learning_rates);
  if (rows.losses.length) $("#losses .plots").append(
    plot("speed", "images per second", [curve(rows.losses, "speed", (row) => row.images_per_second || undefined)], {fromZero: true}),
    plot("peak memory", "GB", [curve(rows.losses, "peak memory", (row) => row.memory_gb)], {fromZero: true}),
    ...(rates.length ? [plot("learning rates", "learning rate", rates.map((name) => curve(rows.losses, name, (row) => row.learning_rates?.[name])), {fromZero: true})] : []));
}
const error = (row, name) => (`${name}_se` in row.scores ? `, ± ${number(row.scores[`${name}_se`])}` : "");
function showScores() {
  const newest = rows.scores.at(-1)?.scores; // what it no longer has, as after another --crop_size, comes last
  const names = namesOf(rows.scores, (row) => row.scores).filter((name) => name in now.scores).sort((a, b) => (b in newest) - (a in newest));
  $("#scores").hidden = !names.length;
  for (const name of names) {
    const points = rows.scores.filter((row) => typeof row.scores[name] === "number");
    if (!points.length) continue;
    const sign = now.scores[name] === "higher" ? -1 : 1, last = points.at(-1);
    const best = points.reduce((one, other) => sign * other.scores[name] < sign * one.scores[name] ? other : one);
    $("#scores .cards").append(make("div", {class: "score"}, make("b", {}, `${name} ${sign < 0 ? "↑" : "↓"}`),
      ...[["last", last, ""], ["best", best, "best"]].map(([word, row, kind]) => make("div", {}, make("strong", {class: kind}, number(row.scores[name])), make("br"), make("small", {}, `${word}, epoch ${row.epoch}${error(row, name)}`)))));
    $("#scores .plots").append(plot(name, `${now.scores[name]} is better`, [[name, points.map((row) => [row.total_images, row.scores[name], row])]], {markers: true}));
  }
}

// A click opens the viewer; as a link it can also be opened in another tab.
const pictureSet = (title, images, enlarge, lazy) => make("div", {class: "set"}, make("b", {title}, title), make("div", {}, ...Object.entries(images).map(([label, src]) =>
  make("figure", {}, make("a", {href: src, target: "_blank", onclick: (event) => { event.preventDefault(); enlarge(); }},
    make("img", {src, alt: `${title}: ${label}`, decoding: "async", ...(lazy ? {loading: "lazy"} : {})})), make("figcaption", {}, label)))));

// The slider: one element per picture, whose source changes, so that nothing jumps.
function showSamples() {
  if (!rows.samples.length) return;
  const steps = rows.samples, slider = $("#step");
  $("#samples").hidden = false;
  slider.max = steps.length - 1;
  slider.value = steps.length - 1;
  const images = new Map();
  const sources = (row) => Object.entries(row.samples).flatMap(([name, set]) => Object.entries(set).map(([label, src]) => [`${name}\n${label}`, src]));
  for (const name of namesOf(steps, (row) => row.samples)) {
    const labels = namesOf(steps, (row) => row.samples[name]);
    const enlarge = () => {
      const row = steps[+slider.value], names = Object.keys(row.samples);
      look(names.map((each) => ({name: each, note: place(row), links: row.samples[each]})), names.indexOf(name));
    };
    const set = pictureSet(name, Object.fromEntries(labels.map((label) => [label, ""])), enlarge, false);
    set.querySelectorAll("img").forEach((image, index) => images.set(`${name}\n${labels[index]}`, image));
    $("#samples .rows").append(set);
  }
  const show = () => {
    const row = steps[+slider.value], here = new Map(sources(row));
    for (const [key, image] of images) {
      image.style.visibility = here.has(key) ? "" : "hidden";
      if (here.has(key) && image.getAttribute("src") !== here.get(key)) { image.src = here.get(key); image.parentNode.href = here.get(key); }
    }
    $("#at").textContent = `${place(row)}  (${+slider.value + 1} of ${steps.length})`;
    for (const near of [steps[+slider.value - 1], steps[+slider.value + 1]]) if (near) for (const [, src] of sources(near)) new Image().src = src;
  };
  let timer = null;
  $("#play").onclick = () => {
    if (timer) { clearInterval(timer); timer = null; }
    else {
      if (+slider.value === steps.length - 1) slider.value = 0;
      timer = setInterval(() => {
        slider.value = +slider.value + 1;
        show();
        if (+slider.value >= steps.length - 1) $("#play").onclick();
      }, 250);
    }
    $("#play").textContent = timer ? "❚❚" : "▶";
    show();
  };
  slider.oninput = show;
  show();
}

// Newest first; an epoch's pictures enter the page when it is opened.
function showEpochs() {
  const epochs = new Map(), sets = rows.images.map((row) => ({name: place(row), note: "", links: row.images}));
  for (const row of rows.images) epochs.set(row.epoch, [row, ...(epochs.get(row.epoch) || [])]);
  const means = new Map();
  for (const row of rows.losses) {
    const sums = means.get(row.epoch) || means.set(row.epoch, {}).get(row.epoch);
    for (const [name, value] of Object.entries(row.losses)) if (value !== null) (sums[name] ||= []).push(value);
  }
  const scores = new Map(rows.scores.map((row) => [row.epoch, row.scores]));
  const list = [...epochs.keys()].sort((a, b) => b - a).map((epoch, index) => {
    const words = Object.entries(means.get(epoch) || {}).filter(([name]) => now.groups[name] !== "similarity").map(([name, values]) => `${name} ${(values.reduce((a, b) => a + b) / values.length).toFixed(3)}`);
    const scored = Object.entries(scores.get(epoch) || {}).filter(([name]) => name in now.scores).map(([name, value]) => `${name} ${number(value)}`);
    const steps = make("div", {class: "steps"});
    const box = make("details", {class: "epoch"}, make("summary", {}, `epoch ${epoch}`, make("span", {}, [...scored, ...words].join(" · "))), steps);
    box.ontoggle = () => {
      if (box.open && !steps.childElementCount) steps.append(...epochs.get(epoch).map((row) => pictureSet(place(row), row.images, () => look(sets, rows.images.indexOf(row)), true)));
    };
    box.open = index < 2;
    return box;
  });
  $("#epochs").hidden = !list.length;
  $("#epochs .list").append(...list);
  $("#open").onclick = () => { for (const box of list) box.open = true; };
  $("#fold").onclick = () => { for (const box of list) box.open = false; };
}
addEventListener("keydown", (event) => {
  if (event.key === " " && !/BUTTON|SUMMARY|INPUT/.test(event.target.tagName) && rows.samples.length) { event.preventDefault(); $("#play").onclick(); }
});
start();

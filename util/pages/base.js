"use strict";
const $ = (selector, from = document) => from.querySelector(selector);

// make("div", {class: "card", onclick: f}, child, "text"): text is always set as text, never as HTML.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element[name] = value;
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const number = (value) => (value === null || value === undefined ? "–" : String(+Number(value).toPrecision(4)));

// Dark or light: the system's choice until the button is pressed; kept where the browser lets a page keep something.
const keep = (value) => { try { if (value) localStorage.theme = value; return localStorage.theme; } catch { return value; } };
const setTheme = (theme) => { document.documentElement.dataset.theme = theme; };
setTheme(keep() || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
for (const button of document.querySelectorAll(".theme"))
  button.onclick = () => setTheme(keep(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));

// A button that takes ``name`` out of what is shown, or back into it.
const toggle = (shown, name, redraw, ...content) => make("button", {"aria-pressed": true, title: `show or hide ${name}`, onclick: ({currentTarget}) => {
  if (!shown.delete(name)) shown.add(name);
  currentTarget.setAttribute("aria-pressed", shown.has(name));
  redraw();
}}, ...content);
const term = ([name, value]) => make("span", {}, make("b", {}, name), ` ${value}`);

// At the foot: the starts of the run (starts.jsonl), by which a picture is traced to its code and data.
function showStarts(starts) {
  const terms = (values) => make("p", {class: "terms"}, ...Object.entries(values).map(term));
  const show = (start) => make("section", {}, make("pre", {}, start.command), terms({
    started: start.time + (start.total_images ? `, after ${start.total_images.toLocaleString("en")} images` : ""),
    commit: start.commit ? start.commit.slice(0, 10) + (start.changed ? ", changed" : "") : "unknown",
    device: start.device, ...start.versions,
  }), terms({data: start.dataroot, ...Object.fromEntries(Object.entries(start.data).map(([split, {images, fingerprint}]) => [split, `${images.toLocaleString("en")} images, ${fingerprint}`]))}));
  $("#starts").hidden = !starts.length;
  $("#starts").replaceChildren(make("h2", {}, starts.length === 1 ? "Start of this run" : "Starts of this run"), ...starts.map(show));
}

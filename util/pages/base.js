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

// Elements. Whatever comes from outside gets into the page here and only here, as text: there is
// no way from a string to markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes and children; a string among the children becomes a text node. */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for an element of SVG. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** The element of the page with this id. */
export const byId = (id) => document.getElementById(id);

/** Sets an element's text. What is the same is left alone: a selection in it stays. */
export function say(element, text) {
  const words = String(text);
  if (element.textContent !== words) {
    element.textContent = words;
  }
}

/** Sets an attribute, or takes it away where the value is null. */
export function set(element, name, value) {
  if (value === null) {
    element.removeAttribute(name);
  } else if (element.getAttribute(name) !== String(value)) {
    element.setAttribute(name, value);
  }
}

/** Shows an element or hides it. */
export function show(element, isShown) {
  element.hidden = !isShown;
}

/**
 * Makes the children of `parent` follow `items`. Each is made once by `make(item)`, which answers
 * `{element, update}`, and updated from then on, so that focus, selection and opened details stay.
 */
export function follow(parent, items, keyOf, make) {
  const known = (parent.followed ??= new Map());
  const kept = new Set();
  let at = parent.firstChild;
  for (const item of items) {
    const key = keyOf(item);
    let view = known.get(key);
    if (!view) {
      view = make(item);
      known.set(key, view);
    }
    kept.add(key);
    view.update(item);
    if (view.element === at) {
      at = at.nextSibling;
    } else {
      parent.insertBefore(view.element, at);
    }
  }
  for (const [key, view] of known) {
    if (!kept.has(key)) {
      view.element.remove();
      known.delete(key);
    }
  }
}

const MARKS = {
  good: ["M8 1.5a6.5 6.5 0 1 0 0 13a6.5 6.5 0 0 0 0-13z", "M5 8.2l2.2 2.2L11.2 6"],
  warning: ["M8 1.5L15 14.3H1z", "M8 6v4M8 11.9v.2"],
  bad: [
    "M5.3 1.5h5.4l3.8 3.8v5.4l-3.8 3.8H5.3L1.5 10.7V5.3z",
    "M5.6 5.6l4.8 4.8M10.4 5.6l-4.8 4.8",
  ],
  unknown: ["M8 1.5L14.5 8L8 14.5L1.5 8z", "M6 8h4"],
};

/** A mark whose shape says what its colour says; `setMark` gives it a level. */
export function mark() {
  const shape = svg("path", { class: "shape" });
  const sign = svg("path", { class: "sign" });
  return svg("svg", { class: "mark", viewBox: "0 0 16 16", "aria-hidden": "true" }, shape, sign);
}

/** good, warning, bad or unknown. */
export function setMark(element, level) {
  const [shape, sign] = MARKS[level];
  set(element, "data-level", level);
  set(element.firstChild, "d", shape);
  set(element.lastChild, "d", sign);
}

// Makes elements and words. Text is only ever set as text, never as markup.
export const $ = (id) => document.getElementById(id);
export const FINAL = new Set(["succeeded", "failed", "cancelled"]);

export function element(name, text, ...children) {
  const made = document.createElement(name);
  if (text !== "" && text !== null && text !== undefined) made.textContent = text;
  made.append(...children);
  return made;
}

export function badge(state, words = state) {
  return Object.assign(element("span", words), { className: `badge ${state}` });
}

export function bar(fraction, label) {
  const made = element("progress");
  made.max = 1;
  made.value = fraction;
  made.setAttribute("aria-label", label);
  return made;
}

export function duration(seconds) {
  if (seconds < 0.9995) return `${Math.max(0, Math.round(seconds * 1000))} ms`;
  if (seconds < 90) return `${seconds.toFixed(1)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} d`;
}

export const since = (time, until = Date.now()) => duration((new Date(until) - new Date(time)) / 1000);
export const grouped = (number) => Number(number).toLocaleString("en").replaceAll(",", "\u2009");

// Rows are kept as long as they stay the same, so that focus, a selection and a screen reader's place survive.
export function fill(body, rows, none) {
  const before = new Map([...body.children].map((row) => [row.dataset.key, row]));
  const wanted = rows.map(([id, told, make]) => {
    const text = JSON.stringify(told);
    const known = before.get(id);
    if (known?.told === text) return known;
    const row = Object.assign(element("tr", "", ...make()), { told: text });
    row.dataset.key = id;
    return row;
  });
  const held = document.activeElement?.closest?.("tr")?.dataset.key;
  const same = wanted.length === body.children.length && wanted.every((row, at) => row === body.children[at]);
  if (!same) {
    body.replaceChildren(...wanted);
    wanted.find((row) => row.dataset.key === held)?.querySelector("button")?.focus();
  }
  if (none) none.hidden = rows.length > 0;
}

export const cells = (...values) => values.map((value) => (value instanceof Node ? element("td", "", value) : element("td", value)));

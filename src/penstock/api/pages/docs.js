// Shows the OpenAPI document, and sends requests from it. Text is only ever set as text, never as markup.
"use strict";
const $ = (id) => document.getElementById(id);
const key = $("key");
key.value = sessionStorage.getItem("penstock-key") || "";
key.addEventListener("change", () => { sessionStorage.setItem("penstock-key", key.value); show(); });

function element(name, text, ...children) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  made.append(...children);
  return made;
}

const headers = (more) => (key.value ? { ...more, Authorization: `Bearer ${key.value}` } : more);

function resolved(api, schema, depth = 0) {
  if (!schema || typeof schema !== "object" || depth > 12) return schema;
  if (Array.isArray(schema)) return schema.map((each) => resolved(api, each, depth + 1));
  if (schema.$ref) {
    const found = schema.$ref.slice(2).split("/").reduce((at, part) => at && at[part.replace(/~1/g, "/")], api);
    return resolved(api, found, depth + 1);
  }
  return Object.fromEntries(Object.entries(schema).map(([name, value]) => [name, resolved(api, value, depth + 1)]));
}

function parameters(list) {
  const rows = list.map((each) => {
    const input = element("input");
    input.dataset.name = each.name;
    input.dataset.place = each.in;
    return element("tr", "", element("td", "", element("code", each.name)), element("td", each.in),
      element("td", "", input), element("td", each.description || ""));
  });
  return element("table", "", ...rows);
}

function example(schema, media) {
  const given = media.example || (media.examples && Object.values(media.examples)[0]?.value) || schema?.examples?.[0];
  if (given !== undefined) return typeof given === "string" ? given : JSON.stringify(given, null, 2);
  const needed = (schema?.required || []).map((name) => [name, null]);
  return JSON.stringify(Object.fromEntries(needed), null, 2);
}

async function send(method, path, form, kind, body, output) {
  const query = new URLSearchParams();
  const sent = headers(kind ? { "Content-Type": kind } : {});
  for (const { value, dataset } of form.querySelectorAll("input[data-name]")) {
    if (!value) continue;
    if (dataset.place === "path") path = path.replace(`{${dataset.name}}`, encodeURIComponent(value));
    else if (dataset.place === "query") query.append(dataset.name, value);
    else sent[dataset.name] = value;
  }
  const url = query.size ? `${path}?${query}` : path;
  try {
    const answer = await fetch(url, { method, headers: sent, body });
    const text = await answer.text();
    let shown = text;
    try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not JSON: as it came */ }
    output.textContent = `${answer.status} ${method} ${url}\n${shown}`;
  } catch (failed) {
    output.textContent = String(failed);
  }
}

function operation(api, path, method, about) {
  const verb = method.toUpperCase();
  const [first, ...more] = (about.description || about.summary || "").replaceAll("``", "").split("\n\n");
  const box = element("details", "", element("summary", "", Object.assign(element("span", verb), { className: "method" }),
    element("code", path), element("span", first)));
  box.append(Object.assign(element("p", more.join("\n\n")), { className: "note" }));
  if (about.parameters?.length) box.append(parameters(about.parameters.map((each) => resolved(api, each))));
  const kinds = Object.entries(about.requestBody?.content || {});
  const [kind, media] = kinds.find(([name]) => name.includes("json")) || kinds[0] || [];
  const body = element("textarea");
  if (kind) {
    const schema = resolved(api, media.schema);
    body.value = example(schema, media);
    box.append(element("p", `Body: ${kind}`), body, element("details", "", element("summary", "schema"),
      element("pre", JSON.stringify(schema, null, 2))));
  }
  const output = element("pre");
  const button = element("button", "Send");
  button.addEventListener("click", () => send(verb, path, box, kind, kind && body.value, output));
  if (!path.endsWith("/events")) box.append(button, output);
  return box;
}

async function show() {
  const about = $("about");
  const answer = await fetch("/openapi.json", { headers: headers({}) });
  const api = await answer.json();
  about.className = answer.ok ? "" : "failed";
  about.textContent = answer.ok ? `Version ${api.info.version}. ${api.info.description}` : api.error.message;
  const groups = new Map([["jobs", []], ["tasks", []]]); // what people come for first
  for (const [path, methods] of Object.entries(api.paths || {}))
    for (const [method, each] of Object.entries(methods)) {
      const tag = each.tags?.[0] || "other";
      if (!groups.get(tag)?.length) groups.set(tag, [element("h2", tag)]);
      groups.get(tag).push(operation(api, path, method, each));
    }
  $("operations").replaceChildren(...[...groups.values()].flat());
}
show();

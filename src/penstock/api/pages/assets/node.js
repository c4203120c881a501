// Talks to the node that served this page. Whoever is refused for want of a key is asked for one.
const STORED = "penstock-key";
const door = document.getElementById("door");
const key = document.getElementById("key");

key.value = sessionStorage.getItem(STORED) || "";
door.addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(STORED, key.value.trim());
  window.dispatchEvent(new Event("key"));
});

const headers = (more) => {
  const held = sessionStorage.getItem(STORED);
  return held ? { ...more, Authorization: `Bearer ${held}` } : { ...more };
};

async function checked(response) {
  door.hidden = response.status !== 401;
  if (response.ok) return response;
  const told = await response.json().catch(() => ({}));
  throw Object.assign(new Error(told.error?.message || `the node answers ${response.status}`), { status: response.status });
}

export async function ask(path, { method = "GET", body } = {}) {
  const kind = body === undefined ? {} : { "Content-Type": "application/json" };
  const sent = { method, headers: headers(kind), body: body === undefined ? undefined : JSON.stringify(body) };
  return (await checked(await fetch(path, sent))).json();
}

// Calls `heard` with the kind and data of each event of a job until it has ended. (EventSource cannot send a key.)
export async function listen(id, heard, signal) {
  const response = await checked(await fetch(`/jobs/${id}/events`, { headers: headers({}), signal }));
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const messages = (rest + value).replaceAll("\r\n", "\n").split("\n\n");
    rest = messages.pop();
    for (const message of messages) {
      const fields = Object.fromEntries(message.split("\n").map((line) => [line.split(":", 1)[0], line.slice(line.indexOf(":") + 1).trim()]));
      if (fields.data) heard(fields.event, JSON.parse(fields.data));
    }
  }
}

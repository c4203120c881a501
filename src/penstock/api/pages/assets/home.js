// The page: who we are and how we are, and tables that are looked at anew every second while somebody looks.
import { ask } from "/assets/node.js";
import "/assets/sum.js";
import { $ } from "/assets/show.js";
import { refresh } from "/assets/tables.js";

const EVERY_MS = 1500;
const HEALTH_EVERY = 4;
let rounds = 0;
let busy = false;

function complain(text) {
  $("trouble").textContent = text;
  $("trouble").hidden = !text;
}

async function health() {
  const { status, node, version } = await ask("/health");
  $("node").textContent = `node ${node} · version ${version}`;
  $("health").textContent = status;
  $("health").className = `badge ${status}`;
}

async function look() {
  if (busy || document.hidden) return;
  busy = true;
  try {
    if (rounds++ % HEALTH_EVERY === 0) await health();
    await refresh();
    if ($("health").textContent === "unreachable") await health();
    if ($("trouble").dataset.from === "look") complain("");
  } catch (failed) {
    if (failed.status === 401) complain("");
    else if (failed.status !== 429) {
      $("health").textContent = failed.status ? "degraded" : "unreachable";
      $("health").className = "badge degraded";
      $("trouble").dataset.from = "look";
      complain(failed.status ? failed.message : "The node does not answer. Its jobs are kept; this page goes on by itself.");
    }
  } finally {
    busy = false;
  }
}

window.addEventListener("trouble", ({ detail }) => { $("trouble").dataset.from = "form"; complain(detail); });
window.addEventListener("news", look);
window.addEventListener("key", () => { rounds = 0; complain(""); look(); });
$("sum").addEventListener("submit", () => complain(""));
for (const id of ["state", "queue"]) $(id).addEventListener("change", look);
document.addEventListener("visibilitychange", look);
setInterval(look, EVERY_MS);
look();

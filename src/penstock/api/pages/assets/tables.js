// The tables: jobs, queues, workers, and the tiles that sum them up.
import { ask } from "/assets/node.js";
import { $, FINAL, badge, bar, cells, duration, element, fill, grouped, since } from "/assets/show.js";

const SHOWN = 20;

export async function refresh() {
  const query = new URLSearchParams({ limit: SHOWN });
  for (const name of ["state", "queue"]) if ($(name).value) query.set(name, $(name).value);
  const [found, stats] = await Promise.all([ask(`/jobs?${query}`), ask("/stats")]);
  showJobs(found.jobs);
  showQueues(stats.queues);
  showWorkers(stats.workers);
  showTiles(stats);
}

function showJobs(jobs) {
  const rows = jobs.map((job) => {
    const ends = job.finished_at || (job.started_at ? Math.floor(Date.now() / 1000) * 1000 : null);
    const took = job.started_at ? since(job.started_at, ends) : "–";
    const age = `${since(job.created_at, Math.floor(Date.now() / 1000) * 1000)} ago`;
    return [job.id, [job.state, job.progress, job.parts, job.handled_by, job.cancel_requested, job.position, job.eta_s, took, age], () => jobRow(job, took, age)];
  });
  fill($("jobs"), rows, $("no-jobs"));
}

function jobRow(job, took, age) {
  const name = Object.assign(element("button", job.task), { className: "link", title: job.id });
  name.addEventListener("click", () => showDetails(job.id));
  const parts = job.parts && `${grouped(job.parts.done)} of ${grouped(job.parts.total)}`;
  const said = element("td", "", ...progressOf(job));
  said.className = "said";
  const tail = Object.assign(element("span", ` …${job.id.slice(-6)}`), { className: "faint" });
  const stands = job.cancel_requested && !FINAL.has(job.state) ? badge("cancelling") : badge(job.state);
  const [state, task] = [element("td", "", stands), element("td", "", name, tail)];
  return [state, task, said, ...cells(parts || "–", age, took, job.handled_by || "–", FINAL.has(job.state) ? "" : cancelButton(job))];
}

function progressOf(job) {
  if (job.error) return [element("span", `${job.error.code}: ${job.error.message}`)];
  if (job.state === "succeeded") return [job.cached ? "answered from the cache" : ""];
  if (job.state === "queued" && job.position !== null) return [element("span", placeOf(job))];
  if (!job.progress) return [""];
  const { fraction, message } = job.progress;
  return [bar(fraction, `Progress of ${job.task}`), element("span", [`${Math.round(100 * fraction)} %`, message].filter(Boolean).join(" · "))];
}

function placeOf({ position, eta_s: eta }) {
  const ahead = position ? `${grouped(position)} ahead` : "next";
  if (eta === null) return ahead;
  return `${ahead} · ${eta < 1 ? "any moment" : `in about ${duration(eta)}`}`;
}

function cancelButton(job) {
  const button = Object.assign(element("button", "Cancel"), { className: "quiet small", disabled: job.cancel_requested });
  button.setAttribute("aria-label", `Cancel ${job.task} ${job.id.slice(-6)}`);
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      await ask(`/jobs/${job.id}`, { method: "DELETE" });
      window.dispatchEvent(new Event("news"));
    } catch (failed) {
      window.dispatchEvent(new CustomEvent("trouble", { detail: failed.message }));
    }
  });
  return button;
}

async function showDetails(id) {
  try {
    const job = await ask(`/jobs/${id}`);
    $("details-title").textContent = `${job.task} ${job.id}`;
    $("details-text").textContent = JSON.stringify(job, null, 2);
    $("details").showModal();
  } catch (failed) {
    window.dispatchEvent(new CustomEvent("trouble", { detail: failed.message }));
  }
}

function queueName(queue) {
  if (queue.paused) return badge("queued", `${queue.name}, paused`);
  return queue.workers || !(queue.queued + queue.scheduled) ? queue.name : badge("failed", `${queue.name}, no worker`);
}

function showQueues(queues) {
  const choice = $("queue");
  const known = [...choice.options].map((option) => option.value);
  for (const { name } of queues) if (!known.includes(name)) choice.append(element("option", name));
  fill($("queues"), queues.map((queue) => [queue.name, queue, () => cells(
    queueName(queue), grouped(queue.queued), grouped(queue.scheduled), grouped(queue.running),
    queue.oldest_age_s ? duration(queue.oldest_age_s) : "–", `${queue.drain_per_s.toFixed(1)}/s`, queue.max_depth ? grouped(queue.max_depth) : "–",
  )]));
}

function showWorkers(workers) {
  fill($("workers"), workers.map((worker) => {
    const state = worker.live ? (worker.draining ? "draining" : "live") : "gone";
    const up = since(worker.started_at, Math.floor(Date.now() / 1000) * 1000);
    return [worker.id, [state, worker.busy, worker.slots, worker.queues, up], () => cells(
      worker.node, badge(state === "live" ? "ok" : state, state), `${worker.busy} of ${worker.slots}`, worker.queues.join(", "), up,
    )];
  }));
}

function showTiles({ states, workers }) {
  const live = workers.filter((worker) => worker.live);
  const sum = (name) => live.reduce((total, worker) => total + worker[name], 0);
  const shown = [
    ["Waiting", grouped((states.queued || 0) + (states.scheduled || 0))], ["Running", grouped(states.running || 0)],
    ["Succeeded", grouped(states.succeeded || 0)], ["Failed", grouped(states.failed || 0)],
    ["Live workers", live.length], ["Busy slots", `${sum("busy")} of ${sum("slots")}`],
  ];
  const text = JSON.stringify(shown);
  if ($("tiles").dataset.told === text) return;
  $("tiles").dataset.told = text;
  $("tiles").replaceChildren(...shown.map(([word, value]) => element("div", "", element("dt", word), element("dd", value))));
}

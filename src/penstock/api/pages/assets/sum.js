// The form: two numbers, added at once or by a background task that is followed to its end.
import { ask, listen } from "/assets/node.js";
import { $, FINAL } from "/assets/show.js";

const WORDS = { scheduled: "pending", queued: "pending", succeeded: "complete" };
const AWAY_S = 2;
let following = new AbortController();

$("sum").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = new FormData(event.target);
  const numbers = Object.fromEntries(["a", "b"].map((name) => [name, Number(form.get(name))]));
  following.abort();
  $("answer").hidden = true;
  following = new AbortController();
  try {
    if (event.submitter?.value === "direct") await addDirectly(numbers);
    else await addLater({ ...numbers, cost_s: Number(form.get("cost_s")) }, following.signal);
  } catch (failed) {
    if (failed.name !== "AbortError") window.dispatchEvent(new CustomEvent("trouble", { detail: failed.message }));
  }
});

async function addDirectly({ a, b }) {
  const answer = await ask(`/add?${new URLSearchParams({ a, b })}`);
  show({ state: "succeeded", result: answer, handled_by: answer.handled_by, initiated_by: null, checked_by: null });
  $("answer-said").textContent = "Added by the node that was asked, without a job.";
}

async function addLater(params, signal) {
  let job = await ask("/tasks/add/jobs", { method: "POST", body: params });
  const news = (told) => {
    if (FINAL.has(job.state) && !FINAL.has(told.state)) return; // an answer that was overtaken
    job = told;
    if (!signal.aborted) show(job);
  };
  const look = async () => news(await ask(`/jobs/${job.id}`).catch(() => job)); // whoever answers is the one that checked
  news(job);
  window.dispatchEvent(new Event("news"));
  while (!FINAL.has(job.state) && !signal.aborted) {
    try {
      await listen(job.id, (kind, told) => {
        if (kind === "snapshot") news(told);
        else if (kind === "progress") news({ ...job, progress: told.data });
        else if (kind !== "log") look();
      }, signal);
    } catch (failed) {
      if (failed.name === "AbortError") return;
      await new Promise((resolve) => setTimeout(resolve, AWAY_S * 1000)); // the node is away; its jobs are not
    }
    await look();
  }
  window.dispatchEvent(new Event("news"));
}

function show(job) {
  $("answer").hidden = false;
  $("answer-state").className = `badge ${job.state}`;
  $("answer-state").textContent = WORDS[job.state] || job.state;
  $("answer-value").textContent = job.result ? job.result.sum : job.error ? job.error.message : "";
  $("answer-bar").value = FINAL.has(job.state) ? 1 : job.progress?.fraction || 0;
  $("answer-said").textContent = FINAL.has(job.state) ? `Job ${job.id || ""}` : job.progress?.message || "Waiting for a worker …";
  for (const [id, name] of [["initiated", "initiated_by"], ["checked", "checked_by"], ["handled", "handled_by"]])
    $(id).textContent = job[name] || "–";
}

"use strict";
// The page of asr-gateway. It keeps nothing but the key, and that only in this tab's sessionStorage.

const AT_ONCE = 2;
const POLL_MS = 2000;
const BANDS = [0.5, 0.7, 0.9];
const FORMATS = { txt: "text/plain", srt: "application/x-subrip", vtt: "text/vtt", json: "application/json" };
const ACTIVE = ["queued", "running"];

const byId = (id) => document.getElementById(id);

/** An element; properties that begin with "on" are listeners, the others attributes. */
function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function announce(text) {
  byId("status").textContent = text;
}

// ---- Calls ---------------------------------------------------------------------------------------

class Failed extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

function storedKey() {
  return sessionStorage.getItem("asr-key") || "";
}

/** Send a request; XMLHttpRequest, because fetch does not say how far an upload is. */
function call(method, path, { form = null, onUpload = () => {}, signal = null } = {}) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, path);
    if (storedKey()) request.setRequestHeader("authorization", `Bearer ${storedKey()}`);
    request.upload.onprogress = (event) => event.lengthComputable && onUpload(event.loaded / event.total);
    request.upload.onload = () => onUpload(1);
    request.onload = () => {
      if (request.status >= 200 && request.status < 300) return resolve(request.responseText);
      if (request.status === 401) askForKey();
      reject(new Failed(request.status, errorMessage(request)));
    };
    request.onerror = () => reject(new Failed(0, "The gateway cannot be reached."));
    request.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    if (signal) signal.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

function errorMessage(request) {
  try {
    return JSON.parse(request.responseText).error.message;
  } catch {
    return `The gateway answered with status ${request.status}.`;
  }
}

async function callJson(method, path, options) {
  return JSON.parse(await call(method, path, options));
}

// ---- The key -------------------------------------------------------------------------------------

function askForKey() {
  const wrong = storedKey() !== "";
  sessionStorage.removeItem("asr-key");
  byId("forget-key").hidden = true;
  const form = byId("key-form");
  if (!form.hidden && !wrong) return;
  form.hidden = false;
  byId("key").value = "";
  byId("key").focus();
  announce(wrong ? "The key is wrong or has expired." : "This service needs a key.");
  if (wrong) byId("key-why").textContent = "The key is wrong or has expired.";
}

byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const key = byId("key").value.trim();
  if (!key) return;
  // A header cannot hold other characters, and no key has them.
  if (!/^[\x21-\x7e]+$/.test(key)) {
    byId("key-why").textContent = "A key has visible ASCII characters only.";
    return;
  }
  sessionStorage.setItem("asr-key", key);
  byId("key-form").hidden = true;
  start();
});

byId("forget-key").addEventListener("click", () => {
  sessionStorage.removeItem("asr-key");
  location.reload();
});

// ---- Formats -------------------------------------------------------------------------------------

/** A promise of the result in one of FORMATS. The gateway makes the subtitles. */
async function formatted(result, format) {
  if (format === "txt") return `${result.text}\n`;
  if (format === "json") return `${JSON.stringify(result, null, 2)}\n`;
  return call("POST", `/web/subtitles?format=${format}`, { form: JSON.stringify(result.words) });
}

function download(name, format, text) {
  const url = URL.createObjectURL(new Blob([text], { type: FORMATS[format] }));
  element("a", { href: url, download: `${name.replace(/\.[^.]+$/, "")}.${format}` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}

// ---- A transcript --------------------------------------------------------------------------------

const shortClock = (timeS) => {
  const two = (number) => String(Math.floor(number)).padStart(2, "0");
  return `${timeS >= 3600 ? `${Math.floor(timeS / 3600)}:` : ""}${two((timeS / 60) % 60)}:${two(timeS % 60)}`;
};

/** The words as buttons, one line for each segment. One tab stop; arrow keys go from word to word. */
function wordView(result, play) {
  const starts = (result.segments || []).map((segment) => segment.start);
  const view = element("div", { class: "transcript", role: "group", "aria-label": "Words of the transcript" });
  const buttons = [];
  let line = null;
  let segment = 0;
  for (const word of result.words) {
    while (segment < starts.length && word.start >= starts[segment]) {
      segment += 1;
      line = null;
    }
    if (line === null) {
      line = element("p", { class: "segment" }, element("span", { class: "time" }, shortClock(word.start)));
      view.append(line);
    }
    const sure = `${Math.floor(word.confidence * 100)} % confidence`;
    const band = BANDS.filter((least) => word.confidence >= least).length;
    buttons.push(element("button", {
      type: "button",
      class: `word c${band}`,
      tabindex: buttons.length ? "-1" : "0",
      title: `${word.start.toFixed(2)} s, ${sure}`,
      onclick: () => play(word.start),
    }, word.word));
    line.append(buttons.at(-1), " ");
  }
  if (!buttons.length) view.append(element("p", { class: "quiet" }, "No words were recognized."));
  view.addEventListener("keydown", (event) => moveFocus(event, buttons));
  return { view, buttons };
}

function moveFocus(event, buttons) {
  const at = buttons.indexOf(document.activeElement);
  const steps = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: buttons.length - 1 };
  const next = buttons[steps[event.key]];
  if (at < 0 || !next) return;
  event.preventDefault();
  buttons[at].tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}

/** Mark the word that is played now. */
function follow(audio, words, buttons) {
  let marked = null;
  audio.addEventListener("timeupdate", () => {
    let low = 0;
    let high = words.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (words[middle].start <= audio.currentTime) low = middle + 1;
      else high = middle;
    }
    const now = low && audio.currentTime <= words[low - 1].end ? buttons[low - 1] : null;
    if (now === marked) return;
    if (marked) marked.classList.remove("now");
    if (now) now.classList.add("now");
    marked = now;
  });
}

/**
 * Fill a card with a result.
 *
 * `file` is null where this page does not have the recording; `inFormat` gives a promise of the
 * transcript in one of FORMATS.
 */
function showResult(card, name, result, file, inFormat) {
  const audio = file ? element("audio", { controls: true, preload: "metadata", "aria-label": `Recording ${name}` }) : null;
  const note = element("p", { class: "quiet" });
  const play = (start) => {
    if (!audio) return note.replaceChildren("This page does not have the recording, so it cannot play it.");
    audio.currentTime = start;
    return audio.play().catch(() => note.replaceChildren("This browser cannot play the recording."));
  };
  const { view, buttons } = wordView(result, play);
  if (audio) {
    audio.src = URL.createObjectURL(file);
    audio.addEventListener("error", () => note.replaceChildren("This browser cannot play the recording."));
    follow(audio, result.words, buttons);
    card.audioUrl = audio.src;
  }
  const plain = element("pre", { tabindex: "0", "aria-label": "Transcript" });
  let shown = "";
  const text = (format) => inFormat(format).catch((error) => note.replaceChildren(error.message));
  card.show = async (format) => {
    shown = format;
    view.hidden = format !== "words";
    plain.hidden = format === "words";
    plain.textContent = "";
    if (format === "words") return;
    const found = await text(format);
    // Another format may have been chosen meanwhile.
    if (found !== undefined && shown === format) plain.textContent = found;
  };
  const buttonsRow = Object.keys(FORMATS).map((format) => element("button", {
    type: "button",
    "aria-label": `Download ${name} as ${format}`,
    onclick: async () => {
      const found = await text(format);
      if (found !== undefined) download(name, format, found);
    },
  }, `.${format}`));
  card.body.replaceChildren(
    ...(audio ? [audio] : []), note, view, plain,
    element("div", { class: "row" }, element("span", { class: "quiet" }, "Download"), ...buttonsRow),
  );
  card.say(`${shortClock(result.duration)}, ${result.words.length} words, ${result.language}`);
  card.show(byId("view").value);
  byId("legend").hidden = false;
}

/** A new card at the top of the transcripts. */
function newCard(name) {
  const state = element("span", { class: "quiet" });
  const body = element("div");
  const close = element("button", { type: "button", "aria-label": `Remove ${name}` }, "Remove");
  const box = element("article", { class: "card", "aria-label": name },
    element("div", { class: "row spread" }, element("h3", {}, name), state, close), body);
  const card = {
    name, body, show: () => {}, audioUrl: null, onRemove: () => {},
    say: (text) => state.replaceChildren(text),
  };
  close.addEventListener("click", () => {
    card.onRemove();
    if (card.audioUrl) URL.revokeObjectURL(card.audioUrl);
    box.remove();
    cards.delete(card);
    byId("empty").hidden = cards.size > 0;
    byId("results").focus();
  });
  cards.add(card);
  byId("empty").hidden = true;
  byId("cards").prepend(box);
  return card;
}

const cards = new Set();
byId("view").addEventListener("change", (event) => cards.forEach((card) => card.show(event.target.value)));

// ---- Recordings ----------------------------------------------------------------------------------

const waiting = [];
let running = 0;

function formOf(file) {
  const form = new FormData();
  form.append("model", modelId);
  form.append("response_format", "verbose_json");
  form.append("timestamp_granularities[]", "word");
  form.append("timestamp_granularities[]", "segment");
  const language = byId("language").value.trim();
  if (language) form.append("language", language);
  for (const word of byId("keywords").value.split(",")) {
    if (word.trim()) form.append("keywords[]", word.trim());
  }
  form.append("file", file, file.name);
  return form;
}

function add(files) {
  for (const file of files) {
    const card = newCard(file.name);
    // The options are those of now, not those of when its turn comes.
    enqueue({ file, card, form: formOf(file), asJob: jobsExist && byId("as-job").checked });
  }
}

function enqueue(task) {
  task.abort = new AbortController();
  task.card.onRemove = () => task.abort.abort();
  task.card.say("waiting");
  task.card.body.replaceChildren();
  waiting.push(task);
  next();
}

function next() {
  while (running < AT_ONCE && waiting.length) {
    const task = waiting.shift();
    if (task.abort.signal.aborted) continue;
    running += 1;
    transcribe(task).finally(() => {
      running -= 1;
      next();
    });
  }
}

async function transcribe({ file, card, form, asJob, abort }) {
  const progress = element("progress", { max: "1", value: "0", "aria-label": `Upload of ${file.name}` });
  card.body.replaceChildren(progress);
  card.say("uploading");
  const onUpload = (part) => {
    progress.value = part;
    if (part < 1) return;
    progress.removeAttribute("value");
    progress.setAttribute("aria-label", `Recognition of ${file.name}`);
    card.say("recognizing");
  };
  try {
    const options = { form, onUpload, signal: abort.signal };
    const answer = await callJson("POST", asJob ? "/v1/jobs" : "/v1/audio/transcriptions", options);
    if (asJob) {
      jobFiles.set(answer.id, file);
      card.say(`job ${answer.id}`);
      card.body.replaceChildren(element("p", {}, "The job is in the list below the transcripts."));
      await refreshJobs();
      return;
    }
    showResult(card, file.name, answer, file, (format) => formatted(answer, format));
    announce(`${file.name} is transcribed: ${answer.words.length} words.`);
  } catch (error) {
    if (error.name === "AbortError") return;
    failed(card, error, () => enqueue({ file, card, form, asJob }));
  }
}

function failed(card, error, again) {
  card.say("failed");
  card.body.replaceChildren(
    element("p", { class: "error" }, error.message),
    element("button", { type: "button", onclick: again }, "Try again"),
  );
  announce(`${card.name} failed: ${error.message}`);
}

byId("files").addEventListener("change", (event) => {
  add(event.target.files);
  event.target.value = "";
});
let dragDepth = 0;
const dragging = (depth) => {
  dragDepth = Math.max(0, depth);
  document.body.classList.toggle("dragging", dragDepth > 0);
};
addEventListener("dragenter", () => dragging(dragDepth + 1));
addEventListener("dragleave", () => dragging(dragDepth - 1));
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  dragging(0);
  add(event.dataTransfer.files);
});

// ---- Jobs ----------------------------------------------------------------------------------------

const jobFiles = new Map();
let jobsExist = false;
let shownJobs = 20;
let pollTimer = 0;

async function refreshJobs() {
  clearTimeout(pollTimer);
  const jobs = [];
  let more = true;
  try {
    while (more && jobs.length < shownJobs) {
      const after = jobs.length ? `&after=${encodeURIComponent(jobs.at(-1).id)}` : "";
      const page = await callJson("GET", `/v1/jobs?limit=20${after}`);
      jobs.push(...page.data);
      more = page.has_more && page.data.length > 0;
    }
  } catch (error) {
    // Without jobs in this gateway its answer is 404.
    if (error.status !== 404 && error.status !== 401) pollTimer = setTimeout(refreshJobs, 5 * POLL_MS);
    return;
  }
  jobsExist = true;
  byId("jobs").hidden = false;
  byId("as-job-option").hidden = false;
  byId("no-jobs").hidden = jobs.length > 0;
  byId("more-jobs").hidden = !more;
  renderJobs(jobs);
  if (jobs.some((job) => ACTIVE.includes(job.status))) pollTimer = setTimeout(refreshJobs, POLL_MS);
}

const rows = new Map();

function renderJobs(jobs) {
  for (const [id, row] of rows) {
    if (jobs.some((job) => job.id === id)) continue;
    row.box.remove();
    rows.delete(id);
  }
  jobs.forEach((job, place) => {
    let row = rows.get(job.id);
    if (!row) rows.set(job.id, row = { box: element("li", { class: "job" }), shown: "", status: null });
    const list = byId("job-list");
    if (list.children[place] !== row.box) list.insertBefore(row.box, list.children[place] || null);
    const looks = JSON.stringify(job);
    if (row.shown === looks) return;
    if (row.status && row.status !== job.status) announce(`${jobName(job)}: ${job.status}`);
    updateRow(row, job);
    row.shown = looks;
    row.status = job.status;
  });
}

function jobName(job) {
  return jobFiles.get(job.id)?.name || job.id;
}

function updateRow(row, job) {
  const focused = row.box.contains(document.activeElement) ? document.activeElement.textContent : null;
  const name = jobName(job);
  const made = new Date(typeof job.created_at === "number" ? job.created_at * 1000 : job.created_at);
  const position = job.status === "queued" && job.position != null ? `, place ${job.position}` : "";
  const button = (label, act) => element("button", {
    type: "button",
    "aria-label": `${label}: ${name}`,
    onclick: () => act(job).catch((error) => announceJobError(row, error)),
  }, label);
  const children = [element("div", { class: "row spread" },
    element("h3", {}, name),
    element("span", { class: "quiet" }, `${job.status}${position}, ${made.toLocaleString()}`))];
  if (job.status === "running") {
    const known = job.audio_s > 0 && job.progress_s != null;
    children.push(element("progress", {
      max: "1", value: known ? Math.min(1, job.progress_s / job.audio_s) : null, "aria-label": `Progress of ${name}`,
    }));
  }
  if (job.error) children.push(element("p", { class: "error" }, job.error.message));
  const actions = element("div", { class: "row" });
  if (ACTIVE.includes(job.status)) actions.append(button("Cancel", cancelJob));
  if (job.status === "succeeded") actions.append(button("Show", showJob));
  actions.append(button("Delete", deleteJob));
  row.box.replaceChildren(...children, actions);
  const again = [...row.box.querySelectorAll("button")].find((each) => each.textContent === focused);
  if (again) again.focus();
  else if (focused) byId("jobs-heading").focus();
}

function announceJobError(row, error) {
  row.box.querySelector(".failure")?.remove();
  row.box.append(element("p", { class: "error failure", role: "alert" }, error.message));
}

async function cancelJob(job) {
  await call("POST", `/v1/jobs/${encodeURIComponent(job.id)}/cancel`);
  await refreshJobs();
}

async function showJob(job) {
  const path = `/v1/jobs/${encodeURIComponent(job.id)}/result?format=`;
  const result = await callJson("GET", `${path}verbose_json`);
  // A job that was sent without timestamp_granularities[] word has segments alone.
  result.words ??= result.segments.map(({ text, start, end, avg_logprob: log }) =>
    ({ word: text.trim(), start, end, confidence: Math.exp(log) }));
  const card = newCard(jobName(job));
  const inFormat = (format) => call("GET", path + ({ txt: "text", json: "verbose_json" }[format] || format));
  showResult(card, jobName(job), result, jobFiles.get(job.id) || null, inFormat);
  byId("results").focus();
}

async function deleteJob(job) {
  if (!confirm(`Delete the job ${jobName(job)}, its recording and its result?`)) return;
  await call("DELETE", `/v1/jobs/${encodeURIComponent(job.id)}`);
  jobFiles.delete(job.id);
  await refreshJobs();
  byId("jobs-heading").focus();
}

byId("more-jobs").addEventListener("click", () => {
  shownJobs += 20;
  refreshJobs();
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(pollTimer);
  else if (jobsExist) refreshJobs();
});

// ---- Start ---------------------------------------------------------------------------------------

let modelId = "whisper-1";

async function start() {
  try {
    const models = await callJson("GET", "/v1/models");
    modelId = models.data[0].id;
    byId("service").textContent = `Model ${modelId}`;
    byId("service").classList.remove("error");
    byId("forget-key").hidden = !storedKey();
  } catch (error) {
    if (error.status === 401) return;
    byId("service").textContent = error.message;
    byId("service").classList.add("error");
  }
  await refreshJobs();
}

start();

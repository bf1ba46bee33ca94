// The upload form: files dropped anywhere on the page, several sent one after the other, each with its progress, and the
// proposal of a dataset. Without this script it is an ordinary form for one file.
(() => {
  const form = document.getElementById("upload-form");
  const input = document.getElementById("upload-file");
  const drop = document.getElementById("drop");
  const dropText = document.getElementById("drop-text");
  const overlay = document.getElementById("drop-overlay");
  const details = document.getElementById("upload-details");
  const submit = document.getElementById("upload-submit");
  const clear = document.getElementById("upload-clear");
  const problem = document.getElementById("upload-error");
  const panel = problem.parentElement;
  const tray = document.getElementById("upload-tray");
  const trayClose = document.getElementById("tray-close");
  const sent = document.getElementById("upload-sent");
  const items = document.getElementById("upload-sending");
  // The history that shows several files. The form's `dataset` is its field of this name.
  const after = form.getAttribute("data-after");
  const dropPrompt = [...dropText.childNodes];
  // Of a form whose dataset can be chosen.
  const name = document.getElementById("upload-dataset");
  const named = document.getElementById("upload-named");
  const proposal = document.getElementById("upload-proposal");
  const match = document.getElementById("upload-match");
  const others = document.getElementById("upload-others");
  // Pauses shorter than this are within a word.
  const TYPING_MS = 250;
  let latestQuery = null;
  let latestName = "";
  let typing = 0;
  let acceptedName = "";

  const size = (bytes) => {
    if (bytes === 1) return "1 byte";
    const units = ["bytes", "kB", "MB", "GB", "TB"];
    const power = bytes < 1000 ? 0 : Math.min(4, Math.floor(Math.log10(bytes) / 3));
    return `${(bytes / 1000 ** power).toFixed(power ? 1 : 0)} ${units[power]}`;
  };

  const element = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });

  // The files that are chosen

  // path: the name of the field that it is about.
  const showError = (text, path) => {
    form.querySelector("[aria-describedby=upload-error]")?.removeAttribute("aria-invalid");
    const field = text && path ? form.querySelector(`.field [name="${CSS.escape(path)}"]`) : null;
    (field?.closest(".field") ?? panel).append(problem);
    problem.textContent = text ?? "";
    problem.hidden = !text;
    if (!text) return;
    details.open = true;
    if (!field) return;
    field.closest("details").open = true;
    field.setAttribute("aria-invalid", "true");
    field.setAttribute("aria-describedby", "upload-error");
    field.focus();
  };

  const tooLarge = (files) => {
    const limit = Number(input.dataset.maxBytes) || Infinity;
    const found = files.find((file) => file.size > limit);
    if (!found) return null;
    const which = files.length === 1 ? "This file" : `“${found.name}”`;
    return `${which} is larger than the limit of ${size(limit)}. Choose a smaller file.`;
  };

  const refresh = () => {
    const files = [...input.files];
    const total = size(files.reduce((sum, file) => sum + file.size, 0));
    const error = tooLarge(files);
    drop.classList.toggle("chosen", files.length > 0);
    if (files.length) {
      dropText.replaceChildren(element("b", files.length === 1 ? files[0].name : `${files.length} files`), ` ${total}`);
    } else {
      dropText.replaceChildren(...dropPrompt);
    }
    submit.textContent = files.length > 1 ? `Upload ${files.length} files` : "Upload";
    submit.hidden = clear.hidden = !files.length;
    submit.disabled = Boolean(error);
    showError(error);
    propose(files.length === 1 ? files[0] : null);
  };

  // A dataset name accepted from a proposal belongs to the previous file.
  const changeFiles = () => {
    if (name && name.value === acceptedName) name.value = "";
    acceptedName = "";
    if (input.files.length) details.open = true;
    lookUp();
    refresh();
  };

  const forget = () => {
    input.value = "";
    details.open = false;
    changeFiles();
  };

  // The dataset

  // Asks the server with the file's first 64 KiB which datasets have the same columns. Works for plain text files only.
  const propose = async (file) => {
    if (!name) return;
    proposal.hidden = true;
    const query = (latestQuery =
      file && /\.(csv|tsv|tab|txt)$/i.test(file.name)
        ? fetch("/api/v1/datasets/match", { method: "POST", body: file.slice(0, 65_536) })
        : null);
    const answer = await query?.catch(() => null);
    if (!answer?.ok || query !== latestQuery) return;
    const { datasets } = await answer.json();
    const [best, ...more] = datasets;
    match.textContent = best ?? "";
    others.replaceChildren(...more.flatMap((each, number) => [number ? ", " : ", or to ", useButton(each)]));
    proposal.hidden = !best || datasets.includes(name.value);
  };

  const useButton = (dataset) => {
    const button = Object.assign(element("button", dataset), { type: "button", className: "link" });
    button.addEventListener("click", () => use(dataset));
    return button;
  };

  const use = (dataset) => {
    name.value = acceptedName = dataset;
    proposal.hidden = true;
    lookUp();
    name.focus();
  };

  // Says whether the typed name is that of a new or of an existing dataset, and what it becomes.
  const lookUp = async () => {
    if (!name) return;
    const typed = (latestName = name.value.trim());
    if (!typed) {
      named.hidden = true;
      return;
    }
    const answer = await fetch(`/api/v1/dataset-name?${new URLSearchParams({ name: typed })}`).catch(() => null);
    const found = await answer?.json().catch(() => null);
    if (typed !== latestName) return;
    named.textContent = sentence(answer, found);
    named.hidden = !named.textContent;
  };

  const sentence = (answer, found) => {
    if (answer?.status === 422) return found?.detail ?? "";
    if (!answer?.ok || !found?.name) return "";
    if (!found.exists) return `New dataset: ${found.name}`;
    const rows = `${found.rows.toLocaleString("en")} ${found.rows === 1 ? "row" : "rows"}`;
    return `Existing dataset: ${found.name}, ${rows}`;
  };

  // The files that are sent, one after the other. Those sent since the tray was empty belong together.

  let sending = [];
  let request = null;
  let isCreating = false;
  // How often, and how many times, the server is asked whether a dataset was created.
  const CREATION_MS = 500;
  const CREATION_TRIES = 240;
  // Bytes of the smallest file that is sent in parts.
  const PARTS_FROM = 1 << 22;

  // state: waiting, sending, saved, cancelled or failed. fields: of the form when it was submitted.
  const add = (file, fields) => {
    const item = document.getElementById("upload-item").content.cloneNode(true).firstElementChild;
    const transfer = { file, fields, item, state: "waiting", page: null };
    item.querySelector(".sending-name").textContent = file.name;
    item.querySelector("progress").setAttribute("aria-label", `Sending ${file.name}`);
    item.querySelector("button").addEventListener("click", () => (transfer.state === "failed" ? again : stop)(transfer));
    items.append(item);
    sending.push(transfer);
    show(transfer, "waiting", "Waiting");
  };

  const show = (transfer, state, text, error) => {
    const { item, file } = transfer;
    const button = item.querySelector("button");
    const alert = item.querySelector(".sending-error");
    transfer.state = state;
    item.dataset.state = state;
    item.querySelector(".sending-state").textContent = text;
    button.textContent = state === "failed" ? "Try again" : "Cancel";
    button.setAttribute("aria-label", `${button.textContent}: ${file.name}`);
    button.hidden = state === "saved" || state === "cancelled";
    alert.textContent = error ?? "";
    alert.hidden = !error;
    summarise();
  };

  const summarise = () => {
    const count = (...states) => sending.filter(({ state }) => states.includes(state)).length;
    const left = count("waiting", "sending");
    const files = `${sending.length} ${sending.length === 1 ? "file" : "files"}`;
    const text = left ? `Sending ${files}` : `${count("saved")} of ${files} sent`;
    if (sent.textContent !== text) sent.textContent = text;
    tray.hidden = !sending.length;
    trayClose.hidden = left > 0;
  };

  const next = () => {
    if (request || isCreating) return;
    const transfer = sending.find(({ state }) => state === "waiting");
    if (transfer) send(transfer);
    else finish();
  };

  const send = (transfer) => {
    const isLarge = transfer.file.size >= (Number(form.dataset.partsFrom) || PARTS_FROM);
    (isLarge ? sendInParts : sendWhole)(transfer);
  };

  const sendWhole = (transfer) => {
    const body = new FormData();
    for (const [field, value] of transfer.fields) body.append(field, value);
    body.append("file", transfer.file);
    const progress = transfer.item.querySelector("progress");
    request = new XMLHttpRequest();
    request.open("POST", form.action);
    request.setRequestHeader("Accept", "application/json");
    request.upload.addEventListener("progress", ({ loaded, total }) => {
      progress.value = total ? (100 * loaded) / total : 0;
      show(transfer, "sending", loaded < total ? `${size(loaded)} of ${size(total)}` : "Saving the file…");
    });
    request.addEventListener("load", () => receive(transfer));
    request.addEventListener("error", () => fail(transfer, "The connection was lost before the file was sent."));
    progress.value = 0;
    show(transfer, "sending", size(transfer.file.size));
    request.send(body);
  };

  // A large file is sent so that it goes on after a cut.
  const sendInParts = async (transfer) => {
    const progress = transfer.item.querySelector("progress");
    const mine = (request = { abort: () => {} });
    const say = (text, percent) => {
      if (request !== mine) return;
      if (percent !== undefined) progress.value = percent;
      show(transfer, "sending", text);
    };
    say(size(transfer.file.size), 0);
    const parts = await import("/static/resumable.js").catch(() => null);
    const sending = await parts?.send(transfer.file, transfer.fields, {
      size,
      say,
      saved: async (address) => {
        const answer = await fetch(address).catch(() => null);
        const found = await answer?.json().catch(() => null);
        if (request === mine) saved(transfer, found ?? {}, address.replace("/api/v1", ""));
      },
      failed: (message, path) => request === mine && fail(transfer, message, path),
    });
    if (request !== mine) sending?.abort();
    else if (sending) mine.abort = sending.abort;
    else sendWhole(transfer);
  };

  const receive = (transfer) => {
    let answer = {};
    try {
      answer = JSON.parse(request.responseText);
    } catch {
      // Not JSON: a page after a redirect, or a response of a proxy.
    }
    if (request.status < 200 || request.status >= 300) {
      const message = [answer.title, answer.detail].filter(Boolean).join(": ");
      const path = answer.errors?.[0].path;
      fail(transfer, message || `The upload failed (error ${request.status}). Try again, or choose another file.`, path);
      return;
    }
    saved(transfer, answer, request.responseURL);
  };

  const saved = (transfer, answer, page) => {
    transfer.page = answer.links?.html ?? page;
    const link = Object.assign(element("a", transfer.file.name), { href: transfer.page });
    transfer.item.querySelector(".sending-name").replaceChildren(link);
    transfer.item.querySelector("progress").value = 100;
    request = null;
    show(transfer, "saved", "Sent");
    if (transfer.fields.some(([field, value]) => field === "dataset" && value.trim()) && !answer.dataset) creating(answer.id);
    else next();
  };

  // A new dataset is created when its first file is read. Sent before, the next file would create another one.
  const creating = async (id) => {
    isCreating = sending.some(({ state }) => state === "waiting");
    for (let tries = 0; isCreating && tries < CREATION_TRIES; tries++) {
      const answer = await fetch(`/api/v1/uploads/${id}`).catch(() => null);
      const found = await answer?.json().catch(() => null);
      if (found?.dataset || ["completed", "failed", "cancelled", "held"].includes(found?.status)) break;
      await new Promise((resume) => setTimeout(resume, CREATION_MS));
    }
    isCreating = false;
    next();
  };

  // The form keeps a single file, with what is wrong beside its fields; of several the others go on.
  const fail = (transfer, message, path) => {
    request = null;
    if (sending.length === 1) {
      closeTray();
      restore(transfer);
      showError(message, path);
      return;
    }
    show(transfer, "failed", "Failed", message);
    next();
  };

  const restore = ({ file }) => {
    const chosen = new DataTransfer();
    chosen.items.add(file);
    input.files = chosen.files;
    refresh();
  };

  const stop = (transfer) => {
    if (transfer.state === "waiting") {
      show(transfer, "cancelled", "Cancelled");
      return;
    }
    request.abort();
    request = null;
    show(transfer, "cancelled", "Cancelled");
    next();
  };

  const again = (transfer) => {
    show(transfer, "waiting", "Waiting");
    next();
  };

  // A single file's page shows its import; several are shown by the history.
  const finish = () => {
    const saved = sending.filter(({ state }) => state === "saved");
    if (sending.length === 1) {
      closeTray();
      if (saved.length) location.assign(saved[0].page);
      return;
    }
    if (sending.some(({ state }) => state === "failed") || !saved.length) return;
    if (after !== location.pathname + location.search || form.classList.contains("large")) location.assign(after);
  };

  const closeTray = () => {
    sending = [];
    items.replaceChildren();
    summarise();
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const files = [...input.files];
    if (!files.length || tooLarge(files)) return;
    const fields = [...new FormData(form)].filter(([field]) => field !== "file");
    if (!sending.some(({ state }) => state === "waiting" || state === "sending")) closeTray();
    for (const file of files) add(file, fields);
    forget();
    next();
  });
  input.multiple = true;
  input.addEventListener("change", changeFiles);
  clear.addEventListener("click", () => {
    forget();
    input.focus();
  });
  trayClose.addEventListener("click", closeTray);
  document.getElementById("upload-use")?.addEventListener("click", () => use(match.textContent));
  name?.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(lookUp, TYPING_MS);
  });
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !details.open) return;
    details.open = false;
    details.querySelector("summary").focus();
  });

  // Files may be dropped anywhere: the browser would open one that is dropped elsewhere. Text and links are left alone.
  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragover", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    overlay.hidden = false;
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) overlay.hidden = true;
  });
  document.addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    overlay.hidden = true;
    if (!event.dataTransfer.files.length) return; // a folder, for example
    input.files = event.dataTransfer.files;
    changeFiles();
    submit.focus({ preventScroll: true });
  });

  window.addEventListener("beforeunload", (event) => {
    if (request || isCreating) event.preventDefault();
  });
  // The Back button may restore the page with its old state.
  window.addEventListener("pageshow", () => {
    lookUp();
    refresh();
  });
})();

// Upload progress, drag and drop, and the dataset proposal. Without this script the form still works.
(() => {
  const form = document.getElementById("upload-form");
  const input = document.getElementById("upload-file");
  const drop = document.getElementById("drop");
  const dropText = document.getElementById("drop-text");
  const submit = document.getElementById("upload-submit");
  const sending = document.getElementById("upload-sending");
  const sent = document.getElementById("upload-sent");
  const sentText = document.getElementById("upload-sent-text");
  const problem = document.getElementById("upload-error");
  const dropPrompt = [...dropText.childNodes];
  const proposal = document.getElementById("upload-proposal");
  const match = document.getElementById("upload-match");
  const others = document.getElementById("upload-others");
  const name = document.getElementById("upload-dataset");
  const named = document.getElementById("upload-named");
  // Pauses shorter than this are within a word.
  const TYPING_MS = 250;
  let request = null;
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

  const showError = (text) => {
    problem.textContent = text ?? "";
    problem.hidden = !text;
  };

  const refresh = () => {
    const [file] = input.files;
    const limit = Number(input.dataset.maxBytes) || Infinity;
    const tooLarge = file && file.size > limit;
    drop.classList.toggle("chosen", Boolean(file));
    if (file) {
      const name = document.createElement("b");
      name.textContent = file.name;
      dropText.replaceChildren(name, ` ${size(file.size)}`);
    } else {
      dropText.replaceChildren(...dropPrompt);
    }
    showError(tooLarge ? `This file is larger than the limit of ${size(limit)}. Choose a smaller file.` : null);
    submit.disabled = !file || tooLarge || Boolean(request);
    propose(file);
  };

  // Asks the server with the file's first 64 KiB which datasets have the same columns. Works for plain text files only.
  const propose = async (file) => {
    if (!name) return; // the page is of one dataset
    proposal.hidden = true;
    if (!file || !/\.(csv|tsv|tab|txt)$/i.test(file.name)) return;
    const query = (latestQuery = fetch("/api/v1/datasets/match", { method: "POST", body: file.slice(0, 65_536) }));
    const answer = await query.catch(() => null);
    if (!answer?.ok || query !== latestQuery) return;
    const { datasets } = await answer.json();
    const [best, ...more] = datasets;
    match.textContent = best ?? "";
    others.replaceChildren(...more.flatMap((each, number) => [number ? ", " : ", or to ", useButton(each)]));
    proposal.hidden = !best || datasets.includes(name.value);
  };

  const useButton = (dataset) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "link";
    button.textContent = dataset;
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

  // A dataset name accepted from a proposal belongs to the previous file.
  const changeFile = () => {
    if (name && name.value === acceptedName) name.value = "";
    acceptedName = "";
    lookUp();
    refresh();
  };

  const reset = (text) => {
    request = null;
    form.removeAttribute("aria-busy");
    sending.hidden = true;
    input.disabled = false;
    refresh();
    showError(text);
  };

  const finish = () => {
    let answer = {};
    try {
      answer = JSON.parse(request.responseText);
    } catch {
      // Not JSON: a page after a redirect, or a response of a proxy.
    }
    if (request.status >= 200 && request.status < 300) {
      const page = answer.links?.html ?? request.responseURL;
      request = null;
      location.assign(page);
      return;
    }
    const message = [answer.title, answer.detail].filter(Boolean).join(": ");
    reset(message || `The upload failed (error ${request.status}). Try again, or choose another file.`);
  };

  const send = () => {
    request = new XMLHttpRequest();
    request.open("POST", form.action);
    request.setRequestHeader("Accept", "application/json");
    request.upload.addEventListener("progress", ({ loaded, total }) => {
      sent.value = total ? (100 * loaded) / total : 0;
      sentText.textContent = loaded < total ? `Uploading: ${size(loaded)} of ${size(total)}` : "Saving the file…";
    });
    request.addEventListener("load", finish);
    request.addEventListener("error", () => reset("The connection was lost before the upload finished. Try again."));
    const body = new FormData(form);
    showError(null);
    sent.value = 0;
    sentText.textContent = "Uploading…";
    sending.hidden = false;
    form.setAttribute("aria-busy", "true");
    submit.disabled = input.disabled = true;
    request.send(body);
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!request && input.files.length) send();
  });
  input.addEventListener("change", changeFile);
  document.getElementById("upload-use")?.addEventListener("click", () => use(match.textContent));
  name?.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(lookUp, TYPING_MS);
  });

  // Accept files on the whole page: the browser would open a file that is dropped outside the drop zone.
  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragover", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    drop.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) drop.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    drop.classList.remove("over");
    if (request || !event.dataTransfer.files.length) return;
    input.files = event.dataTransfer.files;
    changeFile();
  });

  window.addEventListener("beforeunload", (event) => {
    if (request) event.preventDefault();
  });
  // The Back button may restore the page with its old state.
  window.addEventListener("pageshow", () => {
    reset(null);
    lookUp();
  });
})();

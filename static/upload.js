// The upload form with progress. Without this file it is a plain form that works.
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
  const invitation = [...dropText.childNodes];
  const proposal = document.getElementById("upload-proposal");
  const alike = document.getElementById("upload-alike");
  const name = document.getElementById("upload-dataset");
  let request = null;
  let asking = null;
  let taken = "";

  const size = (bytes) => {
    if (bytes === 1) return "1 byte";
    const units = ["bytes", "kB", "MB", "GB", "TB"];
    const power = bytes < 1000 ? 0 : Math.min(4, Math.floor(Math.log10(bytes) / 3));
    return `${(bytes / 1000 ** power).toFixed(power ? 1 : 0)} ${units[power]}`;
  };

  const complain = (text) => {
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
      dropText.replaceChildren(...invitation);
    }
    complain(tooLarge ? `This file is larger than ${size(limit)}, the most that is accepted here.` : null);
    submit.disabled = !file || tooLarge || Boolean(request);
    propose(file);
  };

  // Which dataset has this file's columns: asked with its first lines. Archives and workbooks tell later.
  const propose = async (file) => {
    proposal.hidden = true;
    if (!file || !/\.(csv|tsv|tab|txt)$/i.test(file.name)) return;
    const asked = (asking = fetch("/api/v1/datasets/match", { method: "POST", body: file.slice(0, 65_536) }));
    const answer = await asked.catch(() => null);
    if (!answer?.ok || asked !== asking) return;
    const { dataset } = await answer.json();
    alike.textContent = dataset ?? "";
    proposal.hidden = !dataset || dataset === name.value;
  };

  // A name that was taken from a proposal was meant for the file before.
  const change = () => {
    if (name.value === taken) name.value = "";
    taken = "";
    refresh();
  };

  const settle = (text) => {
    request = null;
    form.removeAttribute("aria-busy");
    sending.hidden = true;
    input.disabled = false;
    refresh();
    complain(text);
  };

  const finish = () => {
    let answer = {};
    try {
      answer = JSON.parse(request.responseText);
    } catch {
      // Not JSON: a page, after a redirect, or something between here and the server.
    }
    if (request.status >= 200 && request.status < 300) {
      const page = answer.links?.html ?? request.responseURL;
      request = null;
      location.assign(page);
      return;
    }
    const words = [answer.title, answer.detail].filter(Boolean).join(": ");
    settle(words || `The server refused the file (${request.status}). Try again, or choose another file.`);
  };

  const send = () => {
    request = new XMLHttpRequest();
    request.open("POST", form.action);
    request.setRequestHeader("Accept", "application/json");
    request.upload.addEventListener("progress", ({ loaded, total }) => {
      sent.value = total ? (100 * loaded) / total : 0;
      sentText.textContent = loaded < total ? `Sending: ${size(loaded)} of ${size(total)}` : "Sent. Storing it safely…";
    });
    request.addEventListener("load", finish);
    request.addEventListener("error", () => settle("The connection broke before the whole file was sent. Try again."));
    const body = new FormData(form);
    complain(null);
    sent.value = 0;
    sentText.textContent = "Sending…";
    sending.hidden = false;
    form.setAttribute("aria-busy", "true");
    submit.disabled = input.disabled = true;
    request.send(body);
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!request && input.files.length) send();
  });
  input.addEventListener("change", change);
  document.getElementById("upload-use").addEventListener("click", () => {
    name.value = taken = alike.textContent;
    proposal.hidden = true;
  });

  // A file dropped beside the drop zone would otherwise replace the page.
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
    change();
  });

  window.addEventListener("beforeunload", (event) => {
    if (request) event.preventDefault();
  });
  // Coming back with the Back button may bring the page as it was left.
  window.addEventListener("pageshow", () => settle(null));
})();

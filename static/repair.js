// The repair of an upload. Loads it into the upload's page once a row has failed, and again when the upload changes;
// makes a grid of the inputs of its rows: keys as in a spreadsheet, each row saved when it is left.
(() => {
  const section = () => document.getElementById("repair");
  const PAUSE = 1000; // milliseconds between two loads

  // Load

  let loaded = 0, timer = 0;
  let edited = 0, told = 0; // edits that were saved, and that the head of the section tells

  function isBusy() {
    const active = document.activeElement;
    return section()?.contains(active) && active.matches("input[type=text], input:not([type]), select");
  }

  function load() {
    timer = 0;
    if (!section()) return;
    if (document.querySelector("#repair .htmx-request")) return later();
    loaded = Date.now();
    section().hidden = false;
    const head = document.querySelector("#repair .repair-head");
    if (isBusy() && head) { // what is typed stays as it is; how many rows are right is told meanwhile
      if (told < edited) {
        told = edited;
        htmx.ajax("GET", section().dataset.url, { source: head, target: head, select: ".repair-head", swap: "outerMorph" });
      }
      return later();
    }
    htmx.ajax("GET", section().dataset.url, { source: section(), target: section(), swap: "outerMorph" });
  }

  function later() {
    timer ||= setTimeout(load, Math.max(PAUSE, loaded + PAUSE - Date.now()));
  }

  const upload = document.getElementById("upload");
  if (upload && section()) {
    let seq = upload.dataset.seq;
    const look = () => {
      const now = document.getElementById("upload")?.dataset ?? {};
      if (now.seq === seq) return;
      seq = now.seq;
      if (Number(now.failed) > 0) later();
    };
    document.addEventListener("htmx:after:swap", look);
    if (Number(upload.dataset.failed) > 0) load();
  }

  // Suggestions that a worker still measures.
  function ready() {
    const now = section();
    if (!now) return;
    if (now.dataset.measured === "no") later();
    const next = document.getElementById("next-bad");
    if (next) next.hidden = false;
    now.classList.add("has-script");
  }
  document.addEventListener("htmx:after:swap", ready);
  ready();

  // The grid

  const inputOf = (target) => target instanceof HTMLInputElement && target.closest("table.grid") ? target : null;
  const rowOf = (input) => input.closest("tr");
  const inputs = (row) => [...row.querySelectorAll("input:not([type])")];
  const rows = () => [...document.querySelectorAll("#repair table.grid tbody tr")];

  function say(text) {
    const said = document.getElementById("grid-said");
    if (said) said.textContent = text;
  }

  function focus(input) {
    if (!input) return false;
    input.focus();
    input.select();
    input.scrollIntoView({ block: "nearest", inline: "nearest" });
    return true;
  }

  function move(input, down, right) {
    const all = rows(), row = rowOf(input);
    const cells = inputs(row), place = cells.indexOf(input) + right;
    if (!down) return focus(cells[place]);
    const column = input.closest("td").dataset.column;
    const target = all[all.indexOf(row) + down];
    return focus(target && inputs(target).find((each) => each.closest("td").dataset.column === column));
  }

  function nextBad(from) {
    const all = [...document.querySelectorAll("#repair table.grid input[aria-invalid]")];
    const behind = all.find((each) => from && from.compareDocumentPosition(each) & Node.DOCUMENT_POSITION_FOLLOWING);
    if (!focus(behind ?? all[0])) say("No cell of this page is wrong.");
  }

  document.addEventListener("click", ({ target }) => {
    if (target.closest?.("#next-bad")) nextBad(null);
  });

  document.addEventListener("focusin", ({ target }) => {
    const input = inputOf(target);
    if (input) input.select();
  });

  document.addEventListener("keydown", (event) => {
    const input = inputOf(event.target);
    if (!input || event.isComposing || event.ctrlKey || event.metaKey) return;
    const isWhole = input.selectionStart === 0 && input.selectionEnd === input.value.length;
    const atStart = isWhole || (input.selectionStart === 0 && input.selectionEnd === 0);
    const atEnd = isWhole || input.selectionStart === input.value.length;
    const steps = {
      ArrowUp: () => move(input, -1, 0),
      ArrowDown: () => move(input, 1, 0),
      Enter: () => move(input, event.shiftKey ? -1 : 1, 0) || save(rowOf(input)),
      ArrowLeft: () => atStart && !event.shiftKey && move(input, 0, -1),
      ArrowRight: () => atEnd && !event.shiftKey && move(input, 0, 1),
      F8: () => nextBad(input) ?? true,
      Escape: () => { input.value = input.defaultValue; input.select(); return true; },
    };
    if (event.key === "Enter") event.preventDefault(); // the form would send itself
    if (steps[event.key]?.()) event.preventDefault();
  });

  // A block of cells: lines and tabs.
  document.addEventListener("paste", (event) => {
    const input = inputOf(event.target);
    const text = event.clipboardData?.getData("text") ?? "";
    if (!input || !/[\t\n]/.test(text.trimEnd())) return;
    event.preventDefault();
    const all = rows(), first = all.indexOf(rowOf(input)), place = inputs(rowOf(input)).indexOf(input);
    const lines = text.replace(/\r?\n$/, "").split(/\r?\n/).map((line) => line.split("\t"));
    const changed = lines.slice(0, all.length - first).map((cells, down) => {
      const targets = inputs(all[first + down]).slice(place);
      targets.forEach((each, right) => { if (cells[right] !== undefined) each.value = cells[right]; });
      return all[first + down];
    });
    saveAll(changed);
  });

  // Saving: a row when the focus leaves it; what was typed stays if somebody else was faster.

  const changes = (row) => Object.fromEntries(
    inputs(row).filter((each) => each.value !== each.defaultValue).map((each) => [each.closest("td").dataset.column, each.value]),
  );

  document.addEventListener("focusout", ({ target, relatedTarget }) => {
    const input = inputOf(target);
    if (input && (!relatedTarget || !rowOf(input).contains(relatedTarget))) save(rowOf(input));
  });
  document.addEventListener("change", ({ target }) => {
    const input = inputOf(target);
    if (input && !rowOf(input).contains(document.activeElement)) save(rowOf(input));
  });
  document.addEventListener("submit", (event) => {
    const row = event.target.closest?.("table.grid tr");
    if (!row) return;
    event.preventDefault();
    save(row);
  });

  const save = (row) => saveAll([row]);

  async function saveAll(found) {
    const wanted = found.filter((row) => !row.dataset.saving && Object.keys(changes(row)).length);
    if (!wanted.length) return;
    const sent = wanted.map((row) => ({ row_number: Number(row.dataset.row), version: Number(row.dataset.version), cells: changes(row) }));
    wanted.forEach((row) => { row.dataset.saving = "yes"; state(row, "checking…"); });
    const path = `/api/v1/uploads/${section().dataset.upload}/failed-rows`;
    let answer, body = {};
    try {
      answer = sent.length === 1
        ? await send("PATCH", `${path}/${sent[0].row_number}`, { cells: sent[0].cells, version: sent[0].version })
        : await send("PATCH", path, { rows: sent });
      body = await answer.json();
    } catch {
      body = { detail: "The server does not respond. What you typed is still here: leave the row again to save it." };
    }
    wanted.forEach((row) => delete row.dataset.saving);
    if (answer?.ok) {
      for (const item of body.items ?? [body]) show(document.getElementById(`row-${item.row_number}`), item);
      edited += 1;
      later();
      return;
    }
    for (const row of wanted) {
      state(row, body.detail ?? "Not saved", true);
      if (answer?.status === 409 || answer?.status === 404) await refresh(row);
    }
    say(body.detail ?? "Not saved.");
  }

  const send = (method, path, body) =>
    fetch(path, { method, headers: { "Content-Type": "application/json", Accept: "application/json" }, body: JSON.stringify(body) });

  // Somebody else edited the row: their values become those it had, and what was typed here stays in its inputs.
  async function refresh(row) {
    const number = Number(row.dataset.row);
    const answer = await fetch(`/api/v1/uploads/${section().dataset.upload}/failed-rows?after=${number - 1}&limit=1`);
    const item = answer.ok ? (await answer.json()).items[0] : null;
    if (item?.row_number !== number) return row.classList.add("is-gone");
    const typed = changes(row);
    show(row, item, typed);
  }

  // What is wrong with a row now. typed: values that stay as they are typed.
  function show(row, item, typed = {}) {
    if (!row) return;
    row.dataset.version = item.version;
    const version = row.querySelector("input[name=version]");
    if (version) version.value = item.version;
    const fields = {}, whole = [];
    for (const { column, rule, detail } of item.reasons) {
      const cell = cellOf(row, column);
      const text = detail ? `${rule} (${detail})` : rule;
      if (cell) (fields[cell.dataset.column] ??= []).push(text);
      else whole.push(column ? `${column}: ${text}` : text);
    }
    for (const input of inputs(row)) {
      const cell = input.closest("td"), name = cell.dataset.column;
      const text = item.cells[name] ?? "";
      const isTyped = name in typed;
      if (!isTyped && document.activeElement !== input) input.value = text;
      input.defaultValue = text;
      const wrong = fields[name];
      cell.classList.toggle("bad", Boolean(wrong));
      cell.classList.toggle("edited", !wrong && name in item.original);
      cell.querySelector(".why").textContent = (wrong ?? []).join("; ");
      if (name in item.original) cell.title = `Originally: ${item.original[name] || "empty"}`;
      else cell.removeAttribute("title");
      if (wrong) input.setAttribute("aria-invalid", "true");
      else input.removeAttribute("aria-invalid");
    }
    row.querySelector(".about").replaceChildren(...whole.map((text) => Object.assign(document.createElement("span"), { className: "why", textContent: text })));
    const isRight = item.edited && !item.reasons.length;
    row.classList.toggle("is-right", isRight);
    if (!Object.keys(typed).length) state(row, isRight ? "right" : item.edited ? "edited" : "");
    const line = row.querySelector("th").textContent.trim();
    say(isRight ? `Line ${line} is right.` : `Line ${line}: ${item.reasons.length} still wrong.`);
  }

  // The cell of a field: the column of the file has its name, or one that the page knows.
  function cellOf(row, field) {
    if (!field) return null;
    const plain = (name) => name.toLowerCase().replace(/[\s_-]+/g, "");
    const cells = [...row.querySelectorAll("td[data-column]")];
    return cells.find((each) => each.dataset.field === field) ?? cells.find((each) => each.dataset.column === field)
      ?? cells.find((each) => plain(each.dataset.column) === plain(field));
  }

  function state(row, text, isBad = false) {
    const shown = row.querySelector(".state");
    shown.textContent = text;
    shown.classList.toggle("why", isBad);
  }
})();

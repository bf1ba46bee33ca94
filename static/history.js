// The history's table: selected rows and what is done with them, and compact rows.
(() => {
  const history = document.getElementById("history");

  // Selected rows. Without this script the form's buttons are always there.

  const batch = document.getElementById("batch");
  const count = document.getElementById("batch-count");
  const boxes = () => [...document.querySelectorAll("#upload-rows input[name=id]")];
  const all = () => document.getElementById("select-all");
  let lastClicked = null;

  // The statuses that each action needs.
  const CAN = {
    cancel: (row) => ["pending", "processing", "held"].includes(row.dataset.status),
    retry: (row) => ["failed", "cancelled"].includes(row.dataset.status),
  };
  const NAMES = { cancel: "Cancel", retry: "Retry" };

  const selected = () => boxes().filter((box) => box.checked);

  const refresh = () => {
    const rows = selected().map((box) => box.closest("tr"));
    const text = rows.length ? `${rows.length} selected` : "";
    if (count.textContent !== text) count.textContent = text;
    for (const [action, can] of Object.entries(CAN)) {
      const button = batch.querySelector(`[value=${action}]`);
      const possible = rows.filter(can).length;
      button.textContent = possible ? `${NAMES[action]} ${possible}` : NAMES[action];
      button.disabled = !possible;
    }
    batch.classList.toggle("shown", rows.length > 0);
    all().checked = rows.length > 0 && rows.length === boxes().length;
    all().indeterminate = rows.length > 0 && !all().checked;
  };

  // Shift and a click select all rows from the one that was clicked before.
  const extend = (box) => {
    const list = boxes();
    const [from, to] = [list.findIndex((each) => each.value === lastClicked), list.indexOf(box)].sort((a, b) => a - b);
    if (from < 0) return;
    for (const each of list.slice(from, to)) each.checked = box.checked;
  };

  const say = (text) => {
    const toast = document.createElement("div");
    toast.className = "toast tone-muted";
    const line = document.createElement("p");
    line.textContent = text;
    toast.append(line);
    document.getElementById("toasts").append(toast);
  };

  const run = async (action) => {
    const rows = selected().filter((box) => CAN[action](box.closest("tr")));
    const body = new URLSearchParams([["action", action], ...rows.map((box) => ["id", box.value])]);
    const request = { method: "POST", headers: { Accept: "application/json" }, body };
    const answer = await fetch(batch.getAttribute("action"), request).catch(() => null);
    const found = await answer?.json().catch(() => null);
    say(found?.detail ?? "The server did not answer. Try again.");
    if (answer?.ok) clear();
  };

  const clear = () => {
    for (const box of boxes()) box.checked = false;
    lastClicked = null;
    refresh();
    document.getElementById("uploads").focus({ preventScroll: true });
  };

  if (batch) {
    history.addEventListener("click", (event) => {
      const box = event.target.closest("input[type=checkbox]");
      if (!box) return;
      if (box === all()) for (const each of boxes()) each.checked = box.checked;
      else if (event.shiftKey) extend(box);
      lastClicked = box.value;
      refresh();
    });
    batch.addEventListener("submit", (event) => {
      event.preventDefault();
      run(event.submitter.value);
    });
    document.getElementById("batch-clear").addEventListener("click", clear);
    document.getElementById("batch-clear").hidden = false;
    document.addEventListener("htmx:after:swap", refresh);
    window.addEventListener("pageshow", refresh);
  }

  // Compact rows. The server reads the cookie, so that the page begins as it stays.

  const density = document.getElementById("density");
  density?.addEventListener("click", () => {
    const isCompact = history.classList.toggle("compact");
    density.setAttribute("aria-pressed", isCompact);
    document.cookie = `density=${isCompact ? "compact" : "normal"}; path=/uploads; max-age=31536000; samesite=lax`;
  });
  if (density) density.hidden = false;
})();

// New uploads on a page of the history that they must not move: a link announces them. A page with filters, or a later
// one, announces all that match since it was loaded; the first page without filters inserts them at its top, unless its
// reader has scrolled, has selected rows, or the page has become long.
(() => {
  const changes = document.getElementById("changes");
  const announcement = changes.querySelector("a");
  const inserts = changes.hasAttribute("data-inserts");
  const matches = new Set();
  // Rows above which the first page grows no further: four pages.
  const MOST_ROWS = 100;
  // How long a new row takes to unfold. Each frame moves the others by two pixels.
  const UNFOLD_MS = 380;

  const rows = () => document.getElementById("upload-rows");
  const isPresent = (id) => document.getElementById(`upload-${id}`) !== null;

  // If there is a next page, uploads older than the last row belong there.
  const isOnLaterPage = (id) => {
    const last = rows().lastElementChild;
    return last && document.querySelector("#uploads [rel=next]") && Number(id) < Number(last.dataset.key);
  };

  const announce = () => {
    const count = matches.size;
    announcement.hidden = !count;
    announcement.textContent = count ? `Show ${count} ${inserts ? "new" : "more"} ${count === 1 ? "upload" : "uploads"}` : "";
  };

  // For each upload that changes, the stream sends whether it matches this page's filter.
  document.addEventListener("matches", ({ detail }) => {
    for (const [id, isMatch] of Object.entries(JSON.parse(detail.data))) {
      if (isMatch && !isPresent(id) && !isOnLaterPage(id)) matches.add(id);
      else matches.delete(id);
    }
    announce();
  });

  const isBeingRead = () =>
    window.scrollY > 0 ||
    rows().childElementCount >= MOST_ROWS ||
    rows().contains(document.activeElement) ||
    rows().querySelector(":checked") !== null;

  const unfold = (id) => {
    const row = document.getElementById(`upload-${id}`);
    if (!row || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    const height = `${row.offsetHeight}px`;
    row.animate([{ height: 0, overflow: "clip" }, { height, overflow: "clip" }], UNFOLD_MS);
  };

  let arriving = [];

  document.addEventListener("htmx:before:swap", ({ detail }) => {
    for (const task of detail.tasks) {
      // The whole table is only sent as the snapshot at the start of a stream: it contains everything announced so far.
      if (task.target?.id === "uploads") {
        if (document.activeElement === announcement) document.getElementById("uploads").focus({ preventScroll: true });
        matches.clear();
        announce();
      }
      const id = task.swapSpec?.style === "upsert" && task.fragment.firstElementChild?.dataset.key;
      if (!id || isPresent(id)) continue;
      if (matches.has(id) || (rows().childElementCount && isBeingRead())) {
        task.swapSpec = { style: "none" };
        if (!isOnLaterPage(id)) matches.add(id);
        announce();
      } else {
        arriving.push(id);
      }
    }
  });
  document.addEventListener("htmx:after:swap", () => {
    arriving.forEach(unfold);
    arriving = [];
  });

  // Reconnecting the stream shows them without losing anything in between; without a stream the link loads the page.
  announcement.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    if (document.dispatchEvent(new Event("reconnect", { cancelable: true }))) return;
    event.preventDefault();
    window.scrollTo({ top: 0 });
  });
})();

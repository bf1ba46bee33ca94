// A filtered page of the history: rows change in place, and a link announces uploads that match the filter since the
// page was loaded, so that new rows never move the rows being read.
(() => {
  const announcement = document.querySelector("#changes a");
  const matches = new Set();

  const isPresent = (id) => document.getElementById(`upload-${id}`) !== null;

  // If there is a next page, uploads older than the last row belong there.
  const isOnLaterPage = (id) => {
    const last = document.querySelector("#upload-rows > tr:last-child");
    return last && document.querySelector("#uploads [rel=next]") && Number(id) < Number(last.dataset.key);
  };

  const announce = () => {
    const count = matches.size;
    announcement.hidden = !count;
    announcement.textContent = count ? `Show ${count} more ${count === 1 ? "upload" : "uploads"}` : "";
  };

  // For each upload that changes, the stream sends whether it matches this page's filter.
  document.addEventListener("matches", ({ detail }) => {
    for (const [id, isMatch] of Object.entries(JSON.parse(detail.data))) {
      if (isMatch && !isPresent(id) && !isOnLaterPage(id)) matches.add(id);
      else matches.delete(id);
    }
    announce();
  });

  // The whole table is only sent as the snapshot at the start of a stream: it contains everything announced so far.
  document.addEventListener("htmx:before:swap", ({ detail }) => {
    if (!detail.tasks.some(({ target }) => target?.id === "uploads")) return;
    if (document.activeElement === announcement) document.getElementById("uploads").focus({ preventScroll: true });
    matches.clear();
    announce();
  });

  // Reconnecting the stream shows them without losing anything in between; without a stream the link loads the page.
  announcement.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    if (!document.dispatchEvent(new Event("reconnect", { cancelable: true }))) event.preventDefault();
  });
})();

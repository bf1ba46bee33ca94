// A page of the history with a filter: rows change where they stand, and uploads that come to belong to it announce
// themselves, instead of pushing away what is being read.
(() => {
  const announcement = document.querySelector("#changes a");
  const belonging = new Set();

  const isPresent = (id) => document.getElementById(`upload-${id}`) !== null;

  // On a full page what is older than its last row belongs behind it.
  const isBehind = (id) => {
    const last = document.querySelector("#upload-rows > tr:last-child");
    return last && document.querySelector("#uploads [rel=next]") && Number(id) < Number(last.dataset.key);
  };

  const announce = () => {
    const count = belonging.size;
    announcement.hidden = !count;
    announcement.textContent = count ? `${count} ${count === 1 ? "change" : "changes"}: show` : "";
  };

  // The stream tells of each upload that changes whether it belongs to what this page shows.
  document.addEventListener("fitting", ({ detail }) => {
    for (const [id, fits] of Object.entries(JSON.parse(detail.data))) {
      if (fits && !isPresent(id) && !isBehind(id)) belonging.add(id);
      else belonging.delete(id);
    }
    announce();
  });

  // The whole table comes only as a snapshot, with which a stream begins: it has all that was announced.
  document.addEventListener("htmx:before:swap", ({ detail }) => {
    if (!detail.tasks.some(({ target }) => target?.id === "uploads")) return;
    if (document.activeElement === announcement) document.getElementById("uploads").focus({ preventScroll: true });
    belonging.clear();
    announce();
  });

  // A stream that begins anew is what shows them, with nothing lost between; without one the link leads to the page.
  announcement.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    if (!document.dispatchEvent(new Event("renew", { cancelable: true }))) event.preventDefault();
  });
})();

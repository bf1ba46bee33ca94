// The form of a column, shown at its head, and files that are dropped on the page. Without this script the form has a page of
// its own.
(() => {
  const panel = document.createElement("div");
  panel.id = "column-panel";
  panel.popover = "auto";
  panel.setAttribute("role", "dialog");
  document.getElementById("main").append(panel);
  const EDGE = 8;
  let head = null;

  const place = () => {
    const { left, right, bottom } = head.closest("th").getBoundingClientRect();
    const widest = document.documentElement.clientWidth - panel.offsetWidth - EDGE;
    const beside = left + panel.offsetWidth > document.documentElement.clientWidth ? right - panel.offsetWidth : left;
    panel.style.left = `${Math.max(EDGE, Math.min(beside, widest))}px`;
    panel.style.top = `${bottom}px`;
    panel.style.maxHeight = `${document.documentElement.clientHeight - bottom - EDGE}px`;
    panel.style.overflow = "auto";
  };

  const read = (url) => fetch(url, { headers: { "HX-Request": "true" } });

  const show = async (answer) => {
    panel.innerHTML = await answer.text();
    if (!panel.matches(":popover-open")) panel.showPopover();
    place();
    (panel.querySelector("[aria-invalid]") ?? panel.querySelector("a, input:not([type=hidden])"))?.focus();
  };

  document.addEventListener("click", async (event) => {
    const link = event.target.closest(".head-menu");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    head = link;
    const answer = await read(link.href).catch(() => null);
    if (answer?.ok) {
      panel.setAttribute("aria-label", link.getAttribute("aria-label"));
      await show(answer);
    } else location.assign(link.href);
  });

  // What does not fit is shown beside its field; everything else leads to the rows.
  panel.addEventListener("submit", async (event) => {
    event.preventDefault();
    const url = `${event.target.action}?${new URLSearchParams(new FormData(event.target))}`;
    const answer = await read(url).catch(() => null);
    const target = answer?.headers.get("HX-Redirect");
    if (target) location.assign(target);
    else if (answer?.status === 422) await show(answer);
    else location.assign(url);
  });
  panel.addEventListener("toggle", (event) => {
    if (event.newState === "closed") head?.focus();
  });
  addEventListener("scroll", () => panel.matches(":popover-open") && place(), { passive: true });
  addEventListener("resize", () => panel.matches(":popover-open") && place());

  // The form for files, with what it says of them, stands in a menu, which opens when files are dragged over the page.
  const into = document.getElementById("upload-into");
  for (const moment of ["dragenter", "drop"]) {
    document.addEventListener(moment, (event) => {
      if (into && event.dataTransfer?.types.includes("Files")) into.open = true;
    });
  }
})();

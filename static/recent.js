// The menu of the uploads that ended lately, and how many of them were announced but not yet seen.
(() => {
  const MOST = 99;
  const link = document.getElementById("recent-link");
  const panel = document.getElementById("recent");
  const list = document.getElementById("recent-list");
  const count = document.getElementById("recent-count");
  const notify = document.getElementById("notify");
  const hint = document.getElementById("notify-hint");

  const unseen = () => remembered.get("unseen").split(" ").filter(Boolean);

  const show = () => {
    const { length } = unseen();
    count.hidden = !length;
    count.firstChild.textContent = length;
  };

  const remember = (ids) => {
    remembered.set("unseen", ids.slice(-MOST).join(" "));
    show();
  };

  // Each open page is told of the same end.
  document.addEventListener("ended", ({ detail }) => remember([...unseen().filter((id) => id !== detail.id), detail.id]));
  document.addEventListener("seen", ({ detail }) => remember(unseen().filter((id) => id !== detail.id)));
  window.addEventListener("storage", show);
  show();

  link.setAttribute("aria-expanded", "false");
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    panel.togglePopover();
  });
  panel.addEventListener("toggle", ({ newState }) => {
    const isOpen = newState === "open";
    link.setAttribute("aria-expanded", isOpen);
    if (!isOpen) return;
    remember([]);
    htmx.ajax("GET", link.href, { source: list, target: list, swap: "innerHTML" });
  });

  const isAllowed = () => window.Notification?.permission === "granted";
  const isWanted = () => remembered.get("notify") === "on" && isAllowed();

  const showChoice = (text = "") => {
    notify.setAttribute("aria-pressed", isWanted());
    hint.textContent = text;
  };

  // The browser asks only after a click.
  notify.addEventListener("click", async () => {
    if (!window.isSecureContext || !window.Notification)
      return showChoice("This browser shows notifications only of pages with https.");
    remembered.set("notify", isWanted() ? "" : "on");
    if (Notification.permission === "default") await Notification.requestPermission();
    showChoice(isAllowed() ? "" : "Notifications are blocked. Allow them for this address in your browser's settings.");
  });
  showChoice();

  document.addEventListener("ended", ({ detail }) => {
    if (!document.hidden || !isWanted()) return;
    try {
      const notification = new Notification("Bulk Upload", { body: detail.text, tag: detail.id });
      notification.addEventListener("click", () => {
        window.focus();
        location.assign(detail.url);
      });
    } catch {
      // On telephones only a service worker may show one.
    }
  });
})();

// Announcements of uploads that ended: they can be closed, and each tells the page's other scripts.
(() => {
  const toasts = document.getElementById("toasts");
  // Good news at once; what was told before is still in the list of what ended.
  const MOST = 3;
  let before = null;

  const tell = (name, toast) => {
    const [text, link] = [toast.querySelector("p"), toast.querySelector("a")];
    const detail = { id: toast.id, tone: toast.dataset.tone, text: text.innerText.trim(), url: link.href };
    document.dispatchEvent(new CustomEvent(name, { detail }));
  };

  new MutationObserver((changes) => {
    for (const { addedNodes } of changes) for (const node of addedNodes) if (node.id) tell("ended", node);
    const good = [...toasts.querySelectorAll(".toast-good:not(:hover, :focus-within)")];
    for (const old of good.slice(0, -MOST)) old.remove();
  }).observe(toasts, { childList: true });

  toasts.addEventListener("focusin", ({ relatedTarget }) => {
    if (!toasts.contains(relatedTarget)) before = relatedTarget;
  });
  toasts.addEventListener("animationend", (event) => {
    if (event.animationName === "toast-leave") event.target.remove();
  });
  toasts.addEventListener("click", ({ target }) => {
    const toast = target.closest(".toast");
    if (target.closest("a, button")) tell("seen", toast);
    if (!target.closest(".toast-close")) return;
    const hadFocus = toast.contains(document.activeElement);
    toast.remove();
    // The next announcement, or where the reader was.
    const next = toasts.querySelector(".toast-close") ?? (before?.isConnected ? before : document.getElementById("main"));
    if (hadFocus) next.focus({ preventScroll: true });
  });
})();

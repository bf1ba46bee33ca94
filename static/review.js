// The review of a held upload: what was entered and refused stays while the page is updated live. Only the answer to a
// form says what is wrong with it; the next one that is sent decides.
(() => {
  const keepRefused = (present, next) => {
    next.setAttribute("data-refused", "");
    for (const input of present.querySelectorAll("[aria-invalid=true]")) {
      const field = next.querySelector(`#${CSS.escape(input.id)}`)?.closest(".field");
      field?.replaceWith(input.closest(".field").cloneNode(true));
    }
    const problem = present.querySelector("#review-problem");
    const part = problem?.closest("section").getAttribute("aria-labelledby");
    next.querySelector(`section[aria-labelledby="${part}"] > :first-child`)?.after(problem.cloneNode(true));
  };

  document.addEventListener("htmx:before:swap", ({ detail }) => {
    const present = document.querySelector("#review[data-refused]");
    if (!present || detail.ctx.sourceElement.id !== "live") return;
    for (const { fragment } of detail.tasks) {
      const next = fragment.querySelector("#review");
      if (next) keepRefused(present, next);
    }
  });
})();

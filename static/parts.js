// The button that imports the chosen parts of a file says how many they are, also after a part of the page came anew: the
// browser keeps what is chosen, and the server does not know it.
"use strict";

(() => {
  const count = () => {
    const form = document.querySelector("#review-parts-form");
    const button = form?.querySelector("[data-count]");
    if (!button) return;
    const chosen = form.querySelectorAll('[name="part"]:checked').length;
    button.textContent = chosen === 1 ? "Import 1 part" : chosen ? `Import ${chosen} parts` : "Import parts";
    button.disabled = !chosen;
  };
  document.addEventListener("change", count);
  document.addEventListener("htmx:after:swap", count);
  count();
})();

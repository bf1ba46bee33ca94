// The button that imports the chosen parts of a file says how many they are.
"use strict";

document.addEventListener("change", (event) => {
  const form = event.target.closest?.("#review-parts-form");
  if (!form) return;
  const button = form.querySelector("[data-count]");
  const chosen = form.querySelectorAll('[name="part"]:checked').length;
  button.textContent = chosen === 1 ? "Import 1 part" : `Import ${chosen} parts`;
  button.disabled = !chosen;
});

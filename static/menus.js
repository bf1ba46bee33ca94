// Menus close by Escape, and by a click elsewhere.
(() => {
  const MENUS = ".menu, .filter details, .upload-into";
  const open = () => document.querySelector(`:is(${MENUS})[open]`);

  document.addEventListener("click", ({ target }) => {
    const menu = open();
    if (menu && !menu.contains(target)) menu.open = false;
  });
  document.addEventListener("keydown", ({ key }) => {
    const menu = open();
    if (key !== "Escape" || !menu) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
})();

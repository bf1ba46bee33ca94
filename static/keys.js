// Keys that do what a click does, for people who use them. The help, which `?` opens, lists them and turns them off.
(() => {
  // Milliseconds that the second key of two may take.
  const PATIENCE = 1_500;
  const TYPED = "input:not([type=checkbox], [type=radio], [type=button], [type=submit], [type=file]), select, textarea";

  const help = document.getElementById("keys");
  const choice = document.getElementById("keys-on");
  const opener = document.getElementById("keys-open");
  let before = "";
  let pressedAt = 0;

  const go = (path) => location.assign(path);
  const first = (selector) => [...document.querySelectorAll(selector)].find((each) => each.checkVisibility());

  const search = () => {
    const field = first("main input[type=search]");
    field?.focus();
    field?.select();
  };
  const upload = () => {
    const input = document.getElementById("upload-file");
    if (!input) return go("/uploads#upload-form");
    input.closest("details")?.setAttribute("open", "");
    input.click();
  };

  // The focus moves from the main link of a row to that of the next.
  const move = (step) => {
    const links = [...document.querySelectorAll("main tbody tr, #recent:popover-open li")]
      .map((row) => row.querySelector(".file, .name, a[href]")?.closest("a") ?? row.querySelector("a[href]"))
      .filter((link) => link?.checkVisibility());
    const row = document.activeElement.closest("tbody tr, li");
    const present = links.findIndex((link) => row?.contains(link));
    links[present < 0 ? 0 : present + step]?.focus();
  };

  const KEYS = {
    "/": search,
    u: upload,
    j: () => move(1),
    k: () => move(-1),
    "g h": () => go("/uploads"),
    "g d": () => go("/datasets"),
    "?": () => help.showModal(),
  };

  document.addEventListener("keydown", (event) => {
    const { key, target } = event;
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (!choice.checked || help.open || target.matches?.(TYPED) || target.isContentEditable) return;
    const both = `${event.timeStamp - pressedAt < PATIENCE ? before : ""} ${key}`;
    const act = KEYS[both] ?? KEYS[key];
    [before, pressedAt] = [key, event.timeStamp];
    if (!act) return;
    event.preventDefault();
    act();
  });

  // A form of this page led here again: what it did stands at the beginning of the content.
  const isAgain = document.referrer.split(/[?#]/)[0] === location.origin + location.pathname;
  if (isAgain && /^\/uploads\/\d+$/.test(location.pathname) && document.activeElement === document.body) {
    document.getElementById("main").focus({ preventScroll: true });
  }

  choice.checked = remembered.get("keys") !== "off";
  choice.addEventListener("change", () => remembered.set("keys", choice.checked ? "" : "off"));
  opener.hidden = false;
  opener.addEventListener("click", () => help.showModal());
})();

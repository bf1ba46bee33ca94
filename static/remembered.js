// What this browser remembers from page to page. Nothing, if it forbids to.
const remembered = {
  get(name) {
    try {
      return localStorage.getItem(name) ?? "";
    } catch {
      return "";
    }
  },
  set(name, value) {
    try {
      localStorage.setItem(name, value);
    } catch {
      // Storage is full or forbidden.
    }
  },
};

// What the pages' stream needs beyond hypermedia: a badge that tells the truth about the connection, rows that
// are morphed where they stand, and toasts that go away.
(() => {
  // The server pings every 15 s: two may be missed.
  const SILENCE_MS = 40_000;
  // A reconnect usually takes half a second; a badge that flickers tells nobody anything.
  const PATIENCE_MS = 1_200;
  const WORDS = { connecting: "Connecting…", live: "Live", reconnecting: "Reconnecting…", finished: "" };

  const badge = document.getElementById("connection");
  let connection = null;
  let heard = Date.now();
  let alarm = null;

  const show = (state) => {
    clearTimeout(alarm);
    alarm = null;
    if (!badge || badge.dataset.state === "finished") return;
    badge.hidden = state === "finished";
    if (badge.dataset.state !== state || !badge.textContent) badge.textContent = WORDS[state];
    badge.dataset.state = state;
  };

  const alive = () => {
    heard = Date.now();
    show("live");
  };

  const troubled = () => {
    if (!document.hidden) alarm ??= setTimeout(show, PATIENCE_MS, "reconnecting");
  };

  // htmx reports failures of a first connection under its own events, and later ones under hx-sse's.
  const onStream = (name, handle) =>
    document.addEventListener(name, (event) => {
      if (event.target === document || event.target.id === "live") handle(event.detail);
    });

  if (badge) {
    badge.hidden = false;
    onStream("htmx:sse:after:connection", (detail) => {
      connection = detail.connection;
      alive();
    });
    onStream("htmx:sse:after:message", alive);
    onStream("htmx:sse:before:connection", (detail) => {
      if (detail.connection.attempt > 0) troubled();
    });
    onStream("htmx:sse:error", troubled);
    onStream("htmx:response:error", troubled);
    onStream("htmx:error", troubled);
    // The server takes the stream element away when nothing more can happen to what the page shows.
    onStream("htmx:sse:close", (detail) => (detail.reason === "ended" ? troubled() : show("finished")));

    setInterval(() => {
      if (document.hidden || Date.now() - heard < SILENCE_MS) return;
      show("reconnecting");
      heard = Date.now();
      // A dead connection can look open for hours; letting go of it makes hx-sse open another.
      connection?.reader?.cancel();
    }, 5_000);

    // hx-sse lets go of hidden tabs on purpose: the time away is not silence.
    document.addEventListener("visibilitychange", () => {
      heard = Date.now();
    });
  }

  // hx-upsert replaces an element that is already there, which would drop its focus and its transitions: morph it
  // instead, and leave it alone if it already shows a later state.
  document.addEventListener("htmx:before:swap", ({ detail }) => {
    for (const task of detail.tasks) {
      if (task.swapSpec?.style !== "upsert") continue;
      const arriving = task.fragment.firstElementChild;
      const present = arriving?.id && document.getElementById(arriving.id);
      if (!present) continue;
      const stale = Number(arriving.dataset.seq) < Number(present.dataset.seq);
      task.target = present;
      task.swapSpec = { style: stale ? "none" : "outerMorph" };
    }
  });

  const toasts = document.getElementById("toasts");
  toasts.addEventListener("animationend", (event) => {
    if (event.animationName === "toast-leave") event.target.remove();
  });
  toasts.addEventListener("click", (event) => {
    if (event.target.closest(".toast-close")) event.target.closest(".toast").remove();
  });
})();

// What the pages' stream needs beyond hypermedia: a badge that tells the truth about the connection, rows that
// are morphed where they stand, and toasts that go away.
(() => {
  // A reconnect usually takes half a second; a badge that flickers tells nobody anything.
  const PATIENCE_MS = 1_200;
  // Who has been cut off for this long is told for how long.
  const STALE_MS = 5_000;
  // How much later than usual a sign of life may come.
  const SLACK_MS = 5_000;
  const WORDS = { connecting: "Connecting…", live: "Live", reconnecting: "Reconnecting…", stale: "Stale" };
  const REFUSED = "The server does not serve it at the moment.";

  const live = document.getElementById("live");
  const badge = document.getElementById("connection");
  const refusal = document.getElementById("refusal");

  const ago = (ms) => {
    const seconds = Math.round(ms / 1000);
    if (seconds < 100) return `${seconds} s`;
    return seconds < 6000 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
  };

  const watch = () => {
    const limit = 1000 * Number(live.dataset.heartbeatInterval) + SLACK_MS;
    const [word, age] = badge.children;
    let connection = null;
    let usualDelay = null;
    let lastId = "";
    let wasLive = false;
    // Moments: when the server was heard last, since when it cannot be heard (null: it can), when the stream was
    // opened, and when the reader came back to this tab.
    let heard = Date.now();
    let lost = heard;
    let opened = heard;
    let back = heard;

    const show = (state, silence) => {
      badge.dataset.state = state;
      if (word.textContent !== WORDS[state]) word.textContent = WORDS[state];
      age.textContent = silence ? `\u00a0for ${ago(silence)}` : "";
    };

    // Called whenever something happens, and every second, because silence is no event. Clocks may be set back.
    const judge = () => {
      if (document.hidden || badge.hidden) return;
      const now = Date.now();
      [heard, opened, back] = [heard, opened, back].map((moment) => Math.min(moment, now));
      const away = lost === null ? 0 : now - lost;
      if (now - Math.max(heard, back) > limit || away > STALE_MS) show("stale", now - heard);
      else if (lost === null) show("live");
      else if (away > PATIENCE_MS) show(wasLive ? "reconnecting" : "connecting");
      // A dead connection can look open for hours.
      if (now - Math.max(heard, opened, back) > limit) reopen();
    };

    // The next connection is opened at once, and only that one: a server that is away is not to be hammered.
    const hurry = () => {
      if (!connection || usualDelay !== null) return;
      usualDelay = connection.config.reconnectDelay;
      connection.config.reconnectDelay = 0;
    };

    // Letting go of the connection makes hx-sse open another, which begins with a snapshot.
    const reopen = () => {
      if (!connection?.reader) return false;
      hurry();
      connection.reader.cancel();
      return true;
    };

    const alive = (id) => {
      lastId = id || lastId;
      heard = Date.now();
      lost = null;
      wasLive = true;
      refusal.textContent = "";
      judge();
    };

    const troubled = () => {
      lost ??= Date.now();
      judge();
    };

    // A server that answers, but not with a stream, says why; one that cannot be reached says nothing.
    const refused = (status, sentence) => {
      refusal.textContent = status === 503 ? `This page is not live, and tries again by itself. ${sentence}` : "";
      troubled();
    };

    // htmx reports failures of a first connection under its own events, and later ones under hx-sse's.
    const onStream = (name, handle) =>
      document.addEventListener(name, (event) => {
        if (event.target === document || event.target === live) handle(event.detail, event);
      });

    // Tabs that nobody sees hold no connection, and whoever has a stream needs no other.
    onStream("htmx:before:request", (_, event) => {
      if (document.hidden || connection) event.preventDefault();
    });
    onStream("htmx:config:request", ({ ctx }) => {
      if (lastId) ctx.request.headers["Last-Event-ID"] = lastId;
    });
    onStream("htmx:sse:after:connection", (detail) => {
      connection = detail.connection;
      opened = Date.now();
    });
    onStream("htmx:sse:after:message", ({ message }) => alive(message.id));
    onStream("htmx:sse:before:connection", (detail) => {
      if (usualDelay !== null) detail.connection.config.reconnectDelay = usualDelay;
      usualDelay = null;
      if (detail.connection.attempt > 0) troubled();
    });
    onStream("htmx:sse:error", ({ status }) => {
      // hx-sse does not tell what the server said; the trigger that asks every 10 s does, and is slow enough.
      if (status === 503 && connection) connection.config.reconnect = false;
      refused(status, REFUSED);
    });
    onStream("htmx:response:error", ({ ctx }) => {
      const isPlain = ctx.response.headers.get("Content-Type")?.startsWith("text/plain");
      refused(ctx.response.status, isPlain ? ctx.text : REFUSED);
    });
    onStream("htmx:error", () => refused());
    // The server takes the stream element away when nothing more can happen to what the page shows.
    onStream("htmx:sse:close", ({ reason }) => {
      connection = null;
      badge.hidden = reason !== "ended";
      troubled();
    });

    // hx-sse lets go of hidden tabs on purpose: the time away is not silence, and who comes back is not to wait.
    document.addEventListener("visibilitychange", () => {
      back = lost = Date.now();
      if (!document.hidden) {
        reopen(); // a tab that was hidden while it connected has not let go
        return;
      }
      hurry();
      if (!badge.hidden) show("connecting");
    });
    document.addEventListener("renew", (event) => {
      if (reopen()) event.preventDefault();
    });
    setInterval(judge, 1_000);
    badge.hidden = false;
  };
  if (live) watch();

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

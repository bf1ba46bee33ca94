// What the pages' stream needs beyond hypermedia: a badge that shows the real state of the connection, an end while
// nobody needs it, and rows that are morphed in place.
(() => {
  // A reconnect usually takes half a second: the badge ignores such short breaks.
  const GRACE_MS = 1_200;
  // After this long without a connection the badge shows how old the page is.
  const STALE_MS = 5_000;
  // How late a heartbeat may arrive.
  const SLACK_MS = 5_000;
  // How many hidden tabs hold a connection, and how long one counts that says so no more. Timers of a hidden tab fire
  // once a minute.
  const HOLDERS = 2;
  const HELD_MS = 180_000;
  const LABELS = { connecting: "Connecting…", live: "Live", reconnecting: "Reconnecting…", stale: "Not updated" };
  const UNAVAILABLE = "The server is temporarily unavailable.";

  const live = document.getElementById("live");
  const badge = document.getElementById("connection");
  const refusal = document.getElementById("refusal");

  const duration = (ms) => {
    const seconds = Math.round(ms / 1000);
    if (seconds < 100) return `${seconds} s`;
    return seconds < 6000 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
  };

  // A hidden tab holds its connection only while something on its page runs, so that it can tell the end of it; and
  // only if few others do. Browsers open six connections to a host: a page that is opened needs one, too.
  const tab = Math.random().toString(36).slice(2);
  let isHolding = false;
  let heldAt = 0;

  const hold = () => {
    const now = Date.now();
    if (isHolding && now - heldAt < HELD_MS / 4) return;
    heldAt = now;
    const others = remembered.get("held").split(" ").filter((each) => {
      const [id, moment] = each.split(":");
      return id && id !== tab && Math.abs(now - moment) < HELD_MS;
    });
    isHolding = document.hidden && others.length < HOLDERS;
    remembered.set("held", [...others, ...(isHolding ? [`${tab}:${now}`] : [])].join(" "));
  };

  const isRunning = () =>
    document.querySelector("[data-seq]:is([data-status=pending], [data-status=processing])") !== null;
  const isNeeded = () => !document.hidden || (isHolding && isRunning());

  const watch = () => {
    const limit = 1000 * Number(live.dataset.heartbeatInterval) + SLACK_MS;
    const [label, age] = badge.children;
    let connection = null;
    let usualDelay = null;
    let lastId = "";
    let wasLive = false;
    // Timestamps: the last message, the loss of the connection (null: connected), the last opening of the stream, and
    // the last time this tab became visible or hidden.
    let receivedAt = Date.now();
    let lostAt = receivedAt;
    let openedAt = receivedAt;
    let switchedAt = receivedAt;

    const show = (state, silence) => {
      badge.dataset.state = state;
      if (label.textContent !== LABELS[state]) label.textContent = LABELS[state];
      age.textContent = silence ? ` for ${duration(silence)}` : "";
    };

    // Called after every event and every second, because silence fires no event. The clock may be set back.
    const update = () => {
      if (document.hidden && isRunning()) hold();
      if (!isNeeded() || badge.hidden) return;
      const now = Date.now();
      [receivedAt, openedAt, switchedAt] = [receivedAt, openedAt, switchedAt].map((moment) => Math.min(moment, now));
      const lostFor = lostAt === null ? 0 : now - lostAt;
      if (now - Math.max(receivedAt, switchedAt) > limit || lostFor > STALE_MS) show("stale", now - receivedAt);
      else if (lostAt === null) show("live");
      else if (lostFor > GRACE_MS) show(wasLive ? "reconnecting" : "connecting");
      // A dead connection can look open for hours.
      if (now - Math.max(receivedAt, openedAt, switchedAt) > limit) reconnect();
    };

    // Opens the next connection without a delay, and only that one: repeated attempts would overload the server.
    const skipNextDelay = () => {
      if (!connection || usualDelay !== null) return;
      usualDelay = connection.config.reconnectDelay;
      connection.config.reconnectDelay = 0;
    };

    // Cancelling the connection makes hx-sse open another, which starts with a snapshot.
    const reconnect = () => {
      if (!connection?.reader) return false;
      skipNextDelay();
      connection.reader.cancel();
      return true;
    };

    // Cancelling the connection makes hx-sse begin another attempt, which is then refused.
    const letGo = () => {
      if (isNeeded()) return;
      connection?.reader?.cancel();
      switchedAt = lostAt = Date.now();
      if (!badge.hidden) show("connecting");
    };

    const onMessage = (id) => {
      lastId = id || lastId;
      receivedAt = Date.now();
      lostAt = null;
      wasLive = true;
      refusal.textContent = "";
      update();
      letGo(); // after the last import on a hidden page has ended
    };

    const onLoss = () => {
      lostAt ??= Date.now();
      update();
    };

    // The session has ended, or the account may no longer sign in: nothing more will come.
    const signOut = () => {
      badge.hidden = true;
      if (connection) connection.config.reconnect = false;
      const notice = document.getElementById("signed-out");
      notice.querySelector("a").search = new URLSearchParams({ next: location.pathname + location.search });
      notice.hidden = false;
    };

    // A server that answers 503 gives a reason; a server that cannot be reached gives none.
    const onFailure = (status, reason) => {
      if (status === 401) signOut();
      refusal.textContent =
        status === 503
          ? `Live updates are unavailable. Reload the page to see changes; it also reconnects automatically. ${reason}`
          : "";
      onLoss();
    };

    // htmx reports failures of a first connection under its own events, and later ones under hx-sse's.
    const onStream = (name, handle) =>
      document.addEventListener(name, (event) => {
        if (event.target === document || event.target === live) handle(event.detail, event);
      });

    // A tab that has a stream opens no other.
    onStream("htmx:before:request", (_, event) => {
      if (!isNeeded() || connection || badge.hidden) event.preventDefault();
    });
    onStream("htmx:config:request", ({ ctx }) => {
      if (lastId) ctx.request.headers["Last-Event-ID"] = lastId;
    });
    onStream("htmx:sse:after:connection", (detail) => {
      connection = detail.connection;
      openedAt = Date.now();
    });
    onStream("htmx:sse:after:message", ({ message }) => onMessage(message.id));
    onStream("htmx:sse:before:connection", (detail, event) => {
      if (usualDelay !== null) detail.connection.config.reconnectDelay = usualDelay;
      usualDelay = null;
      if (!isNeeded()) event.preventDefault();
      else if (detail.connection.attempt > 0) onLoss();
    });
    onStream("htmx:sse:error", ({ status }) => {
      // hx-sse does not pass on the response's text. The request that hx-trigger sends every 10 s does, so stop here.
      if (status === 503 && connection) connection.config.reconnect = false;
      onFailure(status, UNAVAILABLE);
    });
    onStream("htmx:response:error", ({ ctx }) => {
      const isPlain = ctx.response.headers.get("Content-Type")?.startsWith("text/plain");
      onFailure(ctx.response.status, isPlain ? ctx.text : UNAVAILABLE);
    });
    onStream("htmx:error", () => onFailure());
    // The server removes the stream element when the upload on the page can no longer change.
    onStream("htmx:sse:close", ({ reason }) => {
      connection = null;
      badge.hidden ||= reason !== "ended" && reason !== "cancelled";
      onLoss();
    });

    // A tab that is shown again opens its stream at once: see hx-trigger. The time without it was not silence.
    document.addEventListener("visibilitychange", () => {
      isHolding = false;
      hold();
      if (document.hidden) letGo();
      else if (!connection?.reader) switchedAt = lostAt = Date.now();
      else update();
    });
    document.addEventListener("reconnect", (event) => {
      if (reconnect()) event.preventDefault();
    });
    setInterval(update, 1_000);
    badge.hidden = false;
  };
  if (live) watch();

  // hx-upsert replaces an existing element, which would lose its focus and its transitions. Morph it instead, and keep
  // it unchanged if it already shows a later state.
  let focused = null;
  document.addEventListener("htmx:before:swap", ({ detail }) => {
    focused = document.activeElement;
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

  // A button that an end takes away, such as that to cancel, leaves the focus to what the page now says.
  document.addEventListener("htmx:after:swap", () => {
    if (focused && !focused.isConnected) document.getElementById("main").focus({ preventScroll: true });
    focused = null;
  });
})();

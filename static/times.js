// Shows each <time> in the reader's language and time zone: how long ago it was, with the exact time as a tooltip. A
// data-style asks for the time itself: clock, exact. The server writes UTC, for pages without JavaScript.
(() => {
  const MINUTE = 60_000;
  const HOUR = 60 * MINUTE;
  const DAY = 24 * HOUR;
  const formatter = (options) => new Intl.DateTimeFormat(undefined, options);
  const clock = formatter({ timeStyle: "short" });
  const day = formatter({ day: "numeric", month: "short" });
  const date = formatter({ dateStyle: "medium" });
  // Two steps of an import can be less than a minute apart.
  const exact = formatter({ dateStyle: "medium", timeStyle: "medium" });
  const whole = formatter({ dateStyle: "full", timeStyle: "long" });
  const ago = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "short" });

  const midnight = (moment) => new Date(moment).setHours(0, 0, 0, 0);
  const dateOf = (moment, now) => (moment.getFullYear() === now.getFullYear() ? day : date).format(moment);

  const relative = (moment, now) => {
    const age = Math.max(0, now - moment);
    if (age < MINUTE) return ago.format(0, "second");
    if (age < HOUR) return ago.format(-Math.floor(age / MINUTE), "minute");
    const days = Math.round((midnight(now) - midnight(moment)) / DAY);
    if (days < 1) return ago.format(-Math.floor(age / HOUR), "hour");
    return days === 1 ? `${ago.format(-1, "day")}, ${clock.format(moment)}` : dateOf(moment, now);
  };

  const styles = {
    exact: (moment) => exact.format(moment),
    clock: (moment, now) =>
      midnight(moment) === midnight(now) ? clock.format(moment) : `${dateOf(moment, now)}, ${clock.format(moment)}`,
  };

  const localise = (root) => {
    const now = new Date();
    for (const time of root.querySelectorAll("time[datetime]")) {
      const moment = new Date(time.dateTime);
      if (Number.isNaN(moment.getTime())) continue;
      const text = (styles[time.dataset.style] ?? relative)(moment, now);
      if (time.textContent !== text) time.textContent = text;
      time.title ||= whole.format(moment);
    }
  };

  localise(document);
  // What arrives is changed before it is shown, so that nothing flickers.
  document.addEventListener("htmx:before:swap", ({ detail }) => {
    for (const { fragment } of detail.tasks) if (fragment) localise(fragment);
  });
  document.addEventListener("visibilitychange", () => document.hidden || localise(document));
  setInterval(() => document.hidden || localise(document), MINUTE / 4);
})();

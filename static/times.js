// Shows every <time> in the reader's time zone and language. The server writes UTC, for pages without JavaScript.
(() => {
  const brief = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  // Two steps of an import can be less than a minute apart.
  const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

  const localise = () => {
    for (const time of document.querySelectorAll("time[datetime]:not([data-local])")) {
      const moment = new Date(time.dateTime);
      if (Number.isNaN(moment.getTime())) continue;
      time.title = time.textContent;
      time.textContent = (time.closest(".timeline") ? exact : brief).format(moment);
      time.dataset.local = "";
    }
  };

  localise();
  // A morph restores the server's text and removes data-local, so this finds the element again.
  document.addEventListener("htmx:after:swap", localise);
})();

// Shows every <time> in the reader's own zone and language; the server writes UTC, for pages without scripts.
(() => {
  const brief = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  // Between two steps of an import there may be less than a minute.
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
  // A morph puts the server's text back and takes data-local away with it, so this finds the element again.
  document.addEventListener("htmx:after:swap", localise);
})();

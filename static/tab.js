// What a tab tells while another one is in front: the progress in its title and icon, and then how its uploads ended,
// until somebody looks at it.
(() => {
  // From what matters least to what matters most.
  const MARKS = { muted: "–", good: "✓", warn: "!", bad: "✕" };
  const TONES = Object.keys(MARKS);

  const link = document.querySelector("link[rel=icon]");
  const usual = { title: document.title, icon: link.getAttribute("href") };
  let worst = "";

  const working = () => {
    const { status, progress } = document.getElementById("upload")?.dataset ?? {};
    if (status === "processing") return [`${progress} % ·`, `working-${25 * Math.floor(progress / 25)}`];
    const count = (status) => document.querySelectorAll(`#upload-rows > [data-status=${status}]`).length;
    const [active, held] = [count("processing"), count("held")];
    if (active) return [`(${active + held})`, "working-50"];
    return held ? [`(${held})`, "ended-muted"] : null;
  };

  const show = () => {
    if (!document.hidden) worst = "";
    const [mark, icon] = working() ?? (worst ? [MARKS[worst], `ended-${worst}`] : ["", ""]);
    const title = `${mark} ${usual.title}`.trim();
    if (document.title !== title) document.title = title;
    const href = icon ? `/static/icons/${icon}.svg` : usual.icon;
    if (link.getAttribute("href") !== href) link.setAttribute("href", href);
  };

  document.addEventListener("ended", ({ detail }) => {
    if (document.hidden && TONES.indexOf(detail.tone) > TONES.indexOf(worst)) worst = detail.tone;
    show();
  });
  document.addEventListener("htmx:after:swap", show);
  document.addEventListener("visibilitychange", show);
  show();
})();

// Sends a large file in parts (tus 1.0), so that it goes on after a cut, and after the page was closed if the same file is
// chosen again. upload.js loads this when such a file is sent.

const ENDPOINT = "/api/v1/uploads/tus";
// Between attempts; together about five minutes, counted anew whenever something arrives.
const RETRY_MS = [0, 1000, 2000, 5000, ...Array(15).fill(20_000)];
// What may be otherwise at the next attempt: the server is busy, another request has the file, or a part arrived changed.
const PASSING = [408, 409, 423, 460];
// The rate is that of this time, and said again so often. Where sending goes on is said for a while.
const RATE_MS = 5000;
const SAID_MS = 250;
const RESUMING_MS = 1500;

// Bytes of a request: what is lost at a cut behind a proxy that collects a request before it passes it on.
const PART_BYTES = 1 << 25;
// Characters of the fields that fit into a header, with room for their code.
const MOST_FIELDS = 12_000;

// The library, loaded once.
let loading = null;
const library = () =>
  (loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = new URL("vendor/tus-js-client/tus.min.js", import.meta.url);
    script.addEventListener("load", () => resolve(window.tus));
    script.addEventListener("error", () => {
      loading = null;
      reject(new Error("The library was not loaded."));
    });
    document.head.append(script);
  }));

const timeLeft = (seconds) => {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s left`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min left`;
  return `${(seconds / 3600).toFixed(1)} h left`;
};

// Says how many bytes have arrived, how fast, and how long the rest will take.
const speaker = (total, size, say) => {
  let moments = [];
  let quietUntil = 0;
  const resume = (sent) => {
    moments = [];
    quietUntil = performance.now() + RESUMING_MS;
    const percent = (100 * sent) / total;
    say(`Resuming at ${Math.floor(percent)} %`, percent);
  };
  const progress = (sent) => {
    const now = performance.now();
    moments = [...moments.filter(({ at }) => now - at < RATE_MS), { at: now, sent }];
    if (now < quietUntil && sent < total) return;
    quietUntil = now + SAID_MS;
    const [first] = moments;
    const rate = now - first.at > 500 ? (1000 * (sent - first.sent)) / (now - first.at) : 0;
    const parts = [`${size(sent)} of ${size(total)}`];
    if (rate > 0) parts.push(`${size(rate)}/s`, timeLeft((total - sent) / rate));
    say(sent < total ? parts.join(" · ") : "Saving the file…", (100 * sent) / total);
  };
  return { resume, progress };
};

const problem = (error) => {
  const answer = error.originalResponse;
  if (!answer) return { message: "The connection was lost. Upload the same file again to send the rest." };
  try {
    const { title, detail, errors } = JSON.parse(answer.getBody());
    return { message: [title, detail].filter(Boolean).join(": "), path: errors?.[0].path };
  } catch {
    return { message: `The upload failed (error ${answer.getStatus()}). Try again, or choose another file.` };
  }
};

// fields: of the form, as pairs. size: bytes as text. say: is called with a text and percent. saved: with the address of
// the upload in the API. failed: with a message, and the name of the field that it is about. Returns what cancels it; null
// if it cannot be sent in this way, because the fields are too long or the library was not loaded.
export const send = async (file, fields, { size, say, saved, failed }) => {
  if (JSON.stringify(fields).length > MOST_FIELDS) return null;
  const tus = await library().catch(() => null);
  if (!tus) return null;
  const metadata = Object.fromEntries(fields.filter(([, value]) => value));
  let address = null;
  const speak = speaker(file.size, size, say);
  const upload = new tus.Upload(file, {
    endpoint: ENDPOINT,
    chunkSize: PART_BYTES,
    retryDelays: RETRY_MS,
    metadata: { ...metadata, filename: file.name },
    // The same file with other fields would be another upload.
    fingerprint: async () => `bulk-upload ${JSON.stringify([file.name, file.size, file.lastModified, fields])}`,
    removeFingerprintOnSuccess: true,
    onShouldRetry: (error) => {
      const status = error.originalResponse?.getStatus() ?? 0;
      if (status && status < 500 && !PASSING.includes(status)) return false;
      say("Connection lost, trying again…");
      return true;
    },
    onAfterResponse: (request, response) => {
      address = response.getHeader("Content-Location") || address;
      const offset = Number(response.getHeader("Upload-Offset"));
      if (request.getMethod() === "HEAD" && offset && !address) speak.resume(offset);
    },
    onProgress: speak.progress,
    onSuccess: () => (address ? saved(address) : failed("The server did not say what became of the file.")),
    onError: (error) => {
      const { message, path } = problem(error);
      failed(message, path);
    },
  });
  const [previous] = await upload.findPreviousUploads();
  if (previous) upload.resumeFromPreviousUpload(previous);
  upload.start();
  return { abort: () => upload.abort(true).catch(() => {}) };
};

// The film or sound under an answer: subtitles on it, the word spoken now marked, a click plays from there.
// `element` is the box whose content is the answer; it is filled anew with every answer.
const words = (root) => [...root.querySelectorAll("[data-s]")].filter((w) => !w.closest('[hidden]'));

const clock = (text) => {
  const [hours, minutes, rest] = text.split(":");
  return 3600 * hours + 60 * minutes + Number(rest);
};

// WebVTT as our own server writes it: blocks of a line of times and lines of text.
const addTrack = (media, link) => {
  const track = media.addTextTrack("subtitles", link.dataset.label, link.lang);
  const content = decodeURIComponent(link.href.slice(link.href.indexOf(",") + 1));
  content.split("\n\n").forEach((block) => {
    const lines = block.trim().split("\n");
    const times = lines[0].split(" --> ");
    if (times.length === 2) track.addCue(new VTTCue(clock(times[0]), clock(times[1]), lines.slice(1).join("\n")));
  });
  return track;
};

const playFrom = (media, at) => {
  media.currentTime = at;
  media.play().catch(() => {});  // a browser may want a click on the player itself first
};

const prepare = (box) => {
  const media = box.querySelector("video");
  const root = box.closest(".dv-answer");
  const spoken = words(root);
  const starts = spoken.map((word) => Number(word.dataset.s));
  let marked = null;

  media.addEventListener("loadedmetadata", () => {
    box.classList.toggle("film", media.videoWidth > 0);
    media.setAttribute("aria-label", media.videoWidth > 0 ? "Film" : "Recording");
  });
  media.addEventListener("error", () => {
    media.hidden = true;
    box.classList.remove("film");
    box.querySelector("[role=status]").textContent = box.dataset.trouble;
    root.querySelectorAll("button[data-from]").forEach((b) => { b.disabled = true; });
  });
  const tracks = [...root.querySelectorAll("a[data-label]")].map((link) => addTrack(media, link));
  tracks.forEach((track, place) => { track.mode = place ? "disabled" : "showing"; });

  const mark = () => {
    const at = media.currentTime + 0.02;  // what was clicked begins a rounding later
    let low = 0, high = starts.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (starts[middle] <= at) low = middle + 1; else high = middle;
    }
    const word = spoken[low - 1];
    const now = word && at < Number(word.dataset.e) + 0.3 ? word : null;
    if (now === marked) return;
    marked?.classList.remove("now");
    marked?.closest("li")?.classList.remove("now");
    now?.classList.add("now");
    now?.closest("li")?.classList.add("now");
    marked = now;
  };
  const follow = () => {
    if (!media.isConnected) return;
    mark();
    if (!media.paused) requestAnimationFrame(follow);
  };
  media.addEventListener("play", follow);
  media.addEventListener("seeked", mark);
  media.addEventListener("timeupdate", mark);
  if (media.error) media.dispatchEvent(new Event("error"));
  media.src = box.dataset.src;
};

const at = (event) => event.target.closest?.("[data-s]");
const mediaOf = (node) => node.closest(".dv-answer")?.querySelector(".dv-player video");

element.addEventListener("click", (event) => {
  const from = event.target.closest("button[data-from]");
  const word = at(event);
  const media = (from || word) && mediaOf(event.target);
  if (media && !media.hidden) playFrom(media, Number(from ? from.dataset.from : word.dataset.s));
});

// The keyboard: a line's button plays the line; arrows go from it to the words and among them.
element.addEventListener("keydown", (event) => {
  const line = event.target.closest?.(".dv-transcript li");
  const media = line && mediaOf(line);
  if (!media || media.hidden || event.target.closest("textarea, input")) return;
  const inLine = [line.querySelector("button[data-from]"), ...words(line)].filter(Boolean);
  const place = inLine.indexOf(event.target);
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (place < 0) return;
  if (step && inLine[place + step]) {
    inLine[place + step].focus();
    event.preventDefault();
  } else if ((event.key === "Enter" || event.key === " ") && at(event)) {
    playFrom(media, Number(at(event).dataset.s));
    event.preventDefault();
  }
});

const look = () => element.querySelectorAll(".dv-player:not([data-ready])").forEach((box) => {
  box.dataset.ready = "true";
  prepare(box);
});
new MutationObserver(look).observe(element, { childList: true, subtree: true });
look();

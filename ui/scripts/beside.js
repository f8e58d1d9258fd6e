// The model before training beside the one in use: the button of an answer begins a job, which is looked at until it ends.
{
  const ASK_EVERY_MS = 700;
  const part = (box, name) => box.querySelector(`[data-${name}]`);
  const route = (box) => `api/jobs/${encodeURIComponent(box.dataset.job)}/before-training`;

  // Lines of the answer that were corrected since the page was opened.
  const corrected = (box) => [...box.closest(".dv-answer").querySelectorAll("li")].flatMap((line) => {
    const fixed = line.querySelector(".dv-fixed span");
    const { start, end } = line.querySelector("button.fix")?.dataset ?? {};
    return fixed && start ? [{ start_s: Number(start), end_s: Number(end), text: fixed.textContent }] : [];
  });

  const look = (box) => fetch(`${route(box)}/shown`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ corrected: corrected(box) }),
  });

  const tell = (box, words, share, at = "") => {
    const line = box.querySelector(".dv-working");
    const bar = line.querySelector("progress");
    line.hidden = false;
    bar.hidden = share === undefined;
    if (share === null || share === undefined) bar.removeAttribute("value"); else bar.value = share;
    const status = line.querySelector("[role=status]");
    if (status.textContent !== words) status.textContent = words;
    part(box, "at").textContent = at;  // ticks, and is not announced
  };

  const show = (box, open) => {
    part(box, "result").hidden = !open;
    if (box.dataset.state === "done") part(box, "compare").textContent = `${open ? "Hide" : "Show"} the comparison`;
  };

  const rest = (box) => {
    delete box.dataset.busy;
    part(box, "compare").removeAttribute("aria-disabled");
    part(box, "stop").hidden = true;
  };

  const end = (box, found, again) => {
    rest(box);
    part(box, "result").innerHTML = found.html;  // made by this server, everything in it escaped
    box.dataset.state = found.state;
    if (!again) show(box, true);
    if (found.words) tell(box, found.words); else box.querySelector(".dv-working").hidden = true;
  };

  const stopped = (box, words) => { rest(box); tell(box, words); };

  // Look until it ends; `again`: it has ended, and what it is compared with has changed.
  const follow = async (box, again = false) => {
    let misses = 0;
    while (box.isConnected && (again || box.dataset.busy)) {
      let found = null;
      try {
        const answer = await look(box);
        found = await answer.json();
        if (found.state === "none") { stopped(box, "Nothing is compared any more."); return; }
        if (!answer.ok) found = null;
      } catch { /* the server may be back in a moment */ }
      if (!again && !box.dataset.busy) return;
      misses = found ? 0 : misses + 1;
      if (misses > 20) { stopped(box, "The server does not answer. Try again."); return; }
      if (found) {
        box.dataset.beside = found.job;
        if (found.state === "done" || found.state === "failed") { end(box, found, again); return; }
        tell(box, found.words, found.share, found.at);
      }
      await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
    }
  };

  const busy = (box) => {
    box.dataset.busy = "true";
    part(box, "compare").setAttribute("aria-disabled", "true");  // and keeps the focus
    part(box, "stop").hidden = false;
    tell(box, "Waiting for its turn …", null);
  };

  const begin = async (box) => {
    busy(box);
    try {
      const answer = await fetch(route(box), { method: "POST" });
      const found = await answer.json();
      if (!answer.ok) { stopped(box, `Not compared: ${found.error}.`); return; }
      box.dataset.beside = found.id;
    } catch {
      stopped(box, "Not compared: the server did not answer. Try again.");
      return;
    }
    await follow(box);
  };

  element.addEventListener("click", (event) => {
    const box = event.target.closest?.(".dv-beside");
    if (!box) return;
    if (event.target.closest("[data-compare]")) {
      if (box.dataset.busy) return;
      if (box.dataset.state === "done") show(box, part(box, "result").hidden); else begin(box);
    } else if (event.target.closest("[data-stop]")) {
      stopped(box, "Stopped: nothing was compared.");
      part(box, "compare").focus();
      if (box.dataset.beside) fetch(`api/jobs/${encodeURIComponent(box.dataset.beside)}`, { method: "DELETE" }).catch(() => {});
    }
  });

  element.addEventListener("dv-corrected", (event) => {
    const box = event.target.closest(".dv-answer").querySelector(".dv-beside[data-state=done]");
    if (box) follow(box, true);
  });

  // After a reload: a comparison that was begun is shown again.
  const resume = async (box) => {
    try {
      const answer = await look(box);
      if (!answer.ok || box.dataset.busy) return;
      const found = await answer.json();
      if (found.state === "none" || found.state === "failed") return;
      busy(box);
      await follow(box);
    } catch { /* the button is there */ }
  };

  const find = () => element.querySelectorAll(".dv-beside:not([data-ready])").forEach((box) => {
    box.dataset.ready = "true";
    resume(box);
  });
  new MutationObserver(find).observe(element, { childList: true, subtree: true });
  find();
}

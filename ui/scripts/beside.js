// The model before training beside the one in use: the button of an answer begins a job, which is looked at until it ends.
{
  const ASK_EVERY_MS = 700;
  const part = (box, name) => box.querySelector(`[data-${name}]`);
  const route = (box) => `api/jobs/${encodeURIComponent(box.dataset.job)}/before-training`;

  const tell = (box, words, share) => {
    const line = box.querySelector(".dv-working");
    const bar = line.querySelector("progress");
    line.hidden = false;
    bar.hidden = share === undefined;
    if (share === null || share === undefined) bar.removeAttribute("value"); else bar.value = share;
    const status = line.querySelector("[role=status]");
    if (status.textContent !== words) status.textContent = words;
  };

  const show = (box, open) => {
    part(box, "result").hidden = !open;
    if (box.dataset.state === "done") part(box, "compare").textContent = `${open ? "Hide" : "Show"} the comparison`;
  };

  const rest = (box) => {
    delete box.dataset.busy;
    part(box, "compare").disabled = false;
    part(box, "stop").hidden = true;
  };

  const end = (box, found) => {
    rest(box);
    part(box, "result").innerHTML = found.html;  // made by this server, everything in it escaped
    box.dataset.state = found.state;
    show(box, true);
    if (found.words) tell(box, found.words); else box.querySelector(".dv-working").hidden = true;
  };

  const stopped = (box, words) => { rest(box); tell(box, words); };

  const follow = async (box) => {
    let misses = 0;
    while (box.isConnected && box.dataset.busy) {
      let found = null;
      try {
        const answer = await fetch(route(box));
        found = await answer.json();
        if (found.state === "none") { stopped(box, "Nothing is compared any more."); return; }
        if (!answer.ok) found = null;
      } catch { /* the server may be back in a moment */ }
      if (!box.dataset.busy) return;
      misses = found ? 0 : misses + 1;
      if (misses > 20) { stopped(box, "The server does not answer. Try again."); return; }
      if (found) {
        box.dataset.beside = found.job;
        if (found.state === "done" || found.state === "failed") { end(box, found); return; }
        tell(box, found.words, found.share);
      }
      await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
    }
  };

  const busy = (box) => {
    box.dataset.busy = "true";
    part(box, "compare").disabled = true;
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
      if (box.dataset.state === "done") show(box, part(box, "result").hidden); else begin(box);
    } else if (event.target.closest("[data-stop]")) {
      stopped(box, "Stopped: nothing was compared.");
      part(box, "compare").focus();
      if (box.dataset.beside) fetch(`api/jobs/${encodeURIComponent(box.dataset.beside)}`, { method: "DELETE" }).catch(() => {});
    }
  });

  // After a reload: a comparison that was begun is shown again.
  const resume = async (box) => {
    try {
      const answer = await fetch(route(box));
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

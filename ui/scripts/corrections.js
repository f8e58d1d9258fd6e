// A line of the transcript that is corrected by hand: one form, moved below the line that it is for.
const formOf = (node) => node.closest(".dv-answer")?.querySelector("form.dv-correct");

const closeForm = (form) => {
  const line = form.closest("li");
  form.hidden = true;
  line?.querySelector("button.fix")?.focus();
};

const say = (form, words, bad) => {
  const status = form.querySelector("[role=status]");
  status.textContent = words;
  status.classList.toggle("bad", bad);
};

element.addEventListener("click", (event) => {
  const close = event.target.closest("form.dv-correct [data-close]");
  if (close) { closeForm(close.form); return; }
  const button = event.target.closest("button.fix");
  const form = button && formOf(button);
  if (!form) return;
  const line = button.closest("li");
  const shown = line.querySelector(".dv-fixed span") ?? line.querySelector("p");
  line.append(form);
  form.dataset.start = button.dataset.start;
  form.dataset.end = button.dataset.end;
  form.elements.text.value = shown.textContent.trim();
  say(form, "", false);
  form.hidden = false;
  form.elements.text.focus();
});

element.addEventListener("keydown", (event) => {
  const form = event.key === "Escape" && event.target.closest?.("form.dv-correct");
  if (form) closeForm(form);
});

const showKept = (line, language, text) => {
  let kept = line.querySelector(".dv-fixed");
  if (!kept) {
    kept = document.createElement("p");
    kept.className = "dv-fixed";
    kept.append("Corrected: ", document.createElement("span"));
    line.insertBefore(kept, line.querySelector("form.dv-correct"));
  }
  kept.querySelector("span").lang = language;
  kept.querySelector("span").textContent = text;
};

element.addEventListener("submit", async (event) => {
  const form = event.target.closest("form.dv-correct");
  if (!form) return;
  event.preventDefault();
  if (form.dataset.busy) return;
  form.dataset.busy = "true";
  const line = form.closest("li");
  const fields = form.elements;
  const start = form.dataset.start;
  say(form, "Cutting it out …", false);
  try {
    const answer = await fetch("api/corrections", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        file: form.dataset.file, language: form.dataset.language,
        start_s: Number(start), end_s: Number(form.dataset.end),
        text: fields.text.value, speaker: fields.speaker.value,
        data_set: fields.data_set.value, consent: fields.consent.checked,
      }),
    });
    const told = await answer.json();
    const here = form.dataset.start === start;  // or another line was opened meanwhile
    if (answer.ok) {
      showKept(line, form.dataset.language, told.text);
      line.dispatchEvent(new Event("dv-corrected", { bubbles: true }));
    }
    if (here) say(form, answer.ok ? `Kept: ${told.kept}` : `Not kept: ${told.error}.`, !answer.ok);
  } catch {
    if (form.dataset.start === start) say(form, "Not kept: the server did not answer. Try again.", true);
  } finally {
    delete form.dataset.busy;
  }
});

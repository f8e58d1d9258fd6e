// Decisions about labels: a button of an item is pressed, the server keeps it, and the item says so.
const itemOf = (node) => node.closest("li.dv-suspect");

const say = (item, words, bad) => {
  const status = item.querySelector(".dv-decided");
  status.textContent = words;
  status.classList.toggle("bad", bad);
};

const show = (item, kept) => {
  item.dataset.number = kept.number;
  for (const button of item.querySelectorAll(".dv-decide button")) {
    const { action } = button.dataset;
    button.setAttribute("aria-pressed", String(action === kept.action && kept.action !== "undo"));
    if (action === "undo") button.hidden = kept.action === "undo"; // there is nothing to take back
  }
  const words = kept.words.charAt(0).toUpperCase() + kept.words.slice(1);
  say(item, `${words}. ${kept.warning || ""}`.trim(), false);
};

const closeForm = (form, back) => {
  form.hidden = true;
  if (back) itemOf(form).querySelector('[data-action="mend"]').focus();
};

// What stands above the list counts decisions: it is asked for once, after the last of several.
let counting;
const countAgain = ({ family, name }) => {
  clearTimeout(counting);
  counting = setTimeout(async () => {
    const answer = await fetch(`api/labels/${family}/${name}/summary`).catch(() => null);
    const summary = document.querySelector(".dv-labels-summary");
    const list = document.querySelector(".dv-labels");
    if (answer?.ok && summary && list?.dataset.family === family && list.dataset.name === name) {
      summary.outerHTML = await answer.text(); // escaped by the server, as the page itself is
    }
  }, 300);
};

const decide = async (item, action, value) => {
  if (item.dataset.busy) return;
  item.dataset.busy = "true";
  say(item, "Keeping it …", false);
  const of = item.closest(".dv-labels").dataset;
  try {
    const answer = await fetch(`api/labels/${of.family}/${of.name}/decisions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ key: item.dataset.key, action, value, seen: Number(item.dataset.number) }),
    });
    const told = await answer.json();
    if (answer.ok) {
      show(item, told);
      countAgain(of);
      closeForm(item.querySelector("form.dv-mend"), action === "mend");
    } else {
      if (told.latest) show(item, { ...told.latest, warning: "" });
      say(item, `Not kept: ${told.error}.`, true);
    }
  } catch {
    say(item, "Not kept: the server did not answer. Try again.", true);
  } finally {
    delete item.dataset.busy;
  }
};

document.addEventListener("click", (event) => {
  const close = event.target.closest?.("form.dv-mend [data-close]");
  if (close) { closeForm(close.form, true); return; }
  const button = event.target.closest?.(".dv-decide button[data-action]");
  if (!button) return;
  const item = itemOf(button);
  const form = item.querySelector("form.dv-mend");
  if (button.dataset.action !== "mend") { decide(item, button.dataset.action, ""); return; }
  form.hidden = !form.hidden;
  if (!form.hidden) form.elements.value.focus();
});

document.addEventListener("keydown", (event) => {
  const form = event.key === "Escape" && event.target.closest?.("form.dv-mend");
  if (form) closeForm(form, true);
});

document.addEventListener("submit", (event) => {
  const form = event.target.closest?.("form.dv-mend");
  if (!form) return;
  event.preventDefault();
  decide(itemOf(form), "mend", form.elements.value.value);
});

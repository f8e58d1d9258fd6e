// The live microphone: 16 kHz samples go to the server block by block, words come back. `element` is the box.
const RATE = 16000, EVERY_MS = 250, MOST_SAMPLES = 30000, TRIES = 3;
const box = element.querySelector(".dv-live");
const button = box.querySelector("button");
const status = box.querySelector("[role=status]");
const line = box.querySelector(".dv-live-words");
const [settled, unsettled] = line.querySelectorAll("span");
const help = status.textContent;
box.hidden = !(window.isSecureContext && navigator.mediaDevices);
let voice = null;

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

const ask = async (path, options) => {
  const answer = await fetch(`api/live/${path}`, { credentials: "same-origin", ...options });
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok) throw Object.assign(new Error(content.error || `the server answered ${answer.status}`), { told: true });
  return content;
};

// A block that did not arrive is sent again: it has its number, so it is not heard twice.
const sure = async (path, options) => {
  for (let attempt = 1; ; attempt++) {
    try {
      return await ask(path, options);
    } catch (error) {
      if (error.told || attempt === TRIES) throw error;
      await sleep(500 * attempt);
    }
  }
};

const show = (mine, state) => {
  if (voice !== mine) return;
  if (state.settled.length) {
    const more = document.createElement("span");
    more.textContent = state.settled.map((word) => `${word.text} `).join("");
    settled.append(more);
    mine.seen += state.settled.length;
  }
  unsettled.textContent = state.unsettled.map((word) => word.text).join(" ");
};

// From the context's rate to 16 kHz, by lines between samples; what is too high was filtered out before.
const resampler = (rate) => {
  if (rate === RATE) return (piece) => piece;
  const step = rate / RATE;
  let last = 0, at = 1;  // `at`: of the next sample, where 0 is `last` and 1 the piece's first
  return (piece) => {
    const out = [];
    for (; at < piece.length; at += step) {
      const low = Math.floor(at), before = low ? piece[low - 1] : last;
      out.push(before + (at - low) * (piece[low] - before));
    }
    at -= piece.length;
    last = piece[piece.length - 1];
    return Float32Array.from(out);
  };
};

const opened = async (stream) => {
  try {  // the browser's own resampling is the best
    const context = new AudioContext({ sampleRate: RATE });
    return [context, context.createMediaStreamSource(stream)];
  } catch {  // this one only takes the microphone's own rate
    const context = new AudioContext();
    let source = context.createMediaStreamSource(stream);
    for (let i = 0; i < 3; i++) source = source.connect(new BiquadFilterNode(context, { type: "lowpass", frequency: 7000 }));
    return [context, source];
  }
};

const listen = async (stream, hear) => {
  const [context, source] = await opened(stream);
  const resampled = resampler(context.sampleRate);
  try {
    await context.audioWorklet.addModule("look/live-worklet.js");
    const node = new AudioWorkletNode(context, "dagsverk-live", { numberOfOutputs: 1, channelCount: 1, channelCountMode: "explicit" });
    node.port.onmessage = (event) => hear(resampled(event.data));
    source.connect(node).connect(context.destination);  // it says nothing: only so is it asked
  } catch {
    const node = context.createScriptProcessor(2048, 1, 1);
    node.onaudioprocess = (event) => hear(resampled(event.inputBuffer.getChannelData(0).slice()));
    source.connect(node).connect(context.destination);
  }
  await context.resume();
  return context;
};

const taken = (mine) => {
  const samples = new Int16Array(Math.min(mine.samples.length, MOST_SAMPLES));
  mine.samples.splice(0, samples.length).forEach((value, i) => {
    samples[i] = Math.max(-32768, Math.min(32767, Math.round(32768 * value)));
  });
  return samples;
};

const path = (mine, more = "") => `voices/${mine.id}${more}?seen=${mine.seen}`;

const send = async (mine) => {
  let state = { over: false };
  while (!state.over && (!mine.stopped || mine.samples.length)) {
    if (!mine.stopped) await sleep(EVERY_MS);
    if (voice !== mine) return { over: true, why: "" };
    const samples = taken(mine);
    const bytes = new DataView(new ArrayBuffer(2 * samples.length));
    samples.forEach((value, i) => bytes.setInt16(2 * i, value, true));
    state = await sure(`${path(mine)}&number=${mine.number++}`, { method: "POST", body: bytes.buffer });
    show(mine, state);
  }
  if (!state.over) state = await sure(path(mine, "/end"), { method: "POST" });
  for (show(mine, state); !state.over; show(mine, state)) {
    await sleep(EVERY_MS);
    state = await sure(path(mine), {});
  }
  return state;
};

const hush = (mine) => {
  mine.stopped = true;
  mine.stream?.getTracks().forEach((track) => track.stop());
  mine.context?.close().catch(() => {});
  mine.stream = mine.context = null;
};

const pressed = (on) => {
  button.setAttribute("aria-pressed", String(on));
  button.textContent = on ? "Stop speaking live" : "Speak live";
};

const speak = async () => {
  const mine = voice = { samples: [], number: 0, seen: 0, stopped: false };
  pressed(true);
  settled.replaceChildren();
  unsettled.textContent = "";
  line.hidden = false;
  status.textContent = "Listening …";
  try {
    mine.stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
    const language = document.querySelector(".dv-form input[type=radio]:checked").value;
    mine.id = (await ask(encodeURIComponent(language), { method: "POST" })).id;
    mine.context = await listen(mine.stream, (piece) => { if (!mine.stopped) mine.samples.push(...piece); });
    mine.stream.getTracks().forEach((track) => { track.onended = () => hush(mine); });
    if (mine.stopped) hush(mine);
    const state = await send(mine);
    if (voice === mine) status.textContent = state.why ? `Ended: ${state.why}.` : help;
  } catch (error) {
    const refused = error.name === "NotAllowedError" ? "the browser does not lend the microphone to this page" : error.message;
    if (voice === mine) status.textContent = `Not written down: ${refused}.`;
  } finally {
    hush(mine);
    if (voice === mine) {
      voice = null;
      pressed(false);
    }
  }
};

button.addEventListener("click", () => {
  if (!voice) speak();
  else if (!voice.stopped) {
    hush(voice);
    status.textContent = "Hearing the last words …";
  }
});

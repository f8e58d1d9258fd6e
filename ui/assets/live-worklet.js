// Hands on what the microphone hears, in pieces of 128 samples.
registerProcessor("dagsverk-live", class extends AudioWorkletProcessor {
  process(inputs) {
    if (inputs[0].length) this.port.postMessage(inputs[0][0].slice());
    return true;
  }
});

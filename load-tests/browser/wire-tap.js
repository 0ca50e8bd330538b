// Runs in the browser, imported before any SDK: every message of a server as it came over the wire.

export const wire = [];
const listeners = new Set();

/** Calls `look` after every message. Gives the way to end that. */
export function onMessage(look) {
  listeners.add(look);
  return () => listeners.delete(look);
}

function take({ data }) {
  wire.push({ text: data, event: JSON.parse(data) });
  for (const look of [...listeners]) look();
}

const create = RTCPeerConnection.prototype.createDataChannel;
RTCPeerConnection.prototype.createDataChannel = function (...options) {
  const channel = create.apply(this, options);
  channel.addEventListener("message", take);
  return channel;
};

window.WebSocket = class extends window.WebSocket {
  constructor(...options) {
    super(...options);
    this.addEventListener("message", take);
  }
};

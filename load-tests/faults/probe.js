// Runs in the page before its own scripts: keeps the connection, what the gateway told, and how loud each 10 ms were.

export function probe() {
  const seen = { connections: [], channels: {}, notices: [], states: [], levels: [] };
  window.faultProbe = seen;
  const now = () => performance.timeOrigin + performance.now();

  const create = RTCPeerConnection.prototype.createDataChannel;
  RTCPeerConnection.prototype.createDataChannel = function (label, ...rest) {
    const channel = create.call(this, label, ...rest);
    seen.channels[label] = channel;
    if (!seen.connections.includes(this)) keep(this);
    channel.addEventListener("message", ({ data }) => {
      const { type } = JSON.parse(data);
      if (label === "voxgate" && type.startsWith("relay.")) seen.notices.push({ type, at: now() });
    });
    return channel;
  };

  function keep(connection) {
    seen.connections.push(connection);
    connection.addEventListener("iceconnectionstatechange", () =>
      seen.states.push({ state: connection.iceConnectionState, at: now() }),
    );
    connection.addEventListener("track", ({ track }) => record(track.clone()));
  }

  async function record(track) {
    const reader = new MediaStreamTrackProcessor({ track }).readable.getReader();
    let samples = new Float32Array(0);
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      if (samples.length !== value.numberOfFrames) samples = new Float32Array(value.numberOfFrames);
      value.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
      const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
      seen.levels.push({ at: now(), ms: value.duration / 1_000, level: Math.sqrt(power) });
      value.close();
    }
  }
}

/** The synchronisation sources of the call, where its packets go and what was invented for lost ones. */
export async function readConnection() {
  const [connection] = window.faultProbe.connections;
  const reports = [...(await connection.getStats()).values()];
  const audio = (type) => reports.find((report) => report.type === type && report.kind === "audio");
  return {
    up: audio("outbound-rtp")?.ssrc,
    down: audio("inbound-rtp")?.ssrc,
    lastReceived: audio("inbound-rtp")?.lastPacketReceivedTimestamp,
    concealed: audio("inbound-rtp")?.concealedSamples ?? 0,
    candidates: connection.remoteDescription.sdp.match(/^a=candidate:.*$/gm) ?? [],
    state: connection.connectionState,
  };
}

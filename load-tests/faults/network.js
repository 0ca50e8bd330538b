// Hosts of their own for the caller and every relay: network namespaces on one bridge, so that a host can fall silent.
// The process itself, and with it the gateway, is on the bridge too; `scripts/faults` starts it in a namespace of its own.
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { ChildProcess } from "../browser/process.js";

const run = promisify(execFile);
const PREFIX = `vgf${process.pid}`;
export const BRIDGE = "br0";
export const HERE = "10.77.0.1";
const NAT_ADDRESS = "10.77.0.100";
export const addressOf = (number) => `10.77.0.${number}`;

const ip = (...args) => run("ip", args);

export class Host {
  constructor(name, number) {
    this.namespace = `${PREFIX}-${name}`;
    this.port = `v-${name}`;
    this.address = addressOf(number);
  }

  /** `[command, arguments]` that run something on this host. */
  command(program, args) {
    return ["ip", ["netns", "exec", this.namespace, program, ...args]];
  }

  /** Nothing arrives and nothing leaves, and nobody is told: the cable is out. */
  async unplug() {
    await ip("-n", this.namespace, "link", "set", "eth0", "down");
  }

  async plugIn() {
    await ip("-n", this.namespace, "link", "set", "eth0", "up");
    await ip("-n", this.namespace, "route", "replace", "default", "via", HERE);
    await this.network.introduce();
  }

  /** Another address, as after a change of network; the old one is gone. */
  async moveTo(number) {
    await ip("-n", this.namespace, "addr", "flush", "dev", "eth0");
    this.address = addressOf(number);
    await ip("-n", this.namespace, "addr", "add", `${this.address}/24`, "dev", "eth0");
    await ip("-n", this.namespace, "route", "replace", "default", "via", HERE);
    await this.network.introduce();
  }
}

export class Network {
  hosts = [];

  static async build(numbers) {
    const network = new Network();
    await ip("link", "set", "lo", "up");
    await ip("link", "add", BRIDGE, "type", "bridge");
    await ip("addr", "add", `${HERE}/24`, "dev", BRIDGE);
    await ip("link", "set", BRIDGE, "up");
    for (const [name, number] of Object.entries(numbers)) await network.#add(new Host(name, number));
    await network.introduce();
    return network;
  }

  host(name) {
    return this.hosts.find(({ namespace }) => namespace === `${PREFIX}-${name}`);
  }

  async #add(host) {
    host.network = this;
    await ip("netns", "add", host.namespace);
    this.hosts.push(host);
    await ip("link", "add", host.port, "type", "veth", "peer", "name", "eth0", "netns", host.namespace);
    await ip("link", "set", host.port, "master", BRIDGE, "up");
    await ip("-n", host.namespace, "link", "set", "lo", "up");
    await ip("-n", host.namespace, "link", "set", "eth0", "up");
    await ip("-n", host.namespace, "addr", "add", `${host.address}/24`, "dev", "eth0");
    await ip("-n", host.namespace, "route", "add", "default", "via", HERE);
  }

  /** Every host knows the others' hardware addresses for good: a dead one is silence, not an error at the sender. */
  async introduce() {
    const stations = [{ address: HERE, hardware: await hardware([], BRIDGE) }];
    for (const { address, namespace } of this.hosts)
      stations.push({ address, namespace, hardware: await hardware(["-n", namespace], "eth0") });
    const know = (where, device, { address, hardware: lladdr }) =>
      ip(...where, "neigh", "replace", address, "lladdr", lladdr, "dev", device, "nud", "permanent");
    for (const from of stations)
      for (const to of stations.filter((other) => other !== from)) {
        const [where, device] = from.namespace ? [["-n", from.namespace], "eth0"] : [[], BRIDGE];
        // A host that is unplugged cannot be taught.
        await know(where, device, to).catch(() => {});
      }
  }

  async remove() {
    for (const { namespace } of this.hosts) await ip("netns", "del", namespace).catch(() => {});
  }
}

/** A NAT between a host and the relays; see nat.py. */
export class Nat {
  static async before(host, relays) {
    const nat = new Nat();
    await ip("addr", "add", `${NAT_ADDRESS}/24`, "dev", BRIDGE).catch(() => {});
    const script = fileURLToPath(new URL("./nat.py", import.meta.url));
    nat.process = new ChildProcess("python3", [script, host.namespace, NAT_ADDRESS, ...relays]);
    await nat.process.find(/ready/);
    return nat;
  }

  /** Every mapping is forgotten. */
  rebind() {
    this.process.signal("SIGUSR1");
  }

  stop() {
    return this.process.stop("SIGKILL");
  }
}

async function hardware(where, device) {
  const { stdout } = await ip(...where, "-json", "link", "show", device);
  return JSON.parse(stdout)[0].address;
}

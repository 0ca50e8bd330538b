"""A NAT with port-dependent filter and mapping for UDP, between a namespace and the one this runs in.

    nat.py NAMESPACE PUBLIC_ADDRESS RELAY_ADDRESS...

What the namespace sends to the relays leaves here from PUBLIC_ADDRESS. On SIGUSR1 every mapping is forgotten and the next
packet gets another port, as when a home router restarts: the host behind it is not told.
"""

import ctypes
import fcntl
import os
import select
import signal
import socket
import struct
import subprocess
import sys

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 1, 0x1000
DEVICE = "natted"


def enter(path):
    libc = ctypes.CDLL(None, use_errno=True)
    with open(path) as namespace:
        if libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")


def device_in(namespace):
    """A device whose packets this process reads; it exists in the namespace, the process stays where it is."""
    home = f"/proc/{os.getpid()}/ns/net"
    with open(home) as own:
        enter(f"/run/netns/{namespace}")
        device = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
        if ctypes.CDLL(None).setns(own.fileno(), CLONE_NEWNET) != 0:
            raise OSError("cannot go back")
    return device


def checksum(header):
    total = sum(struct.unpack(f"!{len(header) // 2}H", header))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def packet(source, source_port, target, target_port, payload):
    length = 28 + len(payload)
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, length, 0, 0x4000, 64, 17, 0, source, target)
    header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
    # A UDP checksum of zero is none (RFC 768).
    return header + struct.pack("!HHHH", source_port, target_port, length - 20, 0) + payload


class Nat:
    def __init__(self, device, public):
        self.device = device
        self.public = public
        self.mappings = {}
        self.inside = {}

    def forget(self, *_):
        for opened in self.mappings.values():
            opened.close()
        self.mappings, self.inside = {}, {}

    def outwards(self):
        data = os.read(self.device, 2048)
        if len(data) < 28 or data[0] != 0x45 or data[9] != 17:
            return
        source, target = data[12:16], data[16:20]
        source_port, target_port = struct.unpack_from("!HH", data, 20)
        key = (source, source_port, target, target_port)
        if key not in self.mappings:
            opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            opened.bind((self.public, 0))
            # A connected socket takes packets of this one peer only.
            opened.connect((socket.inet_ntoa(target), target_port))
            self.mappings[key], self.inside[opened] = opened, key
        try:
            self.mappings[key].send(data[28:])
        except OSError:
            pass

    def inwards(self, opened):
        try:
            payload = opened.recv(2048)
        except OSError:
            return
        source, source_port, target, target_port = self.inside[opened]
        os.write(self.device, packet(target, target_port, source, source_port, payload))

    def serve(self):
        while True:
            try:
                ready = select.select([self.device, *self.inside], [], [], 1)[0]
            except (InterruptedError, ValueError, OSError):
                continue
            for one in ready:
                if one == self.device:
                    self.outwards()
                elif one in self.inside:
                    self.inwards(one)


def main(namespace, public, *relays):
    nat = Nat(device_in(namespace), public)
    subprocess.run(["ip", "-n", namespace, "link", "set", DEVICE, "up"], check=True)
    for relay in relays:
        subprocess.run(["ip", "-n", namespace, "route", "add", f"{relay}/32", "dev", DEVICE], check=True)
    signal.signal(signal.SIGUSR1, nat.forget)
    print("ready", flush=True)
    nat.serve()


if __name__ == "__main__":
    main(*sys.argv[1:])

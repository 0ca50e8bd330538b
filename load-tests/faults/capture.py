"""Writes down every RTP packet that passes two interfaces: `point direction milliseconds ssrc sequence relay`.

    capture.py NODE_INTERFACE NODE_ADDRESS TUNNEL_PORT CLIENT_INTERFACE RELAY_ADDRESS...

At the point `node` packets are inside tunnel frames (relay/src/tunnel.rs: 64 bytes of header, the kind in the low four
bits of the first byte) or bundles of them (relay/src/tunnel/bundle.rs), at the point `client` they are bare. Header and sequence number of SRTP are not encrypted. Times
are the kernel's, on the wall clock.
"""

import select
import socket
import struct
import sys

SO_TIMESTAMPNS = 35
ETH_P_ALL = 3
FRAME_HEADER = 64
UP, DOWN = 1, 2
PACKET_OUTGOING = 4


def opened(interface):
    opened_socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    opened_socket.bind((interface, 0))
    opened_socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    opened_socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    return opened_socket


def udp(packet):
    """Addresses, ports and payload of a UDP packet over IPv4 without options."""
    if len(packet) < 42 or packet[12:14] != b"\x08\x00" or packet[14] != 0x45 or packet[23] != 17:
        return None
    source, target = packet[26:30], packet[30:34]
    source_port, target_port = struct.unpack_from("!HH", packet, 34)
    return source, source_port, target, target_port, packet[42:]


def frames(datagram):
    """The tunnel frames of a datagram: itself, or those of a bundle, each behind its length."""
    if not datagram or datagram[0] >> 4:
        yield datagram
        return
    while len(datagram) > 2:
        length = struct.unpack_from("!H", datagram)[0]
        yield datagram[2 : 2 + length]
        datagram = datagram[2 + length :] if length else b""


def rtp(payload):
    """SSRC and sequence number, None if it is something else (RFC 5761, section 4)."""
    if len(payload) < 12 or payload[0] >> 6 != 2 or 64 <= payload[1] & 0x7F <= 95:
        return None
    return struct.unpack_from("!I", payload, 8)[0], struct.unpack_from("!H", payload, 2)[0]


def time_of(ancillary):
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = struct.unpack("qq", data)
            return seconds * 1000 + nanoseconds / 1e6
    return None


def main(node_interface, node, tunnel_port, client_interface, *relays):
    node, tunnel_port = socket.inet_aton(node), int(tunnel_port)
    relays = {socket.inet_aton(relay): relay for relay in relays}

    def at_node(source, source_port, target, target_port, payload):
        for frame in frames(payload):
            found = in_frame(source, source_port, target, target_port, frame)
            if found:
                yield found

    def in_frame(source, source_port, target, target_port, payload):
        if len(payload) < FRAME_HEADER:
            return None
        kind, inner = payload[0] & 15, rtp(payload[FRAME_HEADER:])
        if kind == UP and (target, target_port) == (node, tunnel_port) and source in relays:
            return inner and ("up", inner, relays[source])
        if kind == DOWN and (source, source_port) == (node, tunnel_port) and target in relays:
            return inner and ("down", inner, relays[target])
        return None

    def at_client(source, _source_port, target, _target_port, payload):
        inner = rtp(payload)
        if inner and target in relays:
            yield "up", inner, relays[target]
        elif inner and source in relays:
            yield "down", inner, relays[source]

    readers = {opened(node_interface): ("node", at_node), opened(client_interface): ("client", at_client)}
    print("ready", flush=True)
    while True:
        lines = []
        for ready in select.select(list(readers), [], [])[0]:
            point, read = readers[ready]
            packet, ancillary, _flags, _address = ready.recvmsg(2048, 64)
            packet = udp(packet)
            for direction, (ssrc, sequence), relay in read(*packet) if packet else ():
                lines.append(f"{point} {direction} {time_of(ancillary):.3f} {ssrc} {sequence} {relay}\n")
        if lines:
            sys.stdout.write("".join(lines))
            sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Load callers made of aiortc: they connect, wait for a line on standard input, then ask aloud and listen.

    aiortc_callers.py COUNT OWN_ADDRESS GATEWAY_ORIGIN KEY MODEL QUESTION_WAV

Prints `connected N`, and after the line one JSON object: how many heard an answer.
"""

import asyncio
import json
import pathlib
import sys

import aioice.ice
import requests

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "python"))

from webrtc_peer import Peer  # noqa: E402

CONNECT_LIMIT = 40
ANSWER_LIMIT = 30


class Gateway:
    def __init__(self, origin, key):
        self.origin, self.key = origin, key

    def ask(self, method, path, headers, **options):
        return requests.request(method, self.origin + path, headers=headers, timeout=30, **options)


async def answered(peer, question):
    """Whether what is asked now is answered aloud."""
    try:
        peer.say(question)
        await peer.until(lambda: peer.all("response.done"), "response.done", ANSWER_LIMIT)
        await asyncio.wait_for(peer.answer_is_audible(), ANSWER_LIMIT)
        return True
    except (AssertionError, TimeoutError):
        return False


async def main(count, address, origin, key, model, question):
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: [address]
    gateway = Gateway(origin, key)
    peers = [Peer() for _ in range(int(count))]
    async with asyncio.timeout(CONNECT_LIMIT):
        await asyncio.gather(*(peer.connect(gateway, model=model) for peer in peers))
    print(f"connected {len(peers)}", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    results = await asyncio.gather(*(answered(peer, question) for peer in peers))
    print(json.dumps({"calls": len(results), "survived": sum(results)}), flush=True)
    await asyncio.gather(*(peer.close() for peer in peers), return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

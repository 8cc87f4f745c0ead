"""A client of the subprotocol tickwire-hub-2 (../PROTOCOL.md): comes back to any server, with nothing lost or twice.

    pip install websockets
    python3 hub.py URL[,URL..] CHANNEL..    prints `CHANNEL PAYLOAD`
"""
import asyncio
import random
import sys

import websockets

FINAL = {1002, 1003, 1007, 1008, 1009, 1010, 1015}  # another attempt would not help


class Hub:
    """`async for (word, channel, payload)`; word is `message`, `subscribed`, `stale`, `gap` or `error`."""

    def __init__(self, urls, channels, first_delay=5.0):
        self.urls, self.first_delay = urls, first_delay
        self.places = dict.fromkeys(channels)  # channel: None, "last" or [LOG, AT]

    async def __aiter__(self):
        attempts = 0
        while True:
            try:
                async with websockets.connect(self.urls[0], subprotocols=["tickwire-hub-2"], max_size=1 << 21) as ws:
                    for channel, place in self.places.items():
                        await ws.send(" ".join(["sub", channel, *([place] if place == "last" else place or [])]))
                    async for message in ws:
                        if told := self.told(message if isinstance(message, bytes) else message.encode()):
                            attempts = 0 if told[0] == "subscribed" else attempts
                            yield told
            except (OSError, websockets.WebSocketException) as error:
                print(f"{self.urls[0]}: {error}", file=sys.stderr)
                if isinstance(error, websockets.ConnectionClosed) and error.rcvd and error.rcvd.code in FINAL:
                    raise
            most = min(self.first_delay * 2**attempts, 60)
            await asyncio.sleep(random.uniform(most / 2 if attempts else 0, most))
            self.urls.append(self.urls.pop(0))  # the next server
            attempts += 1

    def told(self, message):
        word, _, rest = message.partition(b" ")
        if (word := word.decode()) == "error":
            return word, None, rest.decode()
        channel, _, rest = rest.partition(b" ")
        channel = channel.decode()
        if word == "subscribed":
            self.places[channel] = rest.decode().split() or None
        elif word == "entry":
            at, _, rest = rest.partition(b" ")
            self.places[channel][1] = at.decode()
        if word in ("message", "entry"):
            return "message", channel, rest
        return (word, channel, rest.decode()) if word in ("subscribed", "stale", "gap") else None


async def main(urls, *channels):
    hub = Hub(urls.split(","), channels, first_delay=1.0)
    async for word, channel, payload in hub:
        shown = f"{channel} {payload.decode(errors='replace')}" if word == "message" else f"# {word} {channel} {payload}"
        print(shown, flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

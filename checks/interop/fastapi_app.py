"""FastAPI as a server with the paths of ours; see peer/main.rs. Its WebSockets are uvicorn's."""
import asyncio
import os
import signal
import threading

from fastapi import FastAPI, WebSocket, WebSocketDisconnect

app = FastAPI()


async def echo(ws):
    try:
        while True:
            message = await ws.receive()
            if message["type"] == "websocket.disconnect":
                return
            if message.get("text") is not None:
                await ws.send_text(message["text"])
            else:
                await ws.send_bytes(message["bytes"])
    except WebSocketDisconnect:
        pass


@app.websocket("/{path}")
async def behave(ws: WebSocket, path: str):
    if path == "refuse":
        return await ws.close()  # before it was accepted: 403
    offered = ws.scope["subprotocols"] if path == "subprotocol" else []
    await ws.accept(subprotocol=next((name for name in ("v2", "v1") if name in offered), None))
    if path == "close":
        code, _, reason = (await ws.receive_text()).partition(" ")
        await ws.close(int(code), reason)
    elif path == "count":
        for i in range(1000):
            await ws.send_text(str(i))
        await ws.close(1000)
    elif path == "die":
        # More than goes out while the client does not read.
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGKILL)).start()
        await ws.send_bytes(bytes(15 << 20))
    else:
        if path == "idle":
            await asyncio.sleep(1.2)
            await ws.send_text("alive")
        await echo(ws)

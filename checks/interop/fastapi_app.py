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


@app.websocket("/echo")
async def echo_path(ws: WebSocket):
    await ws.accept()
    await echo(ws)


@app.websocket("/subprotocol")
async def subprotocol(ws: WebSocket):
    offered = ws.scope["subprotocols"]
    await ws.accept(subprotocol=next((name for name in ("v2", "v1") if name in offered), None))
    await echo(ws)


@app.websocket("/refuse")
async def refuse(ws: WebSocket):
    await ws.close()  # before it was accepted: 403


@app.websocket("/close")
async def close(ws: WebSocket):
    await ws.accept()
    code, _, reason = (await ws.receive_text()).partition(" ")
    await ws.close(int(code), reason)


@app.websocket("/count")
async def count(ws: WebSocket):
    await ws.accept()
    for i in range(1000):
        await ws.send_text(str(i))
    await ws.close(1000)


@app.websocket("/idle")
async def idle(ws: WebSocket):
    await ws.accept()
    await asyncio.sleep(1.2)
    await ws.send_text("alive")
    await echo(ws)


@app.websocket("/die")
async def die(ws: WebSocket):
    await ws.accept()
    # More than goes out while the client does not read.
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGKILL)).start()
    await ws.send_bytes(bytes(15 << 20))

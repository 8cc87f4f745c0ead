"""python-socketio, of version 4 or 5, against the example server: client.py SERVER WAY

SERVER is the program; WAY is websocket, polling, or upgrade: what a client does unasked. Both of its
clients: Client on requests and websocket-client, AsyncClient on aiohttp.
"""
import asyncio
import atexit
import signal
import subprocess
import sys
import threading
import time
from importlib.metadata import version

import socketio

program, WAY = sys.argv[1:]
OLD = version("python-socketio").startswith("4.")  # Socket.IO 2
# What both clients connect with; the old one waits as long as it wants.
OPTIONS = {} if WAY == "upgrade" else {"transports": [WAY]}
if not OLD:
    OPTIONS["wait_timeout"] = 10
MOST = 700_000 if WAY == "polling" else 900_000  # bytes: in base64 a third more
OK = {"status": "ok"}
PATIENCE = 10
servers = []


def start(*options):
    """Starts a server; it and its URL."""
    server = subprocess.Popen([program, *options], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True)
    servers.append(server)
    return server, "http://" + server.stdout.readline().removeprefix("listening on ").strip()


@atexit.register
def stop_all():
    for server in servers:
        server.kill()


def same(what, got, expected):
    if isinstance(got, tuple) and isinstance(expected, list):
        got = list(got)  # several arguments
    if got != expected:
        raise AssertionError(f"{what}: {got!r:.200} instead of {expected!r:.200}")


# What both clients are asked to echo, and what comes back: one argument alone, several as a list.
VALUES = [
    (None, None), (True, True), (1.5, 1.5), (10**15, 10**15), ("é \U0001f600 \"\\\u2028", None),
    ([1, [2, [3]]], None), ({"z": 1, "a": {"b": [None]}}, None), (b"\x00\x01\xff", None),
    ({"bytes": [b"a", {"deep": b"b" if OLD else b""}]}, None), ((1, b"x", {"y": b"z"}), [1, b"x", {"y": b"z"}]),
    (bytes(MOST), None), ("x" * MOST, None),
]


def answered(value, expected):
    return value if expected is None else expected


def joined(client):
    """Version 4 returns before it has joined."""
    until = time.monotonic() + PATIENCE
    while not client.sid and time.monotonic() < until:
        time.sleep(0.01)


# --- the client with threads

class Sync:
    def __init__(self, url, auth=None, namespaces=("/",), **options):
        self.client = socketio.Client(reconnection=False, **options)
        self.heard, self.gone, self.back = [], threading.Event(), threading.Event()
        self.reason = None
        for namespace in namespaces:
            self.client.on("said", lambda *args: self.heard.append(args), namespace=namespace)
        self.client.on("disconnect", self.disconnected)
        self.client.on("connect", self.back.set)
        self.client.on("question", lambda *args: (*args, b"answer"))
        auth = {} if auth is None else {"auth": auth}
        self.client.connect(url, namespaces=list(namespaces), **auth, **OPTIONS)
        if OLD:
            joined(self.client)

    def disconnected(self, reason=None):
        self.reason = reason
        self.gone.set()

    def call(self, event, *args, namespace=None):
        data = args[0] if len(args) == 1 else args or None
        return self.client.call(event, data, namespace=namespace, timeout=PATIENCE)


def sync_values(url):
    client = Sync(url)
    same("the transport", client.client.transport(), "polling" if WAY == "polling" else "websocket")
    for value, expected in VALUES:
        if value is not None:
            same("the echo", client.client.call("echo", value, timeout=PATIENCE),
                 answered(value, expected))
    same("the echo of nothing", client.client.call("echo", timeout=PATIENCE), None)
    client.client.disconnect()


def sync_rooms(url):
    a, b, c = Sync(url), Sync(url), Sync(url)
    for client, room in ((a, "tea"), (b, "tea"), (c, "coffee")):
        same("join", client.call("join", room), OK)
    same("say", a.call("say", "tea", "hello"), OK)
    same("say", a.call("say", "tea", {"is": b"bytes"}), OK)
    for client in (a, b, c):
        client.call("echo", 1)
    same("what b heard", b.heard, [("hello",), ({"is": b"bytes"},)])
    same("what the others heard", (a.heard, c.heard), ([], []))
    same("leave", b.call("leave", "tea"), OK)
    a.call("say", "tea", "anybody?")
    b.call("echo", 1)
    same("what b heard after leaving", len(b.heard), 2)
    for client in (a, b, c):
        client.client.disconnect()


def sync_namespaces(url):
    client = Sync(url, auth={"token": "secret"}, namespaces=("/", "/admin"))
    same("the echo", client.call("echo", b"1", namespace="/admin"), b"1")
    client.client.disconnect()
    for namespace, message in (("/admin", "Not authorized"), ("/nowhere", "Invalid namespace")):
        errors = []
        refused = socketio.Client(reconnection=False)
        refused.on("connect_error", errors.append, namespace=namespace)
        try:
            refused.connect(url, namespaces=[namespace], auth={"token": "guess"}, **OPTIONS)
        except socketio.exceptions.ConnectionError:
            same("the error", errors, [{"message": message}])
        else:
            raise AssertionError(f"{namespace} lets everybody in")
        refused.disconnect()


def sync_asked(url):
    client = Sync(url)
    same("the answer", client.call("ask", "question", {"x": 1}, b"2"), [{"x": 1}, b"2", b"answer"])
    client.client.disconnect()


def sync_dead(_):
    server, url = start("--listen", "127.0.0.1:0", "--ping-interval", "200", "--ping-timeout", "300")
    client = Sync(url)
    time.sleep(1)  # several heartbeats
    same("a silent connection", client.gone.is_set(), False)
    server.send_signal(signal.SIGSTOP)
    if not client.gone.wait(PATIENCE):
        raise AssertionError("a server that no longer answers is not noticed")
    server.send_signal(signal.SIGCONT)
    server.kill()
    server, url = start("--listen", "127.0.0.1:0")
    client = Sync(url)
    server.kill()
    if not client.gone.wait(PATIENCE):
        raise AssertionError("a server that died is not noticed")


# --- the client with asyncio

async def connected(url, **options):
    client = socketio.AsyncClient(reconnection=False)
    await client.connect(url, **OPTIONS, **options)
    return client


async def async_values(url):
    client = await connected(url)
    for value, expected in VALUES:
        if value is not None:
            same("the echo", await client.call("echo", value, timeout=PATIENCE),
                 answered(value, expected))
    many = await asyncio.gather(*(client.call("echo", (i, bytes([i]))) for i in range(200)))
    same("200 at once", many, [(i, bytes([i])) for i in range(200)])
    await client.disconnect()


async def async_rooms(url):
    a, b = await connected(url), await connected(url)
    heard = []
    b.on("said", lambda *args: heard.append(args))
    for client in (a, b):
        same("join", await client.call("join", "tea"), OK)
    for i in range(20):
        await a.emit("say", ("tea", i))
    await a.call("echo", 1)
    await b.call("echo", 1)
    same("what b heard", heard, [(i,) for i in range(20)])
    for client in (a, b):
        await client.disconnect()


async def async_asked(url):
    namespace, options = "/", {}
    if not OLD:  # which has no way to show a token
        namespace, options = "/admin", {"namespaces": ["/", "/admin"], "auth": {"token": "secret"}}
    client = await connected(url, **options)
    client.on("question", lambda *args: (*args, b"answer"), namespace=namespace)
    answer = await client.call("ask", ("question", b"1"), namespace=namespace, timeout=PATIENCE)
    same("the answer", answer, [b"1", b"answer"])
    await client.disconnect()


async def async_restart(_):
    server, url = start("--listen", "127.0.0.1:0")
    gone, back = asyncio.Event(), asyncio.Event()
    client = socketio.AsyncClient(reconnection_delay=0.1, reconnection_delay_max=0.3)

    async def disconnected(*_):
        gone.set()

    async def is_connected():
        back.set()

    client.on("disconnect", disconnected)
    client.on("connect", is_connected)
    await client.connect(url, **OPTIONS)
    back.clear()
    server.terminate()
    await asyncio.wait_for(gone.wait(), PATIENCE)
    server.wait(PATIENCE)
    start("--listen", url.removeprefix("http://"))
    await asyncio.wait_for(back.wait(), PATIENCE)
    same("the echo", await client.call("echo", b"back", timeout=PATIENCE), b"back")
    await client.disconnect()


def bounded(check, url):
    """A check that must not take for ever."""
    if asyncio.iscoroutinefunction(check):
        return asyncio.run(asyncio.wait_for(check(url), 60))
    failed = []

    def run():
        try:
            check(url)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(60)
    if thread.is_alive():
        raise AssertionError("it hangs")
    if failed:
        raise failed[0]


def main():
    _, url = start("--listen", "127.0.0.1:0")
    failed = False
    checks = [sync_values, sync_rooms, sync_asked, sync_dead, async_values, async_rooms, async_asked]
    if not OLD:  # which shows no token, takes no bytes for nothing, and comes back at times only
        checks += [sync_namespaces, async_restart]
    for check in checks:
        name = f"python-socketio {version('python-socketio')}, {WAY}: {check.__name__}"
        began = time.perf_counter()
        try:
            bounded(check, url)
            print(f"ok   {name} ({1000 * (time.perf_counter() - began):.0f} ms)", flush=True)
        except Exception as error:
            print(f"FAIL {name}: {type(error).__name__}: {error}", flush=True)
            failed = True
    return failed


sys.exit(main())

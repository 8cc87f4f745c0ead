"""Clients of tutorials, with python-socketio of version 4 or 5, against the same tutorials' servers,
and a scenario of the other features: clients.py SERVER WAY

SERVER is the program; WAY is websocket, polling, or upgrade: what a client does unasked.
"""
import atexit
import re
import subprocess
import sys
import threading
import time
from importlib.metadata import version

import socketio

SERVER, WAY = sys.argv[1:]
OLD = version("python-socketio").startswith("4.")  # of Socket.IO 2
running, clients = [], []


class Server:
    def __init__(self, *options):
        self.process = subprocess.Popen([SERVER, "--listen", "127.0.0.1:0", *options],
                                        stdout=subprocess.PIPE, text=True)
        running.append(self.process)
        self.printed = self.process.stdout.readline()
        self.url = "http://" + self.printed.removeprefix("listening on ").strip()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.printed += line

    def said(self, pattern):
        until(lambda: re.search(pattern, self.printed, re.MULTILINE), f"{pattern} in {self.printed!r}")


@atexit.register
def stop_all():
    for process in running:
        process.kill()


def until(condition, what):
    end = time.monotonic() + 10
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"no {what}")
        time.sleep(0.005)


def heard(got, *wanted):
    until(lambda: len(got) >= len(wanted), f"{wanted!r}, but {got!r}")
    if got != list(wanted):
        raise AssertionError(f"{got!r} instead of {wanted!r}")


def in_order(engine):
    """The old client handles each packet in a thread of its own, so an attachment may overtake its
    header, which is an error. Now the thread that reads handles them."""
    trigger = engine._trigger_event
    engine._trigger_event = lambda event, *args, run_async=False: trigger(event, *args)


def connect(server, *events, **options):
    """A client, and what each of these events brings."""
    client = socketio.Client(reconnection=False)
    if OLD:
        in_order(client.eio)
    clients.append(client)
    if WAY != "upgrade":
        options["transports"] = [WAY]
    got = {event: [] for event in events}
    for event in events:
        client.on(event, lambda *args, event=event: got[event].append(args))
    joined = threading.Event()
    client.on("connect", joined.set)
    client.connect(server.url, **options)
    if not joined.wait(10):
        raise AssertionError("no connection")
    return client, got


def message(server):
    client, got = connect(server, "message")
    client.send("Hello!")
    heard(got["message"], ("Hello!",))
    server.said(r'^message "Hello!"$')
    client.disconnect()
    if WAY != "polling":  # where this client may go without a word
        server.said(r"^disconnected \S+: (client namespace disconnect|transport close)$")


def salutations(server):
    client, got = connect(server, "message", "greetings")
    client.send("Hello!")
    client.emit("salutations", ("Hello!", {"mr": "john"}, b"\1\2\3\4"))
    heard(got["message"], ("Hello!",))
    heard(got["greetings"], ("Hey!", {"ms": "jane"}, b"\4\3\3\1"))
    server.said(r'^message "Hello!"$')
    server.said(r'^salutations "Hello!",{"mr":"john"} \[1, 2, 3, 4\]$')


def channel(server):
    (a, of_a), (b, of_b) = connect(server, "broadcast"), connect(server, "broadcast")
    a.emit("channel", "hello")
    heard(of_a["broadcast"], ("hello",))
    heard(of_b["broadcast"], ("hello",))
    server.said(r'^client \S+ says "hello"$')
    b.disconnect()
    server.said(r"^client \S+ has gone$")


def chat(server):
    ann, of_ann = connect(server, "chat message", "login", "user joined", "new message", "user left")
    bob, of_bob = connect(server, "chat message", "login")
    bob.emit("add user", "Bob")
    heard(of_bob["login"], ({"numUsers": 2},))
    heard(of_ann["user joined"], ({"username": "Bob", "numUsers": 2},))
    bob.emit("new message", "hello")
    heard(of_ann["new message"], ({"username": "Bob", "message": "hello"},))
    bob.emit("chat message", "to all")
    heard(of_ann["chat message"], ("to all",))
    heard(of_bob["chat message"], ("to all",))
    bob.disconnect()
    heard(of_ann["user left"], ({"username": "Bob", "numUsers": 1},))


def greeting(server):
    client, got = connect(server, "greeting")
    heard(got["greeting"], ("Welcome!",))
    heard([client.call("greet", "Ann", timeout=10)], "Hello, Ann!")


def binary(server):
    client, got = connect(server, "binary")
    heard([client.call("binary", b"\0\1\xfe\xff", timeout=10)], 4)
    heard(got["binary"], (b"\0\1\xfe\xff",))
    server.said(r"^binary 4$")


def features(server):
    (a, of_a), (b, of_b) = connect(server, "said"), connect(server, "said", "left")
    c, of_c = connect(server, "said")
    for value in (True, -1.5, "é \U0001f600 \u2028", [[]], {"z": [1, {"a": ""}]}, "x" * 900000):
        heard([a.call("echo", value, timeout=10)], value)
    picture = {"name": "\U0001f600", "parts": [b"\3" * 50000, b"\1\2\xff"]}
    heard([a.call("picture", picture, timeout=10)], picture)

    for client in (a, b):
        client.emit("join", "tea")
        client.call("echo", 1)
    a.emit("say", ("tea", "hello"))
    a.call("echo", 1)
    c.emit("say", ("tea", "from outside"))
    heard(of_b["said"], ("hello",), ("from outside",))
    heard(of_a["said"], ("from outside",))
    a.emit("leave", "tea")
    a.call("echo", 1)
    b.emit("say", ("tea", "anybody?"))
    for client in (b, a, c):
        client.call("echo", 1)
    heard([len(got["said"]) for got in (of_a, of_b, of_c)], 1, 2, 0)

    a.on("question", lambda x: {"x": x})
    heard([a.call("ask", 1, timeout=10)], {"x": 1})
    c.emit("join", "tea")
    c.call("echo", 1)
    c.disconnect()
    if WAY != "polling":  # where this client may go without a word
        until(lambda: of_b["left"], "left")
    gone = threading.Event()
    b.on("disconnect", lambda *_: gone.set())
    b.emit("put out")
    if not gone.wait(10):
        raise AssertionError("no disconnect")
    if not OLD:  # which shows no token
        guarded(server)


def guarded(server):
    for namespace, token, expected in (("/admin", "guess", "Not authorized"), ("/nowhere", "secret", "Invalid namespace")):
        errors = []
        refused = socketio.Client(reconnection=False)
        refused.on("connect_error", errors.append, namespace=namespace)
        try:
            refused.connect(server.url, namespaces=[namespace], auth={"token": token})
        except socketio.exceptions.ConnectionError:
            heard(errors, {"message": expected})
        else:
            raise AssertionError(f"{namespace} lets everybody in")
        refused.disconnect()
    inside = connect(server, namespaces=["/", "/admin"], auth={"token": "secret"})[0]
    heard([inside.call("echo", "inside", namespace="/admin", timeout=10)], "inside")


def enters(server):
    try:
        return connect(server)
    except socketio.exceptions.ConnectionError:
        return None


def limit(server):
    a, _ = connect(server)
    connect(server)
    heard([enters(server)], None)
    a.disconnect()
    until(lambda: enters(server), "free place")


def own_path(server):
    client, got = connect(server, "greeting", socketio_path="myownpath")
    heard(got["greeting"], ("Welcome!",))
    client.send("here")
    server.said(r'^message "here"$')


failed = False
OPTIONS = {own_path: ["--path", "/myownpath"], limit: ["--max-per-address", "2"]}
for program in (message, salutations, channel, chat, greeting, binary, features, own_path, limit):
    name = f"python-socketio {version('python-socketio')}, {WAY}: {program.__name__}"
    server = Server(*OPTIONS.get(program, [program.__name__]))
    try:
        program(server)
        print(f"ok   {name}", flush=True)
    except Exception as error:
        print(f"FAIL {name}: {type(error).__name__}: {error}", flush=True)
        failed = True
    while clients:
        clients.pop().disconnect()
    server.process.kill()
sys.exit(failed)

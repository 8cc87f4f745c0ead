"""Clients of tutorials, with python-socketio of version 4 or 5, against the same tutorials' servers in
examples/socketio_server/src/programs.rs: programs.py SERVER
"""
import atexit
import re
import subprocess
import sys
import threading
import time
from importlib.metadata import version

import socketio

SERVER = sys.argv[1]
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


def connect(server, *events, **options):
    """A client, and what each of these events brings."""
    client = socketio.Client(reconnection=False)
    clients.append(client)
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
    server.said(r"^disconnected \S+: (client namespace disconnect|transport close)$")


def salutations(server):
    client, got = connect(server, "message", "greetings")
    client.send("Hello!")
    client.emit("salutations", ("Hello!", {"mr": "john"}, b"\1\2\3\4"))
    heard(got["message"], ("Hello!",))
    heard(got["greetings"], ("Hey!", {"ms": "jane"}, b"\4\3\3\1"))
    server.said(r'^message "Hello!"$')
    server.said(r'^salutations "Hello!",{"mr":"john"},.* Some\(\[1, 2, 3, 4\]\)$')


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
    server.said(r"^binary Some\(4\)$")


def echo(server):
    """The server's own disconnect."""
    for close in (False, True):
        client, got = connect(server)
        gone = threading.Event()
        client.on("disconnect", lambda *_: gone.set())
        client.emit("put out", close)
        if not gone.wait(10):
            raise AssertionError("no disconnect")


def own_path(server):
    client, got = connect(server, "greeting", socketio_path="myownpath")
    heard(got["greeting"], ("Welcome!",))
    client.send("here")
    server.said(r'^message "here"$')


failed = False
for program in (message, salutations, channel, chat, greeting, binary, echo, own_path):
    name = f"python-socketio {version('python-socketio')}: {program.__name__}"
    server = Server(*(["--path", "/myownpath"] if program is own_path else [program.__name__]))
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

"""The example fan_out_bus over NATS JetStream, as its clients see it. Prints a line, ok or FAIL, for each check.

    hub.py plain PROGRAM       Redis, then NATS, both without a log: three servers, and the broker is killed
    hub.py log PROGRAM         what a log is for: who comes back gets what is missing, in order and once
    hub.py clients PROGRAM     the three clients of the subprotocol, against each other
    hub.py secure PROGRAM      NATS and Redis over TLS, with a user and a password
    hub.py many PROGRAM [N]    N subscribers, 10,000 if not said; prints figures, too

PROGRAM is fan_out_bus. Needs nats-server, in the PATH or as NATS_SERVER; for `plain`, `log` and
`clients` the package websockets; for `clients` node and chromium; for `secure` openssl; for
`secure` and `plain` redis-server, in the PATH or as REDIS_SERVER.
A server is killed, then the broker; what reads the broker had to answer is counted at the broker.
"""
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

from hub_support import (CHANNEL, CLIENTS, Broker, Client, Hub, Page, Plain, Process, Subscriber, check, failed, forgetful,
                         free_port, publish, within)

MANY = 2000  # messages of each publisher


def plain(program):
    for kind in ("redis", "nats"):
        over(kind, program)


def over(kind, program):
    def checks(what, holds):
        check(f"{kind}: {what}", holds)
        return holds

    broker = Plain(kind)
    hubs = [Hub(program, broker, "--stats", "--max-behind", "4194304") for _ in range(3)]
    # Three subscribers of each process: one of a, one of b, one of both.
    clients = [(at, wants, Client(hubs[at])) for at in range(3) for wants in ("a", "b", "ab")]
    asked = [client.ask(f"sub {name}", f"subscribed {name}") for _, wants, client in clients for name in wants]
    checks("nine subscribers of three processes are told that they are subscribed", all(asked))
    once = broker.subscribed("a") == 3 and broker.subscribed("b") == 3
    checks("each process subscribes at the broker once, whoever many want a channel", once)
    checks("and to nothing that nobody wants", broker.subscribed("c") == 0)
    of = lambda name: [client for _, wants, client in clients if name in wants]
    forget = lambda: [client.seen.clear() for _, _, client in clients]

    def published():
        """Two programs publish on a, clients of two processes on b."""
        programs = [publish(program, broker.url, MANY, 4000, channel="a") for _ in range(2)]
        with ThreadPoolExecutor() as pool:
            said = list(pool.map(lambda speaker: speaker.publishes("b", MANY), speakers))
        return all(said) and all(process.child.wait() == 0 for process in programs)

    def received(what):
        whole = all([client.reads(name, 2 * MANY) for name in "ab" for client in of(name)])
        checks(f"every subscriber has {what}", whole)
        ordered = all(in_order(client.messages(name)) for name in "ab" for client in of(name))
        checks("each publisher's are in its order", ordered)
        # NATS promises the order of each publisher, and a process has one order for its own.
        orders = {}
        for at, wants, client in clients:
            for name in wants:
                orders.setdefault((name, at if kind == "nats" else 0), set()).add(tuple(client.messages(name)))
        checks("and all subscribers have seen one order", all(len(order) == 1 for order in orders.values()))

    speakers = [Client(hubs[0]), Client(hubs[1])]
    checks("two programs, and clients of two processes, publish all", published())
    if kind == "redis":
        checks("a process has one connection, to subscribe and to publish", broker.connections() == 3)
    received("all of both publishers")

    reached = broker.publish("feed:a", "by hand") == 3 and all([c.is_told("message a - 0 0 by hand") for c in of("a")])
    checks("what any client of the broker publishes arrives, without a number", reached)
    checks("another application's channels are out of reach", broker.publish("a", "not ours") == 0)
    speakers[0].ws.send(b"pub b \xff\x00")
    binary = speakers[0].begins("published b ") and [client.told(lambda _: True) for client in of("b")]
    checks("a payload that is no text arrives as a binary message", all(told.endswith(b" \xff\x00") for told in binary))
    forget()

    broker.process.kill()
    stale = all([client.knows(f"stale {name}") for name in "ab" for client in of(name)])
    checks("when the broker is killed all are told that what they see is stale", stale)
    refused = all([speakers[0].ask("pub b lost", "error not published on b") for _ in range(3)])
    checks("who publishes meanwhile is told that it failed", refused)
    late = Client(hubs[0])
    late.ws.send("sub a")
    checks("it is started again", broker.start())
    back = all([client.knows(f"gap {name} ?") for name in "ab" for client in of(name)])
    checks("all are told of the gap, on the connections they had", back)
    checks("who came meanwhile is subscribed then, and told of no gap", late.is_told("subscribed a") and len(late.seen) == 1)

    def again(speaker, channel):
        """After how many attempts a message is published."""
        for tries in range(1, 6000):
            speaker.ws.send(f"pub {channel} back")
            if (speaker.told(lambda told: told.startswith(("published", "error"))) or "published").startswith("published"):
                return tries
            time.sleep(0.01)

    tries = again(speakers[0], "b")
    checks("the same clients can publish again", tries and again(speakers[1], "c"))
    counted = all([client.knows(f"gap b {2 + tries}") for client in of("b")])
    checks("how many are missing is told by the first message behind", counted)
    forget()
    checks("which arrives", all([client.begins("message b ") for client in of("b")]))
    checks("all publish again", published())
    forget()
    received("all of both publishers after the restart")
    checks("and no gap that is none", not any(line.startswith("gap") for _, _, c in clients for line in c.seen))

    shown = [hub.process.prints(text) for hub in hubs for text in (", lag p50 ", "gone or not reached ")]
    checks("each process shows its lag, and that the broker was lost", all(shown))
    clients[8][2].ask("unsub b", "unsubscribed b")
    clients[7][2].ask("unsub b", "unsubscribed b")
    left = within(lambda: broker.subscribed("b") == 2) and broker.subscribed("a") == 3
    checks("when the last of a process gives a channel up, so does the process", left)
    for _, _, client in clients[6:]:
        client.ws.close()
    checks("or when the last has gone", within(lambda: broker.subscribed("a") == 2))
    for process in [*(hub.process for hub in hubs), broker.process]:
        process.kill()


def in_order(messages):
    """Whether each publisher's numbers go up one by one."""
    last = {}
    return all(last.get(who, seq - 1) == seq - 1 and (last.update({who: seq}) or True) for who, seq, _ in messages)


def log(program):
    broker = Broker()
    hubs = [Hub(program, broker, "--threads", "4", "--max-channels", "3") for _ in range(2)]
    whole = range(1, 3001)
    here = lambda process: process.child.wait() == 0

    one = Subscriber(hubs[0], CHANNEL)
    one.reads()
    first = one.place
    published = here(publish(program, broker.url, 3000, 20000))
    check("a subscriber has all that is published", published and one.has_all(whole))
    one = Subscriber(hubs[1], CHANNEL, first)
    check("who comes back has all that it missed, from a server that had not the channel", one.has_all(whole))
    program_ends = publish(program, broker.url, 3000, 2000)
    eight = [Subscriber(hubs[i % 2], CHANNEL, first) for i in range(8)]
    check("eight read the log while more comes", all_have(eight, [*whole, *whole]) and here(program_ends))
    check("last value: it comes first", Subscriber(hubs[0], CHANNEL, "last").has(1))
    said = one.ask(f"pub {CHANNEL} x") or ""
    there = within(lambda: broker.connections() == 2)
    check("a process of four threads has one connection, to subscribe, publish and read", said.startswith("published") and there)
    bad = ["sub " + "x" * 129, "sub", "sub ", "sub a b", "sub a x 1", "hello", "", "pub a"]
    check("what is no wish gets an error, and nothing else", all(one.ask(said).startswith("error ") for said in bad))
    one.ws.send(f"sub beyond 0 {2**64 - 1}")
    check("a place in a log that never was is a gap", (one.reads() or one.reads()) == "gap beyond ?")
    one.reads()
    three = [one.ask(f"sub {name}").split()[0] for name in ("a", "b", "c")]
    check("a client may have so many channels", three == ["subscribed", "subscribed", "error"])

    slow = Subscriber(hubs[0], "slow")
    slow.reads()
    published = here(publish(program, broker.url, 200, 100000, 60000, "slow"))
    let_go = 0
    while not slow.has(200) and let_go < 20:
        let_go += slow.ws.close_code == 1013
        slow.back(hubs[0])
    rest = slow.has_all(range(1, 201))
    check("who does not read is let go with 1013, and gets the rest then", published and let_go > 0 and rest)

    again = Subscriber(hubs[0], "again")
    published = here(publish(program, f"jetstream://127.0.0.1:{forgetful(broker.port)}", 3000, 2000, channel="again"))
    check("what a publisher repeats is kept once, in its order", published and again.has_all(whole))

    small = Hub(program, broker, "--prefix", "small.", "--keep-bytes", "100000", "--tail", "0")
    one = Subscriber(small, "a")
    one.reads()
    first = one.place
    process = Process(program, "publish", "a", "--bus", broker.url, "--prefix", "small.", "--count", "3000", "--rate", "20000")
    check("who is there has all of a log that keeps less", here(process) and one.has(3000) and one.gaps == 0)
    one = Subscriber(small, "a", first)
    while one.payloads[-1:] != ["3000"] and one.reads():
        pass
    kept = [str(n) for n in range(int(one.payloads[0]), 3001)]
    told = one.gaps == 1 and one.payloads == kept and len(kept) > 1
    check("who comes back too late is told of a gap, and has what is kept", told)

    there, away = Subscriber(hubs[0], "new"), Subscriber(hubs[1], "new")
    published = here(publish(program, broker.url, 100, 1000, channel="new")) and there.has(100) and away.has(100)
    before = there.place
    away.ws.close()
    broker.process.kill()
    shutil.rmtree(broker.store)
    broker.start()
    while there.gaps == 0 and there.reads():
        pass
    there.reads()
    check("the log is lost: who is there is told of the gap and of the new log", there.stale == 1 and there.place.endswith(" 0"))
    away.back(hubs[1])
    check("and so is who comes back", away.reads() == "gap new ?" and away.reads() and away.place == there.place != before)
    published &= here(publish(program, broker.url, 10, 1000, channel="new"))
    go_on = [*range(1, 101), *range(1, 11)]
    check("all have what comes then", published and there.has_all(go_on, 1) and away.has_all(go_on, 1))

    one = Subscriber(hubs[0], CHANNEL)
    one.reads()
    hubs[0].process.child.terminate()
    check("a server that is asked to stop says goodbye with 1001", one.reads() is None and one.ws.close_code == 1001)
    check("and ends well", hubs[0].process.child.wait() == 0)
    for process in [hubs[1].process, small.process, broker.process]:
        process.kill()
    shutil.rmtree(broker.store, ignore_errors=True)


def all_have(subscribers, numbers):
    return all([one.has_all(numbers) for one in subscribers])


def clients(program):
    broker = Broker()
    hubs = [Hub(program, broker), Hub(program, broker)]
    urls = ",".join(hub.url for hub in hubs)
    websocket = ["--experimental-websocket"] if "v20." in subprocess.getoutput("node --version") else []
    commands = {
        "Node": ["node", "--no-warnings", *websocket, os.path.join(CLIENTS, "hub.mjs")],
        "Python": [sys.executable, os.path.join(CLIENTS, "hub.py")],
        "Rust": [program, "client"],
    }
    all = {name: Process(*command, urls, CHANNEL) for name, command in commands.items()}
    all["Chromium"] = Page(urls, CHANNEL)
    messages = {name: lambda one=one: [line for line in list(one.lines) if not line.startswith("#")] for name, one in all.items()}
    for name, one in all.items():
        check(f"{name}: is told where in the log it begins", bool(one.prints(r"^# subscribed ch \d+ \d+")))
    expected = []

    def converse(what, start, expected):
        for n in range(start, start + 100):
            for name, one in all.items():
                one.say(f"{CHANNEL} {name} {n}")
                expected.append(f"{CHANNEL} {name} {n}")
        came(what, expected)

    def came(what, expected):
        for name, seen in messages.items():
            whole = within(lambda: len(seen()) >= len(expected)) and sorted(seen()) == sorted(expected)
            check(f"{name}: {what}", whole)
            if not whole:
                print(f"     {len(seen())} of {len(expected)}: {all[name].lines[-5:]}")

    converse("has what all have published", 0, expected)
    hubs[0].process.kill()
    program_ends = publish(program, broker.url, 500, 500).child.wait() == 0
    expected += [f"{CHANNEL} {n:064}" for n in range(1, 501)]
    check("a server is killed, and 500 messages are published meanwhile", program_ends)
    came("has them, each once, from the other server", expected)
    broker.process.kill()
    broker.start()
    program_ends = publish(program, broker.url, 500, 500).child.wait() == 0
    expected += [f"{CHANNEL} {n:064}" for n in range(1, 501)]
    check("the broker is killed and started again, and 500 more are published", program_ends)
    came("has them, each once, on the connection it had", expected)
    converse("has what all have published then", 100, expected)
    orders = {tuple(seen()) for seen in messages.values()}
    check("all have seen one order", len(orders) == 1)
    check("and none was told of a gap", not any(line.startswith("# gap") for one in all.values() for line in one.lines))
    for process in [*all.values(), hubs[1].process, broker.process]:
        process.kill()
    shutil.rmtree(broker.store)


def secure(program):
    store = tempfile.mkdtemp()
    ca, key, cert = (os.path.join(store, name) for name in ("ca.pem", "key.pem", "cert.pem"))
    for out in (ca, cert):  # the first is another's
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key, "-out", out,
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
                        "-addext", "basicConstraints=critical,CA:FALSE"], check=True, capture_output=True)
    nats, redis = free_port(), free_port()
    config = os.path.join(store, "nats.conf")
    with open(config, "w") as file:
        file.write(f"""listen: "127.0.0.1:{nats}", jetstream {{ store_dir: "{store}" }}
            tls {{ cert_file: "{cert}", key_file: "{key}" }}, authorization {{ user: "hub", password: "se:cr@et" }}""")
    brokers = [
        Process(os.environ.get("NATS_SERVER", "nats-server"), "-c", config, "-l", os.devnull),
        Process(os.environ.get("REDIS_SERVER", "redis-server"), "--bind", "127.0.0.1", "--port", "0", "--tls-port", str(redis),
                "--tls-cert-file", cert, "--tls-key-file", key, "--tls-auth-clients", "no", "--save", "",
                "--user", "hub", "on", ">se:cr@et", "~*", "&*", "+@all", "--user", "default", "off"),
    ]
    for url in (f"nats://localhost:{nats}", f"jetstream://localhost:{nats}", f"redis://localhost:{redis}"):
        kind = url.split(":")[0]

        def server(password, *options):
            os.environ["BUS_PASSWORD"] = password
            options = ["--bus", url, "--user", "hub", *options, "--listen", "127.0.0.1:0"]
            process = Process(program, *options)
            client = Process(program, "client", process.prints(r"^listening on (ws://\S+)").group(1), CHANNEL)
            return client, process

        client, process = server("se:cr@et", "--ca", cert)
        check(f"{kind} over TLS, with a password: is subscribed", bool(client.prints("^# subscribed")))
        client.say(f"{CHANNEL} hello")
        check(f"{kind}: has what was published", bool(client.prints(f"^{CHANNEL} hello")))
        client.kill(), process.kill()
        for why, options in {
            "a wrong password": ("no", "--ca", cert),
            "another certificate": ("se:cr@et", "--ca", ca),
            "no certificate that the system knows": ("se:cr@et", "--tls"),
        }.items():
            client, process = server(*options)
            time.sleep(1)
            told = list(client.lines)
            check(f"{kind}: with {why} there is no connection", not told and process.child.poll() is None)
            client.kill(), process.kill()
    for process in brokers:
        process.kill()
    shutil.rmtree(store)


def many(program, subscribers=10_000, count=300, rate=10):
    resource.setrlimit(resource.RLIMIT_NOFILE, [resource.getrlimit(resource.RLIMIT_NOFILE)[1]] * 2)
    subscribers = int(subscribers)
    broker = Broker()
    one, other = Hub(program, broker), Hub(program, broker)
    watch = Process(program, "watch", CHANNEL, f"{one.url},{other.url}", "--subscribers", str(subscribers), "--seconds", "50")
    there = lambda: within(lambda: watch.lines and watch.lines[-1].startswith(f"{subscribers} subscribed"))
    gone = lambda: within(lambda: not watch.lines[-1].startswith(f"{subscribers} subscribed"))
    check(f"{subscribers} subscribe at one server", bool(there()))
    check("which subscribes at the broker once, and reads nothing", broker.reads() == (1, 0))
    print(f"     the server has {one.process.resident() / subscribers:.1f} KiB a subscriber")
    publisher = publish(program, broker.url, count, rate)
    time.sleep(count / rate / 4)
    began, cpu = time.monotonic(), broker.process.cpu()
    one.process.kill()
    check("the server is killed: all are gone", bool(gone()))
    check("and come back at the other one", bool(there()))
    took, cpu = time.monotonic() - began, broker.process.cpu() - cpu
    made, pages = broker.reads()
    print(f"     after {took:.1f} s; the broker made {made} subscriptions, answered {pages} reads, used {cpu:.2f} s of a core")
    check("for which the broker is read once: the subscription begins further back", (made, pages) == (1, 0))
    broker.process.kill()
    time.sleep(0.5)
    broker.start()
    check("the broker is killed and started again; the publisher publishes all", publisher.child.wait() == 0)
    summed = watch.prints(r"^(\d+) received in .* (\d+) missing, (\d+) out of order, (\d+) stale")
    check("no subscriber lost its connection", watch.lines[-2].startswith(f"{subscribers} subscribed"))
    made, pages = broker.reads()
    print(f"     {summed and summed.group(0)}; the broker made {made} subscriptions, answered {pages} reads")
    check("all were told", summed is not None and int(summed.group(4)) == subscribers)
    check("for which the broker is read once: the subscription goes on", (made, pages) == (1, 0))
    check("none is lost", summed is not None and (int(summed.group(1)), int(summed.group(2))) == (subscribers * count, 0))
    check("and none comes twice", summed is not None and int(summed.group(3)) == 0)
    for process in [watch, other.process, broker.process]:
        process.kill()
    shutil.rmtree(broker.store)


if __name__ == "__main__":
    {"plain": plain, "log": log, "clients": clients, "secure": secure, "many": many}[sys.argv[1]](*sys.argv[2:])
    sys.exit(bool(failed))

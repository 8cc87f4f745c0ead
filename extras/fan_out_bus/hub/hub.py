"""The example fan_out_bus over NATS JetStream, as its clients see it. Prints a line, ok or FAIL, for each check.

    hub.py plain PROGRAM       Redis, without a log: three servers, and the broker is killed
    hub.py log PROGRAM         what a log is for: who comes back gets what is missing, in order and once
    hub.py clients PROGRAM     the three clients of the subprotocol, against each other
    hub.py secure PROGRAM      NATS and Redis over TLS, with a user and a password
    hub.py many PROGRAM [N]    N subscribers, 10,000 if not said; prints figures, too

PROGRAM is fan_out_bus. Needs nats-server, in the PATH or as NATS_SERVER; for `plain`, `log`,
`clients` and `many` the package websockets; for `clients` node and chromium; for `secure` openssl;
for `secure` and `plain` redis-server, in the PATH or as REDIS_SERVER.
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

from hub_support import (CHANNEL, CLIENTS, Broker, Client, Crowd, Hub, Page, Process, Publisher, Redis, Subscriber, check, failed,
                         free_port, within)

MANY = 2000  # messages of each publisher


def plain(program):
    broker = Redis()
    hubs = [Hub(program, broker, "--max-behind", "4194304") for _ in range(3)]
    # Three subscribers of each process: one of a, one of b, one of both.
    clients = [(wants, Client(hubs[at])) for at in range(3) for wants in ("a", "b", "ab")]
    asked = [client.ask(f"sub {name}", f"subscribed {name}") for wants, client in clients for name in wants]
    check("nine subscribers of three processes are told that they are subscribed", all(asked))
    once = broker.subscribed("a") == 3 and broker.subscribed("b") == 3
    check("each process subscribes at the broker once, whoever many want a channel", once)
    check("and to nothing that nobody wants", broker.subscribed("c") == 0)
    check("on one connection", broker.connections() == 3)
    of = lambda name: [client for wants, client in clients if name in wants]
    forget = lambda: [client.seen.clear() for _, client in clients]

    def published(what):
        """Two publish on each channel at the same time."""
        def publish(job):
            name, who = job
            return broker.publish(f"feed:{name}", *(f"{who} {n}" for n in range(MANY)))

        with ThreadPoolExecutor() as pool:
            reached = list(pool.map(publish, [(name, who) for name in "ab" for who in "pq"]))
        check(f"each message reaches each process, {what}", reached == [[3] * MANY] * 4)
        whole = all([client.reads(name, 2 * MANY) for name in "ab" for client in of(name)])
        check(f"every subscriber has all of both publishers, {what}", whole)
        for name in "ab":
            orders = {tuple(client.messages(name)) for client in of(name)}
            check(f"all subscribers of {name} have seen one order", len(orders) == 1)
            check("each publisher's are in its order, once", all(in_order(order, who) for order in orders for who in "pq"))

    published("at first")
    check("another application's channels are out of reach", broker.publish("a", "not ours") == [0])
    binary = broker.publish("feed:b", "\\xff\\x00") == [3] and [client.told(lambda _: True) for client in of("b")]
    check("a payload that is no text arrives as a binary message", all(told == b"message b \xff\x00" for told in binary))
    forget()

    broker.process.kill()
    stale = all([client.knows(f"stale {name}") for name in "ab" for client in of(name)])
    check("when the broker is killed all are told that what they see is stale", stale)
    late = Client(hubs[0])
    late.ws.send("sub a")
    check("it is started again", broker.start())
    back = all([client.knows(f"gap {name}") for name in "ab" for client in of(name)])
    check("all are told of the gap, on the connections they had", back)
    check("who came meanwhile is subscribed then, and told of no gap", late.is_told("subscribed a") and len(late.seen) == 1)
    forget()
    published("after the restart")
    check("and no gap that is none", not any(line.startswith("gap") for _, c in clients for line in c.seen))

    clients[8][1].ask("unsub b", "unsubscribed b")
    clients[7][1].ask("unsub b", "unsubscribed b")
    left = within(lambda: broker.subscribed("b") == 2) and broker.subscribed("a") == 3
    check("when the last of a process gives a channel up, so does the process", left)
    for _, client in clients[6:]:
        client.ws.close()
    check("or when the last has gone", within(lambda: broker.subscribed("a") == 2))
    for process in [*(hub.process for hub in hubs), broker.process]:
        process.kill()


def in_order(messages, who):
    return [message for message in messages if message.startswith(who)] == [f"{who} {n}" for n in range(MANY)]


def log(program):
    broker = Broker()
    hubs = [Hub(program, broker, "--max-channels", "3") for _ in range(2)]
    whole = range(1, 3001)

    one = Subscriber(hubs[0], CHANNEL)
    one.reads()
    first = one.place
    published = Publisher(broker, whole, 20000).ends()
    check("a subscriber has all that is published", published and one.has_all(whole))
    one = Subscriber(hubs[1], CHANNEL, first)
    check("who comes back has all that it missed, from a server that had not the channel", one.has_all(whole))
    publisher = Publisher(broker, whole, 2000)
    eight = [Subscriber(hubs[i % 2], CHANNEL, first) for i in range(8)]
    check("eight read the log while more comes", all_have(eight, [*whole, *whole]) and publisher.ends())
    check("last value: it comes first", Subscriber(hubs[0], CHANNEL, "last").has(1))
    there = within(lambda: broker.connections() == 2)
    check("a process has one connection while nobody reads the log", there)
    bad = ["sub " + "x" * 129, "sub", "sub ", "sub a b", "sub a x 1", "hello", "", "pub a"]
    check("what is no wish gets an error, and nothing else", all(one.ask(said).startswith("error ") for said in bad))
    one.ws.send(f"sub beyond 0 {2**64 - 1}")
    check("a place in a log that never was is a gap", (one.reads() or one.reads()) == "gap beyond")
    one.reads()
    three = [one.ask(f"sub {name}").split()[0] for name in ("a", "b", "c")]
    check("a client may have so many channels", three == ["subscribed", "subscribed", "error"])

    slow = Subscriber(hubs[0], "slow")
    slow.reads()
    published = Publisher(broker, range(1, 201), 100000, 60000, "slow").ends()
    let_go = 0
    while not slow.has(200) and let_go < 20:
        let_go += slow.ws.close_code == 1013
        slow.back(hubs[0])
    rest = slow.has_all(range(1, 201))
    check("who does not read is let go with 1013, and gets the rest then", published and let_go > 0 and rest)

    broker.make("small", 100_000)
    small = Hub(program, broker, "--prefix", "small", "--tail", "0")
    one = Subscriber(small, "a")
    one.reads()
    first = one.place
    published = Publisher(broker, whole, 20000, 64, "a", "small").ends()
    check("who is there has all of a log that keeps less", published and one.has(3000) and one.gaps == 0)
    one = Subscriber(small, "a", first)
    while one.payloads[-1:] != ["3000"] and one.reads():
        pass
    kept = [str(n) for n in range(int(one.payloads[0]), 3001)]
    told = one.gaps == 1 and one.payloads == kept and len(kept) > 1
    check("who comes back too late is told of a gap, and has what is kept", told)

    there, away = Subscriber(hubs[0], "new"), Subscriber(hubs[1], "new")
    there.reads(), away.reads()
    published = Publisher(broker, range(1, 101), 1000, channel="new").ends() and there.has(100) and away.has(100)
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
    check("and so is who comes back", away.reads() == "gap new" and away.reads() and away.place == there.place != before)
    published &= Publisher(broker, range(1, 11), 1000, channel="new").ends()
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

    def came(what, numbers, published):
        check(f"published: {what}", published)
        expected.extend(f"{CHANNEL} {n}" for n in numbers)
        for name, seen in messages.items():
            whole = within(lambda: len(seen()) >= len(expected)) and seen() == expected
            check(f"{name}: {what}", whole)
            if not whole:
                print(f"     {len(seen())} of {len(expected)}: {all[name].lines[-5:]}")

    def publish(what, numbers):
        came(what, numbers, Publisher(broker, numbers, 500).ends())

    publish("has what is published", range(100))
    hubs[0].process.kill()
    publish("a server is killed: has what comes meanwhile, each once, from the other server", range(100, 600))
    broker.process.kill()
    broker.start()
    publish("the broker is killed and started again: has it all, on the connection it had", range(600, 1100))
    check("none was told of a gap", not any(line.startswith("# gap") for one in all.values() for line in one.lines))
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
    for url in (f"jetstream://localhost:{nats}", f"redis://localhost:{redis}"):
        kind = url.split(":")[0]

        def server(password, *options):
            os.environ["BUS_PASSWORD"] = password
            options = ["--bus", url, "--user", "hub", *options, "--listen", "127.0.0.1:0"]
            process = Process(program, *options)
            client = Process(program, "client", process.prints(r"^listening on (ws://\S+)").group(1), CHANNEL)
            return client, process

        client, process = server("se:cr@et", "--ca", cert)
        check(f"{kind} over TLS, with a password: is subscribed", bool(client.prints("^# subscribed")))
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
    crowd = Crowd([one.url, other.url], subscribers)
    check(f"{subscribers} subscribe at one server", within(lambda: crowd.there(one) == subscribers))
    check("which subscribes at the broker once, and reads nothing", broker.reads() == (1, 0))
    print(f"     the server has {one.process.resident() / subscribers:.1f} KiB a subscriber")
    publisher = Publisher(broker, range(1, count + 1), rate)
    time.sleep(count / rate / 4)
    began = time.monotonic()
    one.process.kill()
    check("the server is killed: all come back at the other one", within(lambda: crowd.there(other) == subscribers))
    took = time.monotonic() - began
    made, pages = broker.reads()
    print(f"     after {took:.1f} s; the broker made {made} subscriptions, answered {pages} reads")
    check("for which the broker is read once: the subscription begins further back", (made, pages) == (1, 0))
    broker.process.kill()
    time.sleep(0.5)
    broker.start()
    check("the broker is killed and started again; the publisher publishes all", publisher.ends())
    check("none is lost, and none comes twice", within(lambda: crowd.whole(count) == subscribers))
    check("no subscriber lost its connection", crowd.there(other) == subscribers)
    check("all were told that the broker was away", crowd.stale == subscribers)
    check("none was told of a gap", crowd.gaps == 0)
    made, pages = broker.reads()
    print(f"     the broker made {made} subscriptions, answered {pages} reads")
    check("for which the broker is read once: the subscription goes on", (made, pages) == (1, 0))
    for process in [other.process, broker.process]:
        process.kill()
    shutil.rmtree(broker.store)


if __name__ == "__main__":
    {"plain": plain, "log": log, "clients": clients, "secure": secure, "many": many}[sys.argv[1]](*sys.argv[2:])
    sys.exit(bool(failed))

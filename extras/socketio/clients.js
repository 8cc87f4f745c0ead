// Clients of tutorials, with the official socket.io-client of any version, against the same
// tutorials' servers, and a scenario of the other features:
//   node clients.js SERVER WAY MODULE    SERVER is the program, MODULE the client's name in npm's folder;
//                                        WAY is websocket, polling, or upgrade: what a client does unasked
"use strict";
const { spawn } = require("child_process");
const assert = require("assert").strict;

const [program, way, name] = process.argv.slice(2);
const io = require(name);
const { version } = require(name + "/package.json");
const major = Number(version.split(".")[0]);
const running = [];
const sockets = [];
process.on("exit", () => running.forEach((server) => server.kill("SIGKILL")));

// Starts a server; it and all that it has printed.
async function serve(...options) {
  const server = spawn(program, ["--listen", "127.0.0.1:0", ...options], { stdio: ["ignore", "pipe", "inherit"] });
  running.push(server);
  let printed = "";
  server.stdout.on("data", (data) => (printed += data));
  const said = (pattern) => until(() => printed.match(pattern), `${pattern} from the server, but ${printed}`);
  const [, address] = await said(/^listening on (\S+)\n/);
  return { url: "http://" + address, said, stop: () => server.kill("SIGTERM") };
}

async function until(condition, what) {
  for (const end = Date.now() + 10000; Date.now() < end; await new Promise((go) => setTimeout(go, 5))) {
    const found = condition();
    if (found) return found;
  }
  throw new Error("no " + what);
}

// What an event brings from now on.
function collect(socket, event) {
  const got = [];
  socket.on(event, (...args) => got.push(args));
  return got;
}

async function heard(got, ...wanted) {
  await until(() => got.length >= wanted.length, JSON.stringify(wanted));
  assert.deepEqual(got, wanted);
}

// Connected, and where it goes over to a WebSocket, that it has.
async function connected(socket) {
  await until(() => socket.connected, "connection");
  const engine = socket.io.engine;
  await until(() => engine.transport.name === (way === "polling" ? way : "websocket"), "upgrade");
  return socket;
}

// The acknowledgement.
function call(socket, ...args) {
  return new Promise((resolve) => socket.emit(...args, resolve));
}

// A namespace of a connection of its own, asked for with a token where the version puts it.
function admin(url, namespace, token) {
  const transports = way === "upgrade" ? {} : { transports: [way] };
  const manager = new io.Manager(url, { ...transports, query: major < 3 ? { token } : {} });
  sockets.push(manager.socket(namespace, { auth: { token } }));
  return sockets.at(-1);
}

// How a namespace says no.
async function refused(socket) {
  const errors = collect(socket, major < 3 ? "error" : "connect_error");
  await until(() => errors.length, "refusal");
  return errors[0][0].message;
}

// Each gets `open`, which connects as a tutorial does, with the URL alone; and what the server has
// said.
const programs = {
  async message({ open, said }) {
    const socket = open();
    const messages = collect(socket, "message");
    socket.on("connect", () => socket.send("Hello!"));
    await heard(messages, ["Hello!"]);
    await said(/^message "Hello!"$/m);
    socket.disconnect();
    await said(/^disconnected \S+: (client namespace disconnect|transport close)$/m);
  },

  async salutations({ open, said }) {
    const socket = open();
    const [messages, greetings] = [collect(socket, "message"), collect(socket, "greetings")];
    // Where typed arrays are binary.
    const bytes = major > 2 ? Uint8Array.from([1, 2, 3, 4]) : Buffer.from([1, 2, 3, 4]);
    socket.on("connect", () => {
      socket.send("Hello!");
      socket.emit("salutations", "Hello!", { mr: "john" }, bytes);
    });
    await heard(messages, ["Hello!"]);
    await heard(greetings, ["Hey!", { ms: "jane" }, Buffer.from([4, 3, 3, 1])]);
    await said(/^message "Hello!"$/m);
    await said(/^salutations "Hello!",{"mr":"john"} \[1, 2, 3, 4\]$/m);
  },

  async channel({ open, said }) {
    const [a, b] = [open(), open()];
    const all = [a, b].map((socket) => collect(socket, "broadcast"));
    await said(/^client \S+\nclient \S+$/m);
    a.emit("channel", "hello");
    await heard(all[0], ["hello"]);
    await heard(all[1], ["hello"]);
    await said(/^client \S+ says "hello"$/m);
    b.disconnect();
    await said(/^client \S+ has gone$/m);
  },

  async chat({ open }) {
    const names = ["Ann", "Bob"];
    const [ann, bob] = names.map(open);
    const texts = [ann, bob].map((socket) => collect(socket, "chat message"));
    const logins = [collect(ann, "login"), collect(bob, "login")];
    ann.on("connect", () => ann.emit("add user", "Ann"));
    await until(() => logins[0].length && bob.connected, "login");
    const [joined, said, left] = ["user joined", "new message", "user left"].map((event) => collect(ann, event));
    bob.emit("add user", "Bob");
    await heard(logins[1], [{ numUsers: 2 }]);
    await heard(joined, [{ username: "Bob", numUsers: 2 }]);
    bob.emit("new message", "hello");
    await heard(said, [{ username: "Bob", message: "hello" }]);
    bob.emit("chat message", "to all");
    await heard(texts[0], ["to all"]);
    await heard(texts[1], ["to all"]);
    bob.disconnect();
    await heard(left, [{ username: "Bob", numUsers: 1 }]);
  },

  async greeting({ open }) {
    const socket = open();
    await heard(collect(socket, "greeting"), ["Welcome!"]);
    const answers = [];
    socket.emit("greet", "Ann", (answer) => answers.push(answer));
    await heard(answers, "Hello, Ann!");
  },

  async binary({ open, said }) {
    const socket = open();
    const [bytes, answers] = [Buffer.from([0, 1, 254, 255]), []];
    const back = collect(socket, "binary");
    socket.emit("binary", bytes, (count) => answers.push(count));
    await heard(back, [bytes]);
    await heard(answers, 4);
    await said(/^binary 4$/m);
  },

  async features({ open, url }) {
    const [a, b, c] = await Promise.all([open(), open(), open()].map(connected));
    for (const value of [null, true, -1.5, "\u00e9 \ud83d\ude00 \u2028", [[]], { z: [1, { a: "" }] }, "x".repeat(900000)])
      assert.deepEqual(await call(a, "echo", value), value);
    const picture = { name: "\ud83d\ude00", parts: [[1, 2, 255], [], Array(50000).fill(3)].map((bytes) => Buffer.from(bytes)) };
    assert.deepEqual(await call(a, "picture", picture), picture);
    const numbers = Array.from({ length: 200 }, (_, i) => i);
    assert.deepEqual(await Promise.all(numbers.map((i) => call(a, "echo", i))), numbers);

    const [all, left] = [[a, b, c].map((socket) => collect(socket, "said")), collect(b, "left")];
    for (const socket of [a, b]) socket.emit("join", "tea");
    await Promise.all([a, b].map((socket) => call(socket, "echo", 1)));
    a.emit("say", "tea", "hello");
    await call(a, "echo", 1);
    c.emit("say", "tea", "from outside");
    await heard(all[1], ["hello"], ["from outside"]);
    await heard(all[0], ["from outside"]);
    a.emit("leave", "tea");
    await call(a, "echo", 1); // polls of two clients may overtake each other
    b.emit("say", "tea", "anybody?");
    await call(b, "echo", 1);
    for (const socket of [a, c]) await call(socket, "echo", 1);
    assert.deepEqual(all.map((said) => said.length), [1, 2, 0]);

    a.on("question", (x, answer) => answer({ x }));
    assert.deepEqual(await call(a, "ask", 1), { x: 1 });
    assert.equal(await call(c, "ask", 1), null); // it does not answer

    c.emit("join", "tea");
    await call(c, "echo", 1);
    c.disconnect();
    await until(() => left.length, "left");
    assert.match(left[0][0], /^(client namespace disconnect|transport close)$/);
    const gone = collect(b, "disconnect");
    b.emit("put out");
    await until(() => gone.length, "disconnect");
    assert.equal(gone[0][0], "io server disconnect");
    await new Promise((go) => setTimeout(go, 50));
    assert.equal(b.connected, false); // after that a client does not come back

    assert.equal(await refused(admin(url, "/admin", "guess")), "Not authorized");
    assert.equal(await refused(admin(url, "/nowhere", "secret")), "Invalid namespace");
    const inside = admin(url, "/admin", "secret");
    assert.deepEqual(await call(inside, "echo", "inside"), "inside");
  },

  async path({ open, said }) {
    const socket = open({ path: "/myownpath" });
    await heard(collect(socket, "greeting"), ["Welcome!"]);
    socket.send("here");
    await said(/^message "here"$/m);
  },

  async limit({ open }) {
    const [a] = await Promise.all([open(), open()].map(connected));
    const third = open({ reconnectionDelay: 50 });
    const errors = collect(third, "connect_error");
    await until(() => errors.length, "refusal");
    assert.equal(third.connected, false);
    a.disconnect();
    await connected(third);
  },
};

async function main() {
  let failed = false;
  for (const [what, check] of Object.entries(programs)) {
    const options = what === "limit" ? ["--max-per-address", "2"] : what === "path" ? ["--path", "/myownpath"] : [what];
    const { url, said, stop } = await serve(...options);
    const transports = way === "upgrade" ? {} : { transports: [way] };
    const open = (options) => (sockets.push(io(url, { forceNew: true, ...transports, ...options })), sockets.at(-1));
    const label = `socket.io-client ${version}, ${way}: ${what}`;
    let timer;
    const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error("it hangs")), 120000)));
    try {
      await Promise.race([check({ open, said, url }), late]);
      console.log(`ok   ${label}`);
    } catch (error) {
      failed = true;
      console.log(`FAIL ${label}: ${String(error.message).slice(0, 300).replace(/\n/g, " ")}`);
    }
    clearTimeout(timer);
    while (sockets.length) sockets.pop().disconnect();
    stop();
  }
  process.exit(failed ? 1 : 0);
}

main();

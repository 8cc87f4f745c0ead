// Clients of tutorials, with the official socket.io-client of any version, against the same
// tutorials' servers in examples/socketio_server/src/programs.rs:
//   node programs.js SERVER MODULE...    SERVER is the program, a MODULE a client's name in npm's folder
"use strict";
const { spawn } = require("child_process");
const assert = require("assert").strict;

const [program, ...modules] = process.argv.slice(2);
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

  async salutations({ open, said, major }) {
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
    await said(/^salutations "Hello!",{"mr":"john"},.* Some\(\[1, 2, 3, 4\]\)$/m);
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
    await said(/^binary Some\(4\)$/m);
  },

  // The server's own disconnect, after which a client does not come back.
  async echo({ open }) {
    for (const close of [false, true]) {
      const socket = open();
      const gone = collect(socket, "disconnect");
      socket.emit("put out", close);
      await until(() => gone.length, "disconnect");
      assert.equal(gone[0][0], "io server disconnect");
      await new Promise((go) => setTimeout(go, 50));
      assert.equal(socket.connected, false);
    }
  },
};

async function main() {
  let failed = false;
  const report = async (label, check) => {
    try {
      await check();
      console.log(`ok   ${label}`);
    } catch (error) {
      failed = true;
      console.log(`FAIL ${label}: ${String(error.message).slice(0, 300).replace(/\n/g, " ")}`);
    }
    while (sockets.length) sockets.pop().disconnect();
  };
  for (const name of modules) {
    const io = require(name);
    const { version } = require(name + "/package.json");
    const open = (url, options) => (sockets.push(io(url, { forceNew: true, ...options })), sockets.at(-1));
    const major = Number(version.split(".")[0]);
    for (const [what, check] of Object.entries(programs)) {
      const { url, said, stop } = await serve(what);
      await report(`socket.io-client ${version}: ${what}`, () => check({ open: () => open(url), said, major }));
      stop();
    }
    const { url, said, stop } = await serve("--path", "/myownpath");
    await report(`socket.io-client ${version}: all of them, at a path of one's own`, async () => {
      const socket = open(url, { path: "/myownpath" });
      await heard(collect(socket, "greeting"), ["Welcome!"]);
      socket.send("here");
      await said(/^message "here"$/m);
    });
    stop();
  }
  process.exit(failed ? 1 : 0);
}

main();

// socket.io-client through a balancer to two processes of the server:
//   node balancer.js MODULE URL LOG LOG    the logs are what the processes print
"use strict";
const assert = require("assert").strict;
const fs = require("fs");
const http = require("http");

const [name, url, ...logs] = process.argv.slice(2);
const io = require(name);

// A client at an address of its own, as the balancer sees it.
function open(localAddress, options) {
  return io(url, { agent: new http.Agent({ localAddress, keepAlive: true }), forceNew: true, ...options });
}

async function talk(socket, upgrades) {
  await new Promise((resolve) => socket.once("connect", resolve));
  if (upgrades && socket.io.engine.transport.name === "polling")
    await new Promise((resolve) => socket.io.engine.once("upgrade", resolve));
  for (let n = 0; n < 10; n++) {
    const text = socket.id + n;
    const back = new Promise((resolve) => socket.on("broadcast", (said) => said === text && resolve()));
    socket.emit("channel", text);
    await back;
  }
  socket.disconnect();
}

async function main() {
  let failed = false;
  for (const [what, options] of [["clients poll alone", { transports: ["polling"] }], ["clients poll, and go over to a WebSocket", {}]]) {
    try {
      const clients = Array.from({ length: 12 }, (_, i) => talk(open("127.0.0." + (2 + i), options), !options.transports));
      await Promise.all(clients);
      const shares = logs.map((log) => fs.readFileSync(log, "utf8").match(/^client \S+$/gm)?.length || 0);
      assert(Math.min(...shares) > 0, "not both processes have clients: " + shares);
      console.log(`ok   nginx: ${what}, each with one of two processes: ${shares}`);
    } catch (error) {
      failed = true;
      console.log(`FAIL nginx: ${what}: ${error.message}`);
    }
  }
  process.exit(failed ? 1 : 0);
}

main();

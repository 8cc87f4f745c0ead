// The client's own bundle for browsers, in Chromium, against the example server:
//   node browser.js SERVER MODULE...    the names of the clients in npm's folder
// The page comes from another origin, so that what it gets says whether CORS is right.
"use strict";
const { spawn } = require("child_process");
const assert = require("assert").strict;
const fs = require("fs");
const http = require("http");
const path = require("path");
const { chromium } = require("playwright-core");

const [program, ...clients] = process.argv.slice(2);
const servers = [];
process.on("exit", () => servers.forEach((server) => server.kill("SIGKILL")));

function start(...options) {
  const server = spawn(program, ["--listen", "127.0.0.1:0", ...options], { stdio: ["ignore", "pipe", "ignore"] });
  servers.push(server);
  return new Promise((resolve, reject) => {
    server.stdout.once("data", (data) => resolve("http://" + String(data).match(/^listening on (\S+)/)[1]));
    server.once("exit", () => reject(new Error("the server ended")));
  });
}

// Runs in the page: everything back, and how it went.
async function talk({ url, options }) {
  const socket = io(url, { reconnection: false, forceNew: true, ...options });
  const next = (emitter, event) => new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error("no " + event)), 10000);
    emitter.once(event, resolve);
  });
  const call = (...args) => new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error("no acknowledgement")), 10000);
    socket.emit(...args, (...answer) => resolve(answer));
  });
  const upgraded = options.transports ? null : next(socket.io, "open").then(() => next(socket.io.engine, "upgrade"));
  const failed = next(socket, "connect_error").then((error) => { throw error; });
  await Promise.race([next(socket, "connect"), failed]);
  const long = "tick \u00e4\u20ac\ud83d\ude00 ".repeat(5000);
  const said = [];
  for (let i = 0; i < 3; i++) {
    const bytes = new Uint8Array([0, 1, 254, 255, i]).buffer;
    const [text, [back], same] = await call("echo", "\ud83d\ude00 " + i, [bytes], long);
    said.push([text, [...new Uint8Array(back)], same === long]);
    if (i === 0) await upgraded;
  }
  const transport = socket.io.engine.transport.name;
  socket.disconnect();
  return { transport, said };
}

async function main() {
  const url = await start();
  const guarded = await start("--origin", "https://good.example");
  const site = http.createServer((request, response) => {
    const client = clients[Number(request.url.slice(1))];
    const module = client && path.dirname(require.resolve(client + "/package.json"));
    const script = module && fs.readFileSync(path.join(module, "dist/socket.io.js"), "utf8");
    response.setHeader("Content-Type", "text/html; charset=utf-8");
    response.end(script ? `<!doctype html><script>${script.replaceAll("</script", "<\\/script")}</script>` : "");
  });
  await new Promise((resolve) => site.listen(0, "127.0.0.1", resolve));
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });
  let failed = false;
  for (const [i, client] of clients.entries()) {
    const { version } = require(client + "/package.json");
    const page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${site.address().port}/${i}`);
    const check = async (what, test) => {
      try {
        await test();
        console.log(`ok   Chromium, socket.io-client ${version}: ${what}`);
      } catch (error) {
        failed = true;
        console.log(`FAIL Chromium, socket.io-client ${version}: ${what}: ${String(error.message).split("\n")[0]}`);
      }
    };
    const said = [0, 1, 2].map((n) => ["\ud83d\ude00 " + n, [0, 1, 254, 255, n], true]);
    for (const [what, options, transport] of [
      ["io(url) goes over to a WebSocket", {}, "websocket"],
      ["polling alone, with credentials", { transports: ["polling"], withCredentials: true }, "polling"],
      ["polling alone, in base64", { transports: ["polling"], forceBase64: true }, "polling"],
      ["a WebSocket alone", { transports: ["websocket"] }, "websocket"],
      ["a WebSocket alone, in base64", { transports: ["websocket"], forceBase64: true }, "websocket"],
    ]) {
      await check(what, async () => assert.deepEqual(await page.evaluate(talk, { url, options }), { transport, said }));
    }
    for (const transport of ["polling", "websocket"]) {
      await check(`a page of another origin is refused: ${transport}`, () =>
        assert.rejects(page.evaluate(talk, { url: guarded, options: { transports: [transport] } }), /error/));
    }
    await page.close();
  }
  await browser.close();
  process.exit(failed ? 1 : 0);
}

main();

// What the checks of pages.js have in common: they start servers, open pages, and look at them.
const { spawn } = require("node:child_process");
const { readFileSync } = require("node:fs");
const { createInterface } = require("node:readline");

const DESK = { viewport: { width: 1280, height: 800 } };
const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };
const PATIENCE = 40_000; // ms, for anything that has to happen

const servers = new Set();

async function check(name, test) {
  const began = Date.now();
  try {
    await test();
    console.log(`ok   ${name} (${Date.now() - began} ms)`);
  } catch (error) {
    process.exitCode = 1;
    console.log(`FAIL ${name}: ${String(error.message).split("\n")[0]}`);
  }
}

function same(what, got, expected) {
  const [a, b] = [JSON.stringify(got), JSON.stringify(expected)];
  if (a !== b) throw new Error(`${what}: ${a} instead of ${b}`);
}

// A server: its address, or the URL of the file that is its page; and how to stop it.
const serve = (program, listen, ...options) => run(program, ["--listen", listen, ...options]);
async function run(program, options) {
  const child = spawn(program, options, { stdio: ["ignore", "pipe", "ignore"] });
  servers.add(child);
  const ended = new Promise((resolve) => child.once("exit", resolve));
  for await (const line of createInterface({ input: child.stdout })) {
    const address = /^(?:listening on|open) (?:\w+:\/\/(?=[^/]))?(\S+)/.exec(line)?.[1];
    if (!address) continue;
    child.stdout.resume();
    const stop = (signal) => (servers.delete(child), child.kill(signal), ended);
    return { address, stop, signal: (signal) => child.kill(signal) };
  }
  throw new Error(program + " does not listen");
}

// A page, and all that it complains of. That nobody listens or answers while a server is away is no
// fault of its.
const AWAY = /ERR_CONNECTION_REFUSED|closed before the connection is established/;
async function open(browser, address, options) {
  const context = await browser.newContext(options), page = await context.newPage(), complaints = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type()) && !AWAY.test(message.text())) complaints.push(message.text());
  });
  page.setDefaultTimeout(PATIENCE);
  await page.goto(address.startsWith("file:") ? address : `http://${address}/`);
  return { page, complaints, close: () => context.close() };
}

// How many colours a canvas shows: 1 where nothing is drawn.
const colours = (page, selector) => page.evaluate((selector) => {
  const canvas = document.querySelector(selector), { width, height } = canvas;
  const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  const { data } = copy.getImageData(0, 0, width, height);
  return new Set(new Uint32Array(data.buffer)).size;
}, selector);

async function drawn(page, selector) {
  for (const until = Date.now() + PATIENCE; Date.now() < until; await page.waitForTimeout(100)) {
    if (await colours(page, selector) > 20) return;
  }
  throw new Error(`nothing is drawn in ${selector}`);
}

// The page's names are global, as those of any script that is no module.
const fits = (page) => page.evaluate(() => document.documentElement.scrollWidth <= innerWidth);
const background = (page) => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
const bright = (rgb) => rgb.match(/\d+/g).slice(0, 3).reduce((sum, n) => sum + +n, 0) > 384;

// What axe finds in the page as it is, in both themes and in two widths.
const AXE = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
async function accessible(page) {
  const before = page.viewportSize(), found = new Set();
  for (const colorScheme of ["light", "dark"]) for (const width of [390, 1280]) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width, height: 844 });
    await page.waitForTimeout(100);
    await page.evaluate(AXE);
    const { violations } = await page.evaluate(() => axe.run());
    for (const { id, nodes } of violations) found.add(`${colorScheme} ${width} ${id} ${nodes[0].html.slice(0, 80)}`);
    if (!await fits(page)) found.add(`${colorScheme} ${width} scrolls sideways`);
  }
  await page.emulateMedia({ colorScheme: null });
  await page.setViewportSize(before);
  same("axe", [...found], []);
}

async function schemes(page, canvas) {
  const seen = [];
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    await drawn(page, canvas);
    seen.push(bright(await background(page)));
  }
  same("bright, by scheme", seen, [true, false]);
}
module.exports = { DESK, PHONE, PATIENCE, servers, check, same, serve, run, open, drawn, fits, accessible, schemes };

// Checks of the pages of examples, driven in Chromium by playwright-core: prints a line, ok
// or FAIL, for each. With a folder, puts pictures of them there.
//
//   node pages.js MARKET_FEED AXUM [FOLDER]
const { chromium } = require("playwright-core");
const { readFileSync } = require("node:fs");
const { DESK, PHONE, PATIENCE, servers, check, same, serve, run, open, drawn, fits, accessible, schemes } = require("./page_support");

const [marketFeed, axum, pictures] = process.argv.slice(2);

// The page's estimate of the server's clock, over simulated time: ms by our clock, which the
// server's is ahead of.
function simulate(Clocks, ahead, drift, seconds, ways) {
  const clocks = new Clocks(), shown = [];
  for (let at = 0, due = 0; at < seconds * 1000; at += 100) {
    if (at < due) continue;
    due = at + (at < 5000 ? 250 : 1000);
    const [there, back] = ways(at), received = (at + there) * (1 + drift) + ahead;
    const now = at + there + back;
    clocks.heard(at, now, received, received + .01);
    shown.push({ now, wrong: Math.abs(clocks.offset - ahead - drift * now), error: clocks.error(now) });
  }
  return shown;
}

// Whether it was never further off than it said, and after `by` ms by no more than `most`.
function believe(name, shown, most, by) {
  const lied = shown.find(({ wrong, error }) => wrong > error + .02), far = shown.find(({ now, error }) => now > by && error > most);
  if (lied) throw new Error(`${name}: off by ${lied.wrong} ms, and said ${lied.error}`);
  if (far) throw new Error(`${name}: to ${far.error} ms after ${far.now} ms, at most ${most}`);
}

async function checkClocks() {
  const who = "market_feed, clocks: ", html = readFileSync(__dirname + "/../../examples/market_feed/src/page.html", "utf8");
  const Clocks = new Function(/^class Clocks [^]*?^}/m.exec(html)[0] + " return Clocks;")();
  let state = 1;
  const random = () => (state = (state * 48271) % 2147483647) / 2147483647, quick = () => .1 + random() * .3;
  await check(who + "a quiet page is sure within a second", () => {
    for (const ahead of [-5e11, 0, 17]) believe(`ahead by ${ahead}`, simulate(Clocks, ahead, 0, 60, () => [quick(), quick()]), .4, 1000);
  });
  for (const busy of [1, 3, 10]) {
    await check(who + `the first ${busy} s, in which answers wait for a busy page, are known to be uncertain`, () => {
      // What arrives waits for the page's script, which is done with all that at the end, or works
      // it off slowly.
      const once = (at) => [quick(), at < busy * 1000 ? busy * 1000 - at + quick() : quick()];
      const slowly = (at) => [quick(), Math.max(0, 1400 * (1 - at / busy / 1000)) + quick()];
      const steady = (at) => [quick(), at < busy * 1000 ? 1400 + 100 * random() : quick()];
      Object.entries({ once, slowly, steady }).forEach(([name, ways]) =>
        believe(name, simulate(Clocks, 1e9, 0, 90, ways), 2, busy * 1000 + 2000));
    });
  }
  await check(who + "a page that is often busy, a long way, and clocks that drift", () => {
    believe("often", simulate(Clocks, 0, 0, 120, () => [quick(), random() < .7 ? 500 * random() : quick()]), 20, 20_000);
    believe("long", simulate(Clocks, 0, 0, 120, () => [40 + 5 * random(), 40 + 5 * random()]), 45, 1000);
    believe("drift", simulate(Clocks, 0, 50e-6, 3600, () => [quick(), quick()]), 1, 1000);
  });
}

async function checkSlowly(browser) {
  await check("market_feed: while a slow machine is busy the latency is a bound, and then it is finer", async () => {
    const server = await serve(marketFeed, "127.0.0.1:0", "--rate", "1000"), context = await browser.newContext(DESK);
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE);
    await page.addInitScript(() => { // four fifths of the time
      const spin = () => {
        const began = performance.now();
        while (performance.now() - began < 200);
        if (began < 3000) setTimeout(spin, 50);
        else window.rested = true;
      };
      addEventListener("DOMContentLoaded", () => {
        setTimeout(spin);
        window.shown = [];
        const node = document.querySelector("#oneway");
        new MutationObserver(() => shown.push((window.rested ? "calm: " : "busy: ") + node.textContent)).observe(node, { childList: true });
      });
    });
    await page.goto(`http://${server.address}/`);
    const error = () => page.evaluate(() => clocks.error(performance.now()));
    await page.waitForFunction(() => shown.some((text) => /^busy: (< )?[\d.]+ .s$/.test(text)));
    const busy = await error();
    await page.waitForFunction((busy) => window.rested && clocks.error(performance.now()) < busy / 2, busy);
    await context.close();
    await server.stop("SIGKILL");
  });
}

async function checkFirst(browser) {
  const server = await serve(marketFeed, "127.0.0.1:0", "--rate", "1000");
  for (const [name, device] of Object.entries({ desk: DESK, phone: PHONE })) {
    const who = `market_feed, ${name}: `, context = await browser.newContext(device), page = await context.newPage();
    page.setDefaultTimeout(PATIENCE);
    await page.addInitScript(() => addEventListener("DOMContentLoaded", () => {
      window.seen = { tops: new Set(), titles: 0, wrong: [] };
      const look = () => {
        seen.tops.add(Math.round(document.querySelector("main").getBoundingClientRect().top));
        requestAnimationFrame(look);
      };
      look();
      // What the tag of the price shows, as it is drawn, beside the title at that time.
      const fill = CanvasRenderingContext2D.prototype.fillText;
      CanvasRenderingContext2D.prototype.fillText = function (text, ...where) {
        const title = document.querySelector("#price h2").textContent;
        if (this.canvas.closest("#price") && this.fillStyle === colourOfCard()) seen.titles++, title.endsWith(text) || seen.wrong.push([title, text]);
        return fill.call(this, text, ...where);
      };
      const probe = document.createElement("canvas").getContext("2d");
      const colourOfCard = () => (probe.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--card"), probe.fillStyle);
    }));
    await page.goto(`http://${server.address}/`);
    await check(who + "the latency is drawn within two seconds", () =>
      page.waitForFunction(() => columns.filter((column) => age(column, "p50") >= 0).length > 0 && columns.length < 8));
    await check(who + "nothing moves when the prices come", async () => {
      await page.waitForFunction(() => ticks > 1000 && seen.titles > 20);
      same("tops", (await page.evaluate(() => [...seen.tops])).length, 1);
    });
    await check(who + "the title has the price of the tag", async () => same("others", await page.evaluate(() => seen.wrong), []));
    await context.close();
  }
  await server.stop("SIGKILL");
}

async function checkFeed(browser) {
  const who = "market_feed: ";
  let server = await serve(marketFeed, "127.0.0.1:0", "--rate", "1000");
  const { page, complaints, close } = await open(browser, server.address, DESK);
  await check(who + "ticks arrive, none is missing, the books are the server's", async () => {
    await page.waitForFunction(() => ticks > 2000 && checked > 0 && books.size === 8);
    same("gaps and mismatches", await page.evaluate(() => [gaps, mismatches]), [0, 0]);
    await page.waitForFunction(() => document.querySelector("#sound").textContent.startsWith("verified"));
  });
  await check(who + "price, book and latency are drawn", async () => {
    await page.waitForFunction(() => columns.filter((column) => age(column, "p50") >= 0).length > 4);
    for (const id of ["#price", "#book", "#latency"]) await drawn(page, id + " canvas");
  });
  await check(who + "another instrument can be chosen", async () => {
    await page.click("nav button:has-text('EURUSD')");
    await page.waitForFunction(() => /^EURUSD 1\.\d{5}$/.test(document.querySelector("#price h2").textContent.replace(/\s+/g, " ")));
    same("the address", new URL(page.url()).hash, "#EURUSD");
  });
  await check(who + "it connects again to a server that was restarted", async () => {
    await server.stop("SIGKILL");
    await page.waitForFunction(() => /again in/.test(document.querySelector("#state").textContent));
    server = await serve(marketFeed, server.address, "--rate", "1000");
    const before = await page.evaluate(() => ticks);
    await page.waitForFunction((before) => ticks > before + 500 && document.querySelector("#state").textContent === "live", before);
    same("gaps and mismatches", await page.evaluate(() => [gaps, mismatches]), [0, 0]);
  });
  await check(who + "a frozen server is noticed within 3 s, and again when it goes on", async () => {
    const shows = (text) => page.waitForFunction((text) => document.querySelector("#state").textContent === text, text);
    await page.evaluate(() => {
      [window.unanswered, window.connection] = [null, ws];
      const node = document.querySelector("#state");
      new MutationObserver(() => node.textContent === "no answer" && (unanswered ??= performance.now() - heard))
        .observe(node, { childList: true });
    });
    server.signal("SIGSTOP");
    await shows("no answer");
    await check(who + "axe finds nothing while the server is frozen", () => accessible(page));
    const after = await page.evaluate(() => unanswered);
    if (!(after < 3000)) throw new Error(`noticed after ${after} ms`);
    server.signal("SIGCONT");
    await shows("live");
    same("the same connection", await page.evaluate(() => ws === connection), true);
  });
  await check(who + "axe finds nothing", () => accessible(page));
  await check(who + "a goodbye is understood", async () => {
    await server.stop("SIGINT");
    await page.waitForFunction(() => /^(server stops|connection lost), again in/.test(document.querySelector("#state").textContent));
    server = await serve(marketFeed, server.address, "--rate", "1000");
    await page.waitForFunction(() => document.querySelector("#state").textContent === "live");
  });
  await check(who + "light and dark", () => schemes(page, "#price canvas"));
  await check(who + "no complaints", () => same("complaints", complaints, []));
  await close();
  await check(who + "fits a phone", async () => {
    const phone = await open(browser, server.address, PHONE);
    await phone.page.waitForFunction(() => ticks > 100);
    await drawn(phone.page, "#book canvas");
    same("without scrolling sideways", await fits(phone.page), true);
    same("complaints", phone.complaints, []);
    await phone.close();
  });
  await server.stop("SIGKILL");
}

async function checkAxum(browser) {
  const server = await serve(axum, "127.0.0.1:0"), { page, complaints, close } = await open(browser, server.address, DESK);
  await check("axum: both messages come back, axe finds nothing", async () => {
    await page.waitForFunction(() => document.querySelector("#said").textContent === "both came back");
    await accessible(page);
    same("complaints", complaints, []);
  });
  await close();
  await server.stop("SIGKILL");
}

// The page's code in docs/recipes/browsers.md, against a server that playwright-core plays.
async function checkRecipe(browser) {
  await check("the recipe's page resumes after a cut, takes the state after a gap, and stops when it is outdated", async () => {
    const text = readFileSync(__dirname + "/../../docs/recipes/browsers.md", "utf8"), page = await browser.newPage(), said = [];
    page.setDefaultTimeout(PATIENCE);
    let socket;
    await page.routeWebSocket(/./, (route) => (socket = route, route.onMessage((message) => said.push(JSON.parse(message).seen))));
    const state = (log, at, state) => socket.send(JSON.stringify({ log, at, state }));
    const update = (log, at, update) => socket.send(JSON.stringify({ log, at, update }));
    const until = async (n) => {
      for (const end = Date.now() + PATIENCE; said.length < n; await page.waitForTimeout(20)) {
        if (Date.now() > end) throw new Error(`${said.length} connections instead of ${n}`);
      }
    };
    const shows = (last) => page.waitForFunction((last) => JSON.stringify(shown.at(-1)) === JSON.stringify(last), last);
    await page.addScriptTag({
      content: /^```js\n([^]*?)^```/m.exec(text)[1] +
        "window.shown = []; follow('ws://server/', (a, b) => a + b, (...what) => shown.push(what));",
    });
    await until(1);
    state(7, 3, 10), update(7, 4, 5), socket.send("{}");
    await shows([15, "live"]);
    await socket.close({ code: 1011 });
    await until(2);
    update(7, 5, 1);
    await shows([16, "live"]);
    update(7, 9, 1);
    await until(3);
    state(7, 9, 99);
    await shows([99, "live"]);
    await socket.close({ code: 4426 });
    await shows([99, "reload the page"]);
    same("what it had seen", said, [null, [7, 4], null]);
    await page.close();
  });
}

// For examples/README.md: a desk by day, a phone by night.
async function takePictures(browser) {
  const kinds = [["desk", { ...DESK, colorScheme: "light" }], ["phone", { ...PHONE, colorScheme: "dark" }]];
  const server = await serve(marketFeed, "127.0.0.1:0", "--rate", "1000");
  for (const [kind, options] of kinds) {
    const { page, close } = await open(browser, server.address, options);
    await page.waitForTimeout(45_000);
    await page.screenshot({ path: `${pictures}/market_feed-${kind}.png` });
    await close();
  }
  await server.stop("SIGKILL");
}

(async () => {
  const args = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-proxy-server"];
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args });
  try {
    if (pictures) return await takePictures(browser);
    await checkClocks();
    await checkFirst(browser);
    await checkSlowly(browser);
    await checkFeed(browser);
    await checkAxum(browser);
    await checkRecipe(browser);
  } finally {
    await browser.close();
    for (const child of servers) child.kill("SIGKILL");
  }
})().catch((error) => {
  process.exitCode = 1;
  console.log("FAIL pages: " + error.message);
}).finally(() => process.exit());

// A browser's client of tickwire-hub-2 (../PROTOCOL.md). It reconnects, and loses nothing.
//
//   import { Hub } from "./hub.mjs";
//   const hub = new Hub(["wss://a.example"], (word, channel, payload) => console.log(payload));
//   hub.subscribe("EURUSD");
//
// Under Node (before 22 with --experimental-websocket): node hub.mjs URL[,URL..] CHANNEL.. prints
// `CHANNEL PAYLOAD`.
const FINAL = new Set([1002, 1003, 1007, 1008, 1009, 1010, 1015]); // another attempt would not help

export class Hub {
  #urls; #heed; #firstDelay; #socket; #attempts = 0;
  #places = new Map(); // channel: [], ["last"] or [LOG, AT]
  #open = false;

  /// `heed(word, channel, payload)`: word is `message`, `subscribed`, `stale`, `gap` or `error`. A
  /// message's payload is a string, or a Uint8Array if it is not UTF-8.
  constructor(urls, heed, firstDelay = 5000) {
    [this.#urls, this.#heed, this.#firstDelay] = [[...urls], heed, firstDelay];
    this.#connect();
  }

  subscribe(channel, last = false) {
    this.#places.set(channel, last ? ["last"] : []);
    this.#say(["sub", channel, ...this.#places.get(channel)]);
  }

  unsubscribe(channel) {
    this.#places.delete(channel);
    this.#say(["unsub", channel]);
  }

  #say(words) {
    if (this.#open) this.#socket.send(words.join(" "));
  }

  #connect() {
    this.#socket = new WebSocket(this.#urls[0], "tickwire-hub-2");
    this.#socket.binaryType = "arraybuffer";
    this.#socket.onopen = () => {
      this.#open = true;
      for (const [channel, place] of this.#places) this.#say(["sub", channel, ...place]);
    };
    this.#socket.onmessage = ({ data }) => this.#told(data);
    this.#socket.onclose = ({ code }) => {
      this.#open = false;
      if (FINAL.has(code)) return this.#heed("error", null, `closed with ${code}`);
      const most = Math.min(this.#firstDelay * 2 ** this.#attempts, 60_000);
      const least = this.#attempts++ ? most / 2 : 0;
      this.#urls.push(this.#urls.shift()); // the next server
      setTimeout(() => this.#connect(), least + Math.random() * (most - least));
    };
  }

  #told(data) {
    // The words before a payload are ASCII. So they have the same places in latin1 as in the bytes.
    const bytes = typeof data === "string" ? null : new Uint8Array(data);
    const text = bytes ? new TextDecoder("latin1").decode(bytes) : data;
    const words = text.split(" ", 4);
    const [word, channel] = words;
    const payload = (before) => {
      const at = words.slice(0, before).join(" ").length + 1;
      return bytes ? bytes.subarray(at) : text.slice(at);
    };
    if (word === "error") return this.#heed(word, null, payload(1));
    if (!this.#places.has(channel)) return; // given up meanwhile
    if (word === "subscribed") this.#attempts = 0;
    if (word === "subscribed") this.#places.set(channel, words.slice(2));
    if (word === "entry") this.#places.get(channel)[1] = words[2];
    if (word === "message" || word === "entry") this.#heed("message", channel, payload(word === "entry" ? 3 : 2));
    if (["subscribed", "stale", "gap"].includes(word)) this.#heed(word, channel, words.slice(2).join(" "));
  }
}

if (globalThis.process?.argv[1] === decodeURI(new URL(import.meta.url).pathname)) {
  const [urls, ...channels] = process.argv.slice(2);
  const hub = new Hub(urls.split(","), (word, channel, payload) =>
    console.log(word === "message" ? `${channel} ${payload}` : `# ${word} ${channel} ${payload}`), 1000);
  channels.forEach((channel) => hub.subscribe(channel));
}

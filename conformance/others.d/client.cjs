// Echo clients of JavaScript, with default settings: `client.cjs NAME URL`. Sends back what comes
// until the connection ends. `standard` is the WebSocket of the program itself.
'use strict';
const [name, url] = process.argv.slice(-2);

function standard(WebSocket) {
  const socket = new WebSocket(url);
  socket.binaryType = 'arraybuffer';
  socket.onmessage = (event) => socket.send(event.data);
  socket.onerror = () => {};
  socket.onclose = () => process.exit();
}

const start = {
  standard: () => standard(WebSocket),
  undici: () => standard(require('undici').WebSocket),
  'faye-websocket': () => {
    const socket = new (require('faye-websocket').Client)(url);
    socket.on('message', (event) => socket.send(event.data));
    socket.on('error', () => {});
    socket.on('close', () => process.exit());
  },
  ws: () => {
    const socket = new (require('ws'))(url);
    socket.on('message', (data, binary) => socket.send(data, { binary }));
    socket.on('error', () => {});
    socket.on('close', () => process.exit());
  },
  websocket: () => {
    const client = new (require('websocket').client)();
    client.on('connectFailed', () => process.exit());
    client.on('connect', (connection) => {
      connection.on('message', (message) =>
        message.type === 'utf8' ? connection.sendUTF(message.utf8Data) : connection.sendBytes(message.binaryData));
      connection.on('error', () => {});
      connection.on('close', () => process.exit());
    });
    client.connect(url);
  },
};
start[name]();

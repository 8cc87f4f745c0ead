// Echo servers of npm packages, with default settings: `server.cjs NAME`. Prints `port N`.
'use strict';
const http = require('http');

const name = process.argv[2];
const server = http.createServer((request, response) => response.writeHead(426).end());
const say = () => console.log(`port ${server.address().port}`);

const start = {
  ws() {
    const { WebSocketServer } = require('ws');
    new WebSocketServer({ server }).on('connection', (socket) => {
      socket.on('error', () => {});
      socket.on('message', (data, binary) => socket.send(data, { binary }));
    });
  },
  websocket() {
    const { server: WebSocketServer } = require('websocket');
    new WebSocketServer({ httpServer: server, autoAcceptConnections: true }).on(
      'connect', (connection) => connection.on('message', (message) =>
        message.type === 'utf8' ? connection.sendUTF(message.utf8Data) : connection.sendBytes(message.binaryData)));
  },
  'faye-websocket'() {
    const WebSocket = require('faye-websocket');
    server.on('upgrade', (request, socket, body) => {
      if (!WebSocket.isWebSocket(request)) return socket.end();
      const ws = new WebSocket(request, socket, body);
      ws.on('message', (event) => ws.send(event.data));
    });
  },
};
start[name]();
server.listen(0, '127.0.0.1', say);

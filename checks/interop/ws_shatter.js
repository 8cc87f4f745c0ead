// A socket of TLS whose writes become records of many lengths, from 1 byte to 16 KiB.
"use strict";
const PIECES = [1, 1, 2, 17, 100, 1000, 16384];

function shatter(socket) {
  const write = socket.write.bind(socket);
  let n = 0;
  // Else pieces are put together again.
  socket._writev = null;
  socket.write = (data, encoding, done) => {
    if (typeof encoding === "function") [encoding, done] = [undefined, encoding];
    let rest = Buffer.from(data, encoding);
    while (true) {
      const piece = rest.subarray(0, PIECES[n++ % PIECES.length]);
      rest = rest.subarray(piece.length);
      if (rest.length === 0) return write(piece, done);
      write(piece);
    }
  };
}

module.exports = { shatter };

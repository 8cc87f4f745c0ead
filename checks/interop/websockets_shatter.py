"""Has a transport of asyncio over TLS write records of many lengths, from 1 byte to 16 KiB."""
import itertools


def shatter(transport):
    pieces = itertools.cycle([1, 1, 2, 17, 100, 1000, 16384])
    write = transport.write

    def write_pieces(data):
        data = bytes(data)
        while data:
            n = next(pieces)
            write(data[:n])
            data = data[n:]

    transport.write = write_pieces

"""ttrpc and as much of protobuf as a test needs: a client of pepita-shim, and a listener for its events."""
import socket
import struct
import threading

REQUEST, RESPONSE = 1, 2


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7f:
        out += bytes([value & 0x7f | 0x80])
        value >>= 7
    return out + bytes([value])


def message(fields: dict) -> bytes:
    """{number: int, str, bytes, a message's dict, or a list of these}"""
    out = b""
    for number, value in [(n, v) for n, vs in fields.items() for v in (vs if isinstance(vs, list) else [vs])]:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
            continue
        if isinstance(value, dict):
            value = message(value)
        if isinstance(value, str):
            value = value.encode()
        out += varint(number << 3 | 2) + varint(len(value)) + value
    return out


def fields_of(data: bytes) -> dict:
    """The last value of each field: an int, or bytes."""
    def take():
        nonlocal data
        value = shift = 0
        while True:
            byte, data = data[0], data[1:]
            value |= (byte & 0x7f) << shift
            shift += 7
            if not byte & 0x80:
                return value
    out = {}
    while data:
        key = take()
        if key & 7 == 0:
            out[key >> 3] = take()
        else:
            size = take()
            out[key >> 3], data = data[:size], data[size:]
    return out


class Refused(Exception):
    """A status that is not OK: its code and its words."""


def receive(connection) -> tuple:
    def exactly(size):
        data = b""
        while len(data) < size:
            part = connection.recv(size - len(data))
            if not part:
                raise EOFError
            data += part
        return data
    size, stream, kind, _ = struct.unpack(">IIBB", exactly(10))
    return stream, kind, exactly(size)


def send(connection, stream: int, kind: int, payload: bytes, fds=()):
    """Descriptors go with the first byte."""
    data = struct.pack(">IIBB", len(payload), stream, kind, 0) + payload
    sent = socket.send_fds(connection, [data], list(fds)) if fds else 0
    connection.sendall(data[sent:])


class Client:
    """One call at a time."""

    def __init__(self, connection):
        self.connection = connection
        self.stream = 1

    def call(self, service: str, method: str, fields: dict, fds=()) -> dict:
        request = {1: service, 2: method, 3: message(fields)}
        if fds:
            request[5] = {1: "pepita-fds", 2: str(len(fds))}
        send(self.connection, self.stream, REQUEST, message(request), fds)
        stream, kind, data = receive(self.connection)
        assert (stream, kind) == (self.stream, RESPONSE)
        self.stream += 2
        response = fields_of(data)
        status = fields_of(response.get(1, b""))
        if status.get(1, 0) != 0:
            raise Refused(status[1], status.get(2, b"").decode())
        return fields_of(response.get(2, b""))


class EventListener:
    """Stands for containerd: keeps the topics of what is forwarded, in order."""

    def __init__(self, path):
        self.topics = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(4)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection):
        try:
            while True:
                stream, _, data = receive(connection)
                envelope = fields_of(fields_of(fields_of(data)[3])[1])
                self.topics.append(envelope[3].decode())
                send(connection, stream, RESPONSE, b"")
        except (EOFError, OSError):
            connection.close()

    def close(self):
        self.listener.close()

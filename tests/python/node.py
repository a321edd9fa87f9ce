"""A client of the node stream, on grpcio: a gRPC stack that shares nothing with the Rust one."""

import itertools
import queue
import threading

import grpc

from register_pb2 import Message

NODE_STREAM = "/stream.Gorums/NodeStream"
# The ids of calls that the server starts have this bit.
SERVER_INITIATED = 1 << 63
TIMEOUT = 20


class CallError(Exception):
    """A node has answered with a status."""

    def __init__(self, status):
        super().__init__(status.message)
        self.code = status.code


class Node:
    """A stream to one node. What it asks on the same stream is answered by `handlers`, by method."""

    def __init__(self, address, handlers=None):
        self.calls_back = 0
        self._handlers = handlers or {}
        self._ids = itertools.count(1)
        self._outgoing = queue.SimpleQueue()
        self._replies = {}
        self._lock = threading.Lock()
        self._channel = grpc.insecure_channel(address)
        # With the id 0, a client can be called back, and is given an id.
        metadata = (("gorums-node-id", "0"),) if handlers else None
        stream = self._channel.stream_stream(
            NODE_STREAM,
            request_serializer=Message.SerializeToString,
            response_deserializer=Message.FromString,
        )
        self._stream = stream(iter(self._outgoing.get, None), metadata=metadata)
        threading.Thread(target=self._read, daemon=True).start()

    def send(self, method, request, metadata=(), replies=None):
        """Sends a request, and puts what is answered into `replies`."""
        message = Message(message_seq_no=next(self._ids), method=method, payload=request.SerializeToString())
        for key, value in metadata:
            message.entry.add(key=key, value=value)
        if replies is not None:
            with self._lock:
                self._replies[message.message_seq_no] = replies
        self._outgoing.put(message)

    def call(self, method, request, reply, metadata=()):
        """Waits for the only reply."""
        replies = queue.SimpleQueue()
        self.send(method, request, metadata, replies)
        return parse(replies.get(timeout=TIMEOUT), reply)

    def close(self):
        self._outgoing.put(None)
        self._stream.cancel()
        self._channel.close()

    def _read(self):
        try:
            for message in self._stream:
                if message.message_seq_no & SERVER_INITIATED:
                    self._answer(message)
                else:
                    with self._lock:
                        replies = self._replies.pop(message.message_seq_no)
                    replies.put(message)
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.CANCELLED:
                raise

    def _answer(self, request):
        self.calls_back += 1
        reply = self._handlers[request.method](request.payload)
        self._outgoing.put(
            Message(
                message_seq_no=request.message_seq_no,
                method=request.method,
                payload=reply.SerializeToString(),
            )
        )


def parse(message, reply):
    if message.HasField("status"):
        raise CallError(message.status)
    return reply.FromString(message.payload)


def quorum_call(nodes, method, request, reply, needed):
    """The first replies of as many nodes as are needed."""
    replies = queue.SimpleQueue()
    for node in nodes:
        node.send(method, request, replies=replies)
    return [parse(replies.get(timeout=TIMEOUT), reply) for _ in range(needed)]

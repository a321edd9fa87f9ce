"""Calls Rust nodes, whose addresses are its arguments, in every way. Ends with 0 if all is as expected."""

import sys
import unittest

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from node import TIMEOUT, CallError, Node, quorum_call
from register_pb2 import Entry, Key

NOT_FOUND = 5
UNIMPLEMENTED = 12
LARGE = 1 << 20


def confirm(payload):
    entry = Entry.FromString(payload)
    return Entry(key=entry.key, value="confirmed " + entry.value)


class Calls(unittest.TestCase):
    addresses = []

    def setUp(self):
        handlers = {"example.Listener.Confirm": confirm}
        self.nodes = [Node(address, handlers) for address in self.addresses]
        for node in self.nodes:
            self.addCleanup(node.close)

    def test_rpc(self):
        node = self.nodes[0]
        self.assertEqual(node.call("example.Register.Write", Entry(key="rpc", value="1"), Key).key, "rpc")
        self.assertEqual(node.call("example.Register.Read", Key(key="rpc"), Entry).value, "1")

    def test_messages_of_many_frames(self):
        value = "x" * LARGE
        node = self.nodes[0]
        node.call("example.Register.Write", Entry(key="large", value=value), Key)
        self.assertEqual(node.call("example.Register.Read", Key(key="large"), Entry).value, value)

    def test_one_way_messages_keep_their_order(self):
        node = self.nodes[1]
        for number in range(100):
            node.send("example.Register.Put", Entry(key="one-way", value=str(number)))
        # What is read next on the same stream comes after them.
        self.assertEqual(node.call("example.Register.Read", Key(key="one-way"), Entry).value, "99")

    def test_quorum_call(self):
        written = quorum_call(self.nodes, "example.Register.WriteQc", Entry(key="qc", value="v"), Key, 3)
        self.assertEqual([reply.key for reply in written], ["qc"] * 3)
        read = quorum_call(self.nodes, "example.Register.ReadQc", Key(key="qc"), Entry, 2)
        self.assertEqual([reply.value for reply in read], ["v"] * 2)

    def test_an_error_leaves_the_stream_as_it_is(self):
        node = self.nodes[0]
        with self.assertRaises(CallError) as raised:
            node.call("example.Register.Read", Key(key="missing"), Entry)
        self.assertEqual((raised.exception.code, str(raised.exception)), (NOT_FOUND, "nothing at `missing`"))
        with self.assertRaises(CallError) as raised:
            node.call("example.Register.Nothing", Key(), Entry)
        self.assertEqual(raised.exception.code, UNIMPLEMENTED)
        self.assertEqual(node.call("example.Register.Write", Entry(key="after"), Key).key, "after")

    def test_metadata(self):
        reply = self.nodes[0].call("example.Register.Who", Key(), Entry, metadata=[("who", "python")])
        self.assertEqual(reply.value, "python")

    def test_the_node_calls_back(self):
        node = self.nodes[2]
        for number in range(10):
            reply = node.call("example.Register.AskBack", Entry(key="k", value=str(number)), Entry)
            self.assertEqual(reply.value, f"confirmed {number}")
        self.assertEqual(node.calls_back, 10)


class GrpcServices(unittest.TestCase):
    """The standard gRPC services of a node, beside its node stream."""

    def setUp(self):
        self.channel = grpc.insecure_channel(Calls.addresses[0])
        self.addCleanup(self.channel.close)
        self.health = health_pb2_grpc.HealthStub(self.channel)

    def check(self, service):
        return self.health.Check(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT).status

    def test_health(self):
        for service in ("", "example.Register", "grpc.health.v1.Health"):
            self.assertEqual(self.check(service), health_pb2.HealthCheckResponse.SERVING)
        self.assertEqual(self.check("example.Shard"), health_pb2.HealthCheckResponse.NOT_SERVING)
        with self.assertRaises(grpc.RpcError) as raised:
            self.check("example.Nobody")
        self.assertEqual(raised.exception.code(), grpc.StatusCode.NOT_FOUND)

    def test_watching_health_beside_calls_on_the_node_stream(self):
        watched = self.health.Watch(health_pb2.HealthCheckRequest(service=""), timeout=TIMEOUT)
        self.assertEqual(next(watched).status, health_pb2.HealthCheckResponse.SERVING)
        node = Node(Calls.addresses[0])
        self.addCleanup(node.close)
        self.assertEqual(node.call("example.Register.Write", Entry(key="beside"), Key).key, "beside")
        watched.cancel()

    def test_reflection(self):
        database = ProtoReflectionDescriptorDatabase(self.channel)
        services = database.get_services()
        self.assertIn("stream.Gorums", services)
        self.assertIn("grpc.health.v1.Health", services)
        file = database.FindFileContainingSymbol("stream.Gorums")
        self.assertEqual([method.name for method in file.service[0].method], ["NodeStream"])

    def test_a_method_of_the_node_stream_says_so(self):
        call = self.channel.unary_unary(
            "/example.Register/Read",
            request_serializer=Key.SerializeToString,
            response_deserializer=Entry.FromString,
        )
        with self.assertRaises(grpc.RpcError) as raised:
            call(Key(key="rpc"), timeout=TIMEOUT)
        self.assertEqual(raised.exception.code(), grpc.StatusCode.UNIMPLEMENTED)
        self.assertIn("over the stream /stream.Gorums/NodeStream", raised.exception.details())


if __name__ == "__main__":
    Calls.addresses = sys.argv[1:]
    unittest.main(argv=sys.argv[:1])

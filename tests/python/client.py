"""Calls Rust nodes, whose addresses are its arguments, in every way. Ends with 0 if all is as expected."""

import sys
import unittest

from node import CallError, Node, quorum_call
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


if __name__ == "__main__":
    Calls.addresses = sys.argv[1:]
    unittest.main(argv=sys.argv[:1])

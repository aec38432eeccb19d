#!/usr/bin/python3
"""A consumer that knows goflow2's field numbers and types, and nothing of Catchment.

    goflow2.py packed|single|single-delimited < messages

Reads Kafka messages from standard input, each behind its length (four octets, big-endian), and prints each record
as one JSON object: field number -> value, bytes in hexadecimal, fields that are not set left out.
"""

import json
import struct
import sys

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

FIELD = descriptor_pb2.FieldDescriptorProto
U32, U64, BYTES, ENUM = FIELD.TYPE_UINT32, FIELD.TYPE_UINT64, FIELD.TYPE_BYTES, FIELD.TYPE_ENUM

UNSIGNED_64 = {3, 9, 10, 27, 28, 110, 111, 112}
OCTETS = {6, 7, 11, 12, 100}
ENUMS = {1}
UNSIGNED_32 = {4, *range(13, 27), *range(29, 43), 70, 71, 106}
REPEATED = {80: U32, 81: U32, 82: BYTES, 101: U32, 102: U32, 103: ENUM, 104: U32, 105: BYTES}


def flow_message():
    """The message class, made from the numbers above."""
    file = descriptor_pb2.FileDescriptorProto(name="goflow2.proto", package="goflow2", syntax="proto3")
    enum = file.enum_type.add(name="AnyNumber")
    enum.value.add(name="ZERO", number=0)
    message = file.message_type.add(name="FlowMessage")

    def add(number, kind, label):
        field = message.field.add(name=f"field_{number}", number=number, type=kind, label=label)
        if kind == ENUM:
            field.type_name = ".goflow2.AnyNumber"

    for numbers, kind in ((UNSIGNED_64, U64), (OCTETS, BYTES), (ENUMS, ENUM), (UNSIGNED_32, U32)):
        for number in numbers:
            add(number, kind, FIELD.LABEL_OPTIONAL)
    for number, kind in REPEATED.items():
        add(number, kind, FIELD.LABEL_REPEATED)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    flow = pool.FindMessageTypeByName("goflow2.FlowMessage")
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(flow)
    return message_factory.MessageFactory(pool).GetPrototype(flow)  # before protobuf 4.22, as in Debian 12


def messages(stream):
    """The Kafka messages on standard input."""
    while head := stream.read(4):
        (length,) = struct.unpack(">I", head)
        yield stream.read(length)


def varint(buffer, at):
    """A base-128 number and where it ends."""
    value = shift = 0
    while True:
        octet = buffer[at]
        at += 1
        value |= (octet & 0x7F) << shift
        shift += 7
        if octet < 0x80:
            return value, at


def records(message, framing):
    """The encoded records of a Kafka message."""
    if framing == "single":
        yield message
        return
    at = 0
    while at < len(message):
        length, at = varint(message, at)
        yield message[at : at + length]
        at += length


def plain(value):
    """What JSON can say."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, int):
        return value
    return [plain(each) for each in value]


def main():
    framing = sys.argv[1]
    flow = flow_message()
    for message in messages(sys.stdin.buffer):
        for record in records(message, framing):
            fields = flow.FromString(record).ListFields()
            print(json.dumps({str(field.number): plain(value) for field, value in fields}))


main()

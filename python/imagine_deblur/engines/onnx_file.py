"""Read what an ONNX file says about itself without loading it, or any ONNX library.

An ONNX file is one Protocol Buffers message, ``ModelProto``. Only the fields named below are
decoded; everything else is skipped by its length. `read_summary` skips the weights too, so that it
costs a few kilobytes however large the network is; `read_graph` is for the small networks that this
package computes itself.

References
----------
Protocol Buffers encoding: base-128 varints, a tag ``(field << 3) | wire type`` before each value.
Field numbers: onnx/onnx.proto3, messages ModelProto, GraphProto, ValueInfoProto, TypeProto,
TensorShapeProto, TensorProto, NodeProto, AttributeProto and StringStringEntryProto.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from imagine_deblur.errors import EngineError

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_LONGEST_TEXT = 1 << 20  # of a name or a metadata value, bytes
_FLOAT = 1  # TensorProto.DataType
_DTYPES = {_FLOAT: "<f4", 2: "u1", 3: "i1", 6: "<i4", 7: "<i8", 10: "<f2"}


@dataclass(frozen=True)
class TensorInfo:
    """A graph input or output.

    Attributes
    ----------
    name : str
    shape : tuple of int or str
        A string is the name of a free dimension, ``""`` where it has none.
    is_float32 : bool
    """

    name: str
    shape: tuple[int | str, ...]
    is_float32: bool


@dataclass(frozen=True)
class OnnxSummary:
    """What an ONNX file says about itself."""

    ir_version: int
    producer: str
    metadata: dict[str, str]
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]


class _Damaged(Exception):
    """The bytes are not the message they should be."""


class _Message:
    """One message of `length` bytes at the file's position; iterate it once, in order."""

    def __init__(self, file: BinaryIO, length: int) -> None:
        self._file = file
        self._end = file.tell() + length

    def fields(self) -> Iterator[tuple[int, int]]:
        """Yield (field number, wire type); the consumer reads the value or leaves it."""
        while (start := self._file.tell()) < self._end:
            tag = self.varint()
            field, wire = tag >> 3, tag & 7
            if field == 0:
                raise _Damaged
            value_start = self._file.tell()
            yield field, wire
            if self._file.tell() == value_start:
                self._skip(wire)
            if not start < self._file.tell() <= self._end:
                raise _Damaged
        if self._file.tell() != self._end:
            raise _Damaged

    def at_end(self) -> bool:
        return self._file.tell() >= self._end

    def position(self) -> int:
        return self._file.tell()

    def varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._file.read(1)
            if not byte:
                raise _Damaged
            value |= (byte[0] & 0x7F) << shift
            if byte[0] < 0x80:
                return value
        raise _Damaged

    def message(self) -> _Message:
        length = self.varint()
        if self._file.tell() + length > self._end:
            raise _Damaged
        return _Message(self._file, length)

    def text(self) -> str:
        length = self.varint()
        if length > _LONGEST_TEXT or self._file.tell() + length > self._end:
            raise _Damaged
        return self._file.read(length).decode("utf-8", errors="replace")

    def data(self) -> bytes:
        length = self.varint()
        if self._file.tell() + length > self._end:
            raise _Damaged
        return self._file.read(length)

    def _skip(self, wire: int) -> None:
        if wire == _VARINT:
            self.varint()
        elif wire in (_FIXED64, _FIXED32):
            self._file.seek(8 if wire == _FIXED64 else 4, os.SEEK_CUR)
        elif wire == _LENGTH:
            length = self.varint()
            self._file.seek(length, os.SEEK_CUR)
        else:
            raise _Damaged  # groups are not used by ONNX


@dataclass(frozen=True)
class Node:
    """A node of a graph; of its attributes those that are an integer, integers or a text."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, int | tuple[int, ...] | str]


@dataclass(frozen=True)
class OnnxGraph:
    """A small network's graph with its constants.

    Attributes
    ----------
    nodes : tuple of Node
    constants : dict of str to ndarray
        Those of float32, float16 and int64.
    offsets : dict of str to int
        Where in the file each constant's values begin.
    """

    nodes: tuple[Node, ...]
    constants: dict[str, NDArray[np.generic]]
    offsets: dict[str, int]


def _entry(message: _Message) -> tuple[str, str]:
    key = value = ""
    for field, wire in message.fields():
        if wire == _LENGTH and field == 1:
            key = message.text()
        elif wire == _LENGTH and field == 2:
            value = message.text()
    return key, value


def _dimension(message: _Message) -> int | str:
    result: int | str = ""
    for field, wire in message.fields():
        if field == 1 and wire == _VARINT:
            value = message.varint()
            result = value if value < 1 << 63 else ""  # a negative size means a free dimension
        elif field == 2 and wire == _LENGTH:
            result = message.text()
    return result


def _tensor_type(message: _Message) -> tuple[int, tuple[int | str, ...]]:
    element = 0
    shape: list[int | str] = []
    for field, wire in message.fields():
        if field == 1 and wire == _VARINT:
            element = message.varint()
        elif field == 2 and wire == _LENGTH:
            dimensions = message.message()
            for inner, inner_wire in dimensions.fields():
                if inner == 1 and inner_wire == _LENGTH:
                    shape.append(_dimension(dimensions.message()))
    return element, tuple(shape)


def _value_info(message: _Message) -> TensorInfo:
    name, element = "", 0
    shape: tuple[int | str, ...] = ()
    for field, wire in message.fields():
        if field == 1 and wire == _LENGTH:
            name = message.text()
        elif field == 2 and wire == _LENGTH:
            type_proto = message.message()
            for inner, inner_wire in type_proto.fields():
                if inner == 1 and inner_wire == _LENGTH:
                    element, shape = _tensor_type(type_proto.message())
    return TensorInfo(name, shape, element == _FLOAT)


def _initializer_name(message: _Message) -> str:
    name = ""
    for field, wire in message.fields():
        if field == 8 and wire == _LENGTH:
            name = message.text()
    return name


def _graph(message: _Message) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
    inputs: list[TensorInfo] = []
    outputs: list[TensorInfo] = []
    constants: set[str] = set()
    for field, wire in message.fields():
        if wire != _LENGTH:
            continue
        if field == 5:
            constants.add(_initializer_name(message.message()))
        elif field == 11:
            inputs.append(_value_info(message.message()))
        elif field == 12:
            outputs.append(_value_info(message.message()))
    # Before IR version 4 every initializer is also listed as an input.
    return tuple(i for i in inputs if i.name not in constants), tuple(outputs)


def _model(message: _Message) -> OnnxSummary:
    ir_version, producer = 0, ""
    metadata: dict[str, str] = {}
    inputs: tuple[TensorInfo, ...] = ()
    outputs: tuple[TensorInfo, ...] = ()
    for field, wire in message.fields():
        if field == 1 and wire == _VARINT:
            ir_version = message.varint()
        elif field == 2 and wire == _LENGTH:
            producer = message.text()
        elif field == 7 and wire == _LENGTH:
            inputs, outputs = _graph(message.message())
        elif field == 14 and wire == _LENGTH:
            key, value = _entry(message.message())
            metadata[key] = value
    if not inputs or not outputs:
        raise _Damaged
    return OnnxSummary(ir_version, producer, metadata, inputs, outputs)


def _integers(message: _Message, wire: int) -> list[int]:
    """The values of a repeated integer field, packed or not, as signed 64 bits."""
    if wire == _VARINT:
        values = [message.varint()]
    else:
        packed, values = message.message(), []
        while not packed.at_end():
            values.append(packed.varint())
    return [v - (1 << 64) if v >= 1 << 63 else v for v in values]


def _attribute(message: _Message) -> tuple[str, int | tuple[int, ...] | str | None]:
    name = ""
    value: int | str | None = None
    many: list[int] = []
    for field, wire in message.fields():
        if field == 1 and wire == _LENGTH:
            name = message.text()
        elif field == 3 and wire == _VARINT:
            (value,) = _integers(message, wire)
        elif field == 4 and wire == _LENGTH:
            value = message.text()
        elif field == 8 and wire in (_VARINT, _LENGTH):
            many += _integers(message, wire)
    return name, tuple(many) if many else value


def _node(message: _Message) -> Node:
    kind = ""
    inputs: list[str] = []
    outputs: list[str] = []
    attributes: dict[str, int | tuple[int, ...] | str] = {}
    for field, wire in message.fields():
        if wire != _LENGTH:
            continue
        if field in (1, 2):
            (inputs if field == 1 else outputs).append(message.text())
        elif field == 4:
            kind = message.text()
        elif field == 5:
            name, value = _attribute(message.message())
            if value is not None:
                attributes[name] = value
    return Node(kind, tuple(inputs), tuple(outputs), attributes)


def _constant(message: _Message) -> tuple[str, NDArray[np.generic] | None, int]:
    """A tensor of one of `_DTYPES` with raw data, None of another kind; its place."""
    shape: list[int] = []
    element, name, raw, offset = 0, "", b"", 0
    for field, wire in message.fields():
        if field == 1 and wire in (_VARINT, _LENGTH):
            shape += _integers(message, wire)
        elif field == 2 and wire == _VARINT:
            element = message.varint()
        elif field == 8 and wire == _LENGTH:
            name = message.text()
        elif field == 9 and wire == _LENGTH:
            raw = message.data()
            offset = message.position() - len(raw)
    dtype = _DTYPES.get(element)
    if dtype is None or len(raw) != np.dtype(dtype).itemsize * math.prod(shape):
        return name, None, offset
    return name, np.frombuffer(raw, dtype).reshape(shape), offset


def _graph_with_constants(message: _Message) -> OnnxGraph:
    nodes: list[Node] = []
    constants: dict[str, NDArray[np.generic]] = {}
    offsets: dict[str, int] = {}
    for field, wire in message.fields():
        if field != 7 or wire != _LENGTH:
            continue
        graph = message.message()
        for inner, inner_wire in graph.fields():
            if inner == 1 and inner_wire == _LENGTH:
                nodes.append(_node(graph.message()))
            elif inner == 5 and inner_wire == _LENGTH:
                name, value, offset = _constant(graph.message())
                if value is not None:
                    constants[name], offsets[name] = value, offset
    return OnnxGraph(tuple(nodes), constants, offsets)


def read_graph(path: str | os.PathLike[str]) -> OnnxGraph:
    """Read the nodes and the constants, floats and integers, of an ONNX file, all of it.

    Parameters
    ----------
    path : path

    Returns
    -------
    OnnxGraph

    Raises
    ------
    EngineError
        The file is not an ONNX model, or is cut short.
    OSError
        The file cannot be read.
    """
    with _whole(path) as message:
        return _graph_with_constants(message)


@contextmanager
def _whole(path: str | os.PathLike[str]) -> Iterator[_Message]:
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        try:
            yield _Message(file, size)
        except _Damaged:
            raise EngineError(
                f"{os.fspath(path)} is not an ONNX model, or is damaged", model=os.fspath(path)
            ) from None


def read_summary(path: str | os.PathLike[str]) -> OnnxSummary:
    """Read the header of an ONNX file.

    Parameters
    ----------
    path : path

    Returns
    -------
    OnnxSummary

    Raises
    ------
    EngineError
        The file is not an ONNX model, or is cut short.
    OSError
        The file cannot be read.
    """
    with _whole(path) as message:
        return _model(message)

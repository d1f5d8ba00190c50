"""The commands of a consumer group on one tenant's stream of requests, and what Redis answers to them, whichever
protocol the client speaks. Deliberately without I/O and without a loop: `service` has the order in which they are
used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from .connection import Command


class Entry(NamedTuple):
    """An entry of a stream."""

    stream: str
    id: str
    fields: dict[str, str]


class Group(NamedTuple):
    """A consumer of a group, with the commands that it uses."""

    name: str
    consumer: str

    def create(self, stream: str, start: str) -> Command:
        """Creates the group, and the stream when there is none. `start`: `$` for what comes from now on, `0` for
        all."""
        return Command(stream, ("XGROUP", "CREATE", stream, self.name, start, "MKSTREAM"))

    def read(self, streams: Sequence[str], count: int, block_ms: int) -> Command:
        """At most `count` new entries of each stream; waits for the first."""
        words: list[str | bytes | int] = ["XREADGROUP", "GROUP", self.name, self.consumer]
        words += ["COUNT", count, "BLOCK", block_ms, "STREAMS", *streams]
        words += [">"] * len(streams)
        return Command(streams[0], tuple(words))

    def acknowledge(self, stream: str, ids: Iterable[str]) -> Command:
        """The entries are done."""
        return Command(stream, ("XACK", stream, self.name, *ids))

    def keep(self, stream: str, ids: Iterable[str]) -> Command:
        """The entries are being worked on: nobody may claim them for another while."""
        words: list[str | bytes | int] = ["XCLAIM", stream, self.name, self.consumer, 0, *ids, "JUSTID"]
        return Command(stream, tuple(words), {"parse_justid": True})

    def claim(self, stream: str, idle_ms: int, cursor: str, count: int) -> Command:
        """Takes over entries of which nobody has given a sign of life for so long."""
        return Command(stream, ("XAUTOCLAIM", stream, self.name, self.consumer, idle_ms, cursor, "COUNT", count))

    def pending(self, stream: str, entry_id: str) -> Command:
        """How many times an entry was delivered."""
        words = ("XPENDING", stream, self.name, entry_id, entry_id, 1)
        return Command(stream, words, {"parse_detail": True})

    def own_pending(self, stream: str) -> Command:
        """Whether anything is left that this consumer has not acknowledged."""
        words = ("XPENDING", stream, self.name, "-", "+", 1, self.consumer)
        return Command(stream, words, {"parse_detail": True})

    def leave(self, stream: str) -> Command:
        """Forgets the consumer, and what it has pending."""
        return Command(stream, ("XGROUP", "DELCONSUMER", stream, self.name, self.consumer))


def read_entries(answer: Any) -> list[Entry]:
    """Entries from the answer to XREADGROUP: pairs of stream and entries, or a map (RESP3)."""
    if not answer:
        return []
    pairs = answer.items() if isinstance(answer, Mapping) else answer
    return [entry for stream, found in pairs for entry in _entries(text(stream), found)]


def claimed_entries(stream: str, answer: Any) -> tuple[str, list[Entry]]:
    """Where to go on, and the entries, from the answer to XAUTOCLAIM."""
    return text(answer[0]), _entries(stream, answer[1])


def deliveries(answer: Any) -> int:
    """From the answer to XPENDING for one entry; 0 when it isn't pending any more."""
    if not answer:
        return 0
    first = answer[0]
    return int(first["times_delivered"] if isinstance(first, Mapping) else first[3])


def text(value: Any) -> str:
    """What a client with or without `decode_responses` gives. Bytes that are no UTF-8 become U+FFFD."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _entries(stream: str, found: Any) -> list[Entry]:
    # redis-py wraps the entries once more in RESP3.
    if found and isinstance(found[0], list) and (not found[0] or not isinstance(found[0][0], (bytes, str))):
        found = [entry for part in found for entry in part]
    entries = []
    for entry_id, fields in (pair for pair in found or () if pair is not None):
        # Those that were trimmed away meanwhile have no id, or no fields.
        if entry_id is not None:
            entries.append(Entry(stream, text(entry_id), _fields(fields)))
    return entries


def _fields(fields: Any) -> dict[str, str]:
    if isinstance(fields, Mapping):
        return {text(name): text(value) for name, value in fields.items()}
    flat = [text(item) for item in fields or ()]
    return dict(zip(flat[::2], flat[1::2]))

"""Every snippet of the README runs as it stands there, but for the address of Redis."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis

from .backends import KINDS, AnyWorker
from .requests import Asker
from .support import PATIENCE_S, Node, Process, RedisCluster, RedisServer, until
from .test_cluster import ask, is_acknowledged

README = Path(__file__).parent.parent / "README.md"
SNIPPETS = re.findall(r"^```python( worker)?\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)

(RIGHTS,) = (line.split() for line in re.findall(r"^```acl\n(.*)\n```", README.read_text(), re.MULTILINE))
(RIGHTS_ON_A_CLUSTER,) = (
    line.split() for line in re.findall(r"^On a Redis Cluster also `(.*)`\.$", README.read_text(), re.MULTILINE)
)


def of_kind(is_worker: bool) -> list[Any]:
    return [
        pytest.param(text, id=f"snippet-{number}")
        for number, (marker, text) in enumerate(SNIPPETS, 1)
        if bool(marker) == is_worker
    ]


def script(snippet: str, server: RedisServer, directory: Path) -> str:
    path = directory / "snippet.py"
    path.write_text(snippet.replace("redis://localhost:6379", server.url))
    return str(path)


@pytest.mark.parametrize("snippet", of_kind(is_worker=False))
def test_a_snippet_runs_to_its_end(snippet: str, server: RedisServer, node: Node, tmp_path: Path) -> None:
    command = [sys.executable, script(snippet, server, tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done


@pytest.mark.parametrize("snippet", of_kind(is_worker=True))
def test_a_worker_answers_until_it_is_stopped(snippet: str, server: RedisServer, asker: Asker, tmp_path: Path) -> None:
    process = Process([sys.executable, script(snippet, server, tmp_path)], tmp_path / "log")
    process.start()
    try:
        until("its group is there", lambda: asker.pending() == 0 or process.has_ended())
        request = asker.ask("dashboard.refresh")
        answer = asker.answer()
        assert answer["request"] == request
        assert answer["data"] in ({"orders": 7}, {"for": "42"})
        process.signal(signal.SIGTERM)
        assert process.wait() == 0, process.log()
    finally:
        process.kill()


@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_needs_no_more_rights_than_it_says(kind: str, server: RedisServer, asker: Asker, client: Any) -> None:
    assert server.cli(*RIGHTS) == "OK"
    stalled = asker.ask("who")
    client.xgroup_create(asker.stream, "dead", "0")
    client.xreadgroup("dead", "dead", {asker.stream: ">"})
    url = f"redis://worker:secret@127.0.0.1:{server.port}"
    worker = AnyWorker(kind, url, "acme", group="dead", claim_idle_ms=300).method("who", lambda request: request.user)
    worker.start()
    assert asker.answer() == {"request": stalled, "data": "42"}
    worker.stop()
    assert [consumer["name"] for consumer in asker.consumers("dead")] == ["dead"], "it could leave"
    # redis-py says its name to servers that take it, and goes on when they don't.
    assert {entry["object"] for entry in client.acl_log()} <= {"client|setinfo"}


@pytest.mark.parametrize("kind", KINDS)
def test_on_a_cluster_it_needs_what_it_says_besides(kind: str, cluster: RedisCluster, cluster_node: Node) -> None:
    for server in cluster.servers:
        assert server.cli(*RIGHTS, *RIGHTS_ON_A_CLUSTER) == "OK"
    url = cluster.url.replace("://", "://worker:secret@")
    worker = AnyWorker(kind, url, "acme", start="0").method("who", lambda request: request.tenant)
    with redis.RedisCluster(host="127.0.0.1", port=cluster.servers[0].port, decode_responses=True) as client:
        worker.start()
        assert ask(client, "acme")["data"] == "acme"
        until("it is acknowledged", lambda: is_acknowledged(client, "fanfare:acme:requests"))
    worker.stop()


def test_there_are_snippets_of_both_kinds() -> None:
    assert {bool(marker) for marker, _ in SNIPPETS} == {True, False}

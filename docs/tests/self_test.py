"""The test of the test: pages that say what is not so must fail, and for that reason."""

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
OTHER = "it doesn't print what the page shows"


@dataclass
class Case:
    what: str
    # A page in which ''' stands for a fence.
    page: str
    # What is said when it fails; nothing when the page holds.
    reason: str = ""
    # Where something has to be waited for in vain.
    step_s: int = 30


SERVER = "'''sh\necho ready; sleep 100\n'''\n'''text output\nready\n'''\n{}\n'''sh\ntrue\n'''\n"
FOLLOWS = """'''sh
touch log
'''
'''sh terminal 2
echo follows; tail -f log
'''
'''text output
follows
'''
'''sh
echo news >>log
'''
'''text output terminal 2
{}
'''
"""
CASES = [
    Case(
        "blocks share a directory and a shell",
        "'''toml a.toml\nb = 1\n'''\n'''sh\nexport C=2\n'''\n"
        "'''sh\ncat a.toml; echo $C\n'''\n'''text output\nb = …\n2\n'''\n",
    ),
    Case("a command that fails", "'''sh\nfalse\ntrue\n'''\n", "this failed: false"),
    Case("a command that is said to fail", "<!-- exit: 3 -->\n'''sh\n(exit 3)\n'''\n"),
    Case("one that doesn't", "<!-- exit: 3 -->\n'''sh\ntrue\n'''\n", "exit status 0, not 3"),
    Case("another output", "'''console\n$ echo one\ntwo\n'''\n", OTHER),
    Case("a silent command", "'''console\n$ true\n$ echo one\none\n'''\n"),
    Case("one that isn't silent", "'''console\n$ echo one\n'''\n", OTHER),
    Case("less output than there is", "'''console\n$ echo one; echo two\none\n'''\n", OTHER),
    Case("output that never comes", "'''sh\nsleep 100 &\n'''\n'''text output\nready\n'''\n", OTHER, step_s=1),
    Case("Ctrl-C", SERVER.format("End it with Ctrl-C.")),
    Case("no Ctrl-C", SERVER.format("And then"), "still runs, and the page doesn't say Ctrl-C", step_s=1),
    Case("nothing to wait for", "'''sh\nsleep 100\n'''\n", "the page shows no output to wait for", step_s=1),
    Case("news in another terminal", FOLLOWS.format("news")),
    Case("other news", FOLLOWS.format("olds"), OTHER, step_s=1),
    Case("a default port", "'''sh\nredis-server --daemonize yes\nuntil redis-cli ping; do sleep 0.1; done\n'''\n"),
    Case("the same, free again", "<!-- given: redis -->\n'''sh\nredis-cli ping\n'''\n'''text output\nPONG\n'''\n"),
    Case("a block without a name", "'''\nmake\n'''\n", "page.md:1: a block that doesn't say what it is"),
    Case("a block that is not run", "<!-- not run: needs the moon -->\n'''sh\nfalse\n'''\n'''sh\ntrue\n'''\n"),
    Case("a mark elsewhere", "<!-- not run: lost -->\nWords.\n'''sh\ntrue\n'''\n", "directly before its block"),
    Case("a link to nowhere", "[there](nowhere.md)\n'''sh\ntrue\n'''\n", "page.md:1: there is no nowhere.md"),
    Case("no such heading", "# Here\n[up](#here) [down](#there)\n'''sh\ntrue\n'''\n", "has no heading #there"),
    Case("a shell that ends", "'''sh\nexit 1\n'''\n", "the shell itself ended"),
    Case("a refusal", "<!-- given: node -->\n'''sh\ncurl http://127.0.0.1:9090/v1/stats\n'''\n", "this failed: curl"),
]


def judged(case: Case) -> str | None:
    """What is wrong, if anything is."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "page.md"
        path.write_text(case.page.replace("'''", "```"))
        command = [sys.executable, HERE, path]
        environment = os.environ | {"DOCS_STEP_S": str(case.step_s)}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=120)
    said = done.stdout + done.stderr
    if done.returncode != bool(case.reason) or case.reason not in said:
        return f"{case.what}: exit status {done.returncode}, and this was said instead of {case.reason!r}:\n{said}"
    return None


if __name__ == "__main__":
    # Most of them wait for something most of the time.
    with ThreadPoolExecutor(4) as pool:
        wrong = [text for text in pool.map(judged, CASES) if text]
    print(*wrong, f"self test: {len(CASES) - len(wrong)} passed, {len(wrong)} failed", sep="\n", flush=True)
    sys.exit(1 if wrong else 0)

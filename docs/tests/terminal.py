"""One terminal of a reader: a shell that lives as long as the page, with a tty for its output, and no prompt.

What a block starts in the background goes on running, and writes between the output of later blocks.
"""

import fcntl
import os
import pty
import select
import signal
import subprocess
import termios
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import shown

# Ctrl-C reaches what runs, not the shell. The command that failed is kept, so that a block of several can say which.
PROLOGUE = """
shopt -s expand_aliases
set -m
trap : INT
trap '[ -n "$docs_failed" ] || docs_failed=$BASH_COMMAND' ERR
"""
RESULT = """
printf '%s %s %s\\n' "$?" "$(jobs -rp | wc -l)" "${docs_failed//$'\\n'/ }" >&"$DOCS_RESULTS"
"""
COLUMNS = 400


@dataclass
class Result:
    status: int
    # How many commands it has left running in the background.
    background: int
    # The command that failed, or nothing.
    failed: str


def _take_terminal() -> None:
    fcntl.ioctl(1, termios.TIOCSCTTY, 0)
    # Who runs this in the background ignores Ctrl-C, and a shell can't take that back.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    def __init__(self, directory: Path, environment: dict[str, str]):
        self.master, slave = pty.openpty()
        attributes = termios.tcgetattr(slave)
        attributes[3] &= ~termios.ECHO
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
        termios.tcsetwinsize(slave, (50, COLUMNS))
        self.results, results = os.pipe()
        self.shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE,
            stdout=slave,
            stderr=slave,
            cwd=directory,
            env=environment | {"DOCS_RESULTS": str(results)},
            start_new_session=True,
            pass_fds=(results,),
            preexec_fn=_take_terminal,
        )
        os.close(slave)
        os.close(results)
        self.heard = ""
        # How much of the output is behind what the page has shown.
        self.seen = 0
        # Whether a block runs, and what came of the last one.
        self.busy = False
        self.result: Result | None = None
        self.block = directory.parent / f"block-{self.shell.pid}"
        threading.Thread(target=self._listen, daemon=True).start()
        self._write(PROLOGUE)

    def _listen(self) -> None:
        while heard := os.read(self.master, 65536):
            self.heard += heard.decode(errors="replace")

    def _write(self, text: str) -> None:
        self.shell.stdin.write(text.encode())
        self.shell.stdin.flush()

    def output(self) -> str:
        """What was printed and not shown yet."""
        return shown.plain(self.heard, complete=not self.busy)[self.seen :]

    def type(self, text: str) -> None:
        """Starts a block."""
        self.seen += len(self.output())
        self.block.write_text(text)
        self.busy, self.result = True, None
        self._write(f"docs_failed=; . {self.block} </dev/null{RESULT}")

    def interrupt(self) -> None:
        """Ctrl-C."""
        os.write(self.master, b"\x03")

    def wait(self, wait_s: float) -> bool:
        """Has the block ended? Then `result` says how, and all of its output is there."""
        if not self.busy:
            return True
        readable, _, _ = select.select([self.results], [], [], wait_s)
        if readable and (line := self._line()):
            status, background, failed = line.split(" ", 2)
            self._settle()
            self.result = Result(int(status), int(background), failed)
        elif readable or self.shell.poll() is not None:
            self.result = Result(self.shell.wait(), 0, "the shell itself ended")
        self.busy = self.result is None
        return not self.busy

    def _line(self) -> str:
        """What the shell tells of a block, or nothing when there is no shell any more."""
        line = b""
        while not line.endswith(b"\n"):
            part = os.read(self.results, 1)
            if not part:
                return ""
            line += part
        return line.decode().rstrip("\n")

    def _settle(self) -> None:
        """A mark that is written to the tty now comes behind all that was written before."""
        mark = f"\x00{time.monotonic_ns()}\x00"
        self._write(f"printf '\\0%s\\0' {mark[1:-1]}\n")
        deadline = time.monotonic() + 10
        while mark not in self.heard and time.monotonic() < deadline:
            time.sleep(0.002)
        self.heard = self.heard.replace(mark, "")

"""Follows one page as a reader would, in an empty directory: types its blocks, saves its files, looks at the output.

It runs where it is: that nothing else is there, and nothing stays, is seen to in `__main__`.
"""

import os
import time
from pathlib import Path

import givens
import shown
from page import File, Given, Step
from terminal import Terminal

# How long a block may take, and what it shows may be waited for.
STEP_S = float(os.environ.get("DOCS_STEP_S", "30"))
# What prints all that is shown and then ends has this long for it, before it is taken for one that goes on running.
ENDING_S = 0.3

# How much of its output a failure tells.
PRINTED_LINES = 60


class Failed(Exception):
    """What the page says is not so."""


class Reader:
    def __init__(self, directory: Path, home: Path, binaries: Path):
        self.directory = directory
        self.environment = {
            "PATH": f"{binaries}:{os.environ['PATH']}",
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "PYTHONUNBUFFERED": "1",
        }
        self.terminals: dict[str, Terminal] = {}
        self.token: str | None = None

    def save(self, file: File) -> None:
        path = self.directory / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text)

    def provide(self, given: Given) -> None:
        for name in given.names:
            if name not in givens.SCRIPTS:
                raise Failed(f"nothing is called {name!r} in docs/tests/givens.py")
            self._run(self._terminal("given"), givens.SCRIPTS[name])

    def take(self, step: Step) -> None:
        terminal = self._terminal(step.terminal)
        if not step.text:
            self._look(terminal, step.shown, 0)
            return
        if step.terminal == "check":
            self._write_down()
        self._free(terminal, step.interrupts)
        terminal.type(self._filled_in(step.text))
        if step.shown is not None:
            self._look(terminal, step.shown, ENDING_S)
        elif not terminal.wait(STEP_S):
            raise _failed("it still runs, and the page shows no output to wait for", terminal)
        _judge(terminal, step.status)

    def _write_down(self) -> None:
        """What every terminal has printed, for the page's own checks: `../terminal-1.txt` and so on."""
        for name, terminal in self.terminals.items():
            (self.directory.parent / f"terminal-{name}.txt").write_text(shown.plain(terminal.heard, complete=True))

    def _terminal(self, name: str) -> Terminal:
        if name not in self.terminals:
            own = givens.ENVIRONMENT if name == "given" else {}
            self.terminals[name] = Terminal(self.directory, self.environment | own)
        return self.terminals[name]

    def _run(self, terminal: Terminal, text: str) -> str:
        """Something that the page doesn't show."""
        terminal.type(text)
        if not terminal.wait(STEP_S):
            raise _failed("it still runs", terminal)
        _judge(terminal, 0)
        return terminal.output()

    def _filled_in(self, text: str) -> str:
        if "<token>" in text and self.token is None:
            self.token = self._run(self._terminal("given"), givens.TOKEN).strip()
        return text.replace("<token>", self.token or "").replace("<API key>", givens.API_KEY)

    def _free(self, terminal: Terminal, interrupts: bool) -> None:
        """The command before in this terminal has to end first."""
        if terminal.busy and interrupts:
            terminal.interrupt()
        if not terminal.wait(STEP_S):
            told = "Ctrl-C doesn't end it" if interrupts else "the page doesn't say Ctrl-C"
            raise _failed(f"what was typed before in this terminal still runs, and {told}", terminal)

    def _look(self, terminal: Terminal, expected: str, ending_s: float) -> None:
        """Waits until all that is shown was printed, or can't be any more."""
        deadline = time.monotonic() + STEP_S
        while time.monotonic() < deadline:
            final = terminal.wait(0.02) and terminal.result and not terminal.result.background
            end = shown.end_of(expected, terminal.output(), whole=False)
            if end is not None and not final:
                final = terminal.wait(ending_s) and not terminal.result.background
            if final and terminal.result.failed and end is None:
                return
            if final:
                end = shown.end_of(expected, terminal.output(), whole=True)
            if end is not None:
                terminal.seen += end
                return
            if final:
                break
            if not terminal.busy:
                time.sleep(0.02)
        raise _failed("it doesn't print what the page shows", terminal)


def _judge(terminal: Terminal, status: int) -> None:
    result = terminal.result
    if result is None:
        return
    if result.failed and status == 0:
        raise _failed(f"this failed: {result.failed}", terminal)
    if result.status != status:
        raise _failed(f"exit status {result.status}, not {status}", terminal)


def _failed(what: str, terminal: Terminal) -> Failed:
    lines = terminal.output().splitlines() or ["(nothing)"]
    return Failed(f"{what}\n  printed:\n" + "".join(f"    {line}\n" for line in lines[-PRINTED_LINES:]))

"""A page of the documentation, read: what a reader would do with it, step by step.

CONTRIBUTING.md ("How the documentation is tested") says how a page is written. Nothing is run here.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

FENCE = re.compile(r"^(?P<indent> *)```(?P<info>.*)$")
COMMENT = re.compile(r"^<!--\s*(?P<name>not run|exit|given|check):\s*(?P<text>.*?)\s*-->", re.DOTALL | re.MULTILINE)
COMMANDS = ("sh", "console", "acl")
UNNAMED = "a block that doesn't say what it is: write `sh` where a reader would run it, `text` where it isn't run"


class PageError(Exception):
    """A page that can't be followed: where, and why."""


@dataclass
class Step:
    """What a reader does at one place of the page."""

    line: int
    text: str
    # Which of the reader's terminals it is typed into.
    terminal: str = "1"
    # The output that the page shows for it, and where.
    shown: str | None = None
    shown_line: int = 0
    status: int = 0
    # The reader is told to press Ctrl-C between the step before in this terminal and this one.
    interrupts: bool = False


@dataclass
class File:
    """A block that the reader saves under a name."""

    line: int
    name: str
    text: str


@dataclass
class Given:
    """What the page takes for granted from here on: names of `givens.py`."""

    line: int
    names: list[str]


@dataclass
class Skipped:
    """A block that is not run, and why."""

    line: int
    text: str
    reason: str


@dataclass
class Page:
    path: Path
    items: list[Step | File | Given | Skipped] = field(default_factory=list)

    @property
    def steps(self) -> list[Step]:
        return [item for item in self.items if isinstance(item, Step)]

    @property
    def skipped(self) -> list[Skipped]:
        return [item for item in self.items if isinstance(item, Skipped)]


@dataclass
class _Block:
    line: int
    info: list[str]
    text: str


def read(path: Path, elsewhere) -> Page:
    """Reads a page. `elsewhere(text)` tells which other test runs a block of commands, or None."""
    page = Page(path)
    interrupted: set[str] = set()
    prose: list[str] = []
    for part in _parts(path):
        if isinstance(part, str):
            prose.append(part)
            continue
        marks = _marks(page, prose, part.line)
        if any("Ctrl-C" in line for line in prose):
            interrupted.update("123456789")
        _take(page, part, marks, interrupted, elsewhere)
        prose = []
    if _marks(page, prose, len(path.read_text().splitlines()) + 1):
        raise PageError(f"{path}: the page ends with a mark that has no block")
    return page


def _marks(page: Page, prose: list[str], end: int) -> dict[str, str]:
    """The marks of the block that begins at line `end`. Other comments before it become items of the page."""
    text = "\n".join(prose)
    marks = {}
    for found in COMMENT.finditer(text):
        line = end - text[found.start() :].count("\n") - 1
        if found["name"] == "given":
            page.items.append(Given(line, re.split(r",\s*", found["text"])))
        elif found["name"] == "check":
            page.items.append(Step(line, f"{found['text']}\n", terminal="check"))
        else:
            marks[found["name"]] = found["text"]
            if COMMENT.sub("", text[found.start() :]).strip():
                raise PageError(f"{page.path}:{line}: this mark must stand directly before its block")
    return marks


def prose(path: Path) -> list[tuple[int, str]]:
    """The lines that are in no block, with their numbers."""
    number, lines = 0, []
    for part in _parts(path):
        if isinstance(part, str):
            number += 1
            lines.append((number, part))
        else:
            number = part.line + part.text.count("\n") + 1
    return lines


def _parts(path: Path):
    """The page's blocks, and the lines between them."""
    opened: tuple[int, list[str], int] | None = None
    lines: list[str] = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        fence = FENCE.match(line)
        if opened is None and fence:
            opened, lines = (number, fence["info"].split(), len(fence["indent"])), []
        elif opened is not None and fence and not fence["info"]:
            start, info, indent = opened
            yield _Block(start, info, "".join(f"{text[indent:]}\n" for text in lines))
            opened = None
        elif opened is not None:
            lines.append(line)
        else:
            yield line
    if opened is not None:
        raise PageError(f"{path}:{opened[0]}: the block has no end")


def _take(page: Page, block: _Block, marks: dict[str, str], interrupted: set[str], elsewhere) -> None:
    where = f"{page.path}:{block.line}"
    if not block.info:
        raise PageError(f"{where}: {UNNAMED}")
    kind, words = block.info[0], block.info[1:]
    if kind in ("bash", "shell", "shell-session"):
        raise PageError(f"{where}: write `sh` instead of `{kind}`")
    if kind == "text" and words[:1] == ["output"]:
        _show(page, block, words[1:])
        return
    if kind not in COMMANDS:
        if words and "." in words[0]:
            page.items.append(File(block.line, words[0], block.text))
        return
    reason = marks.get("not run") or elsewhere(block.text)
    if reason:
        page.items.append(Skipped(block.line, block.text, reason))
        return
    terminal = words[1] if words[:1] == ["terminal"] else "1"
    for step in _steps(kind, block, terminal):
        step.status = int(marks.get("exit", "0"))
        step.interrupts = terminal in interrupted
        interrupted.discard(terminal)
        page.items.append(step)


def _steps(kind: str, block: _Block, terminal: str):
    if kind == "sh":
        yield Step(block.line, block.text, terminal)
    elif kind == "acl":
        for number, line in enumerate(block.text.splitlines(), block.line + 1):
            if line.strip():
                yield Step(number, f"redis-cli {_quoted(line)}\n", "acl", "OK\n", number)
    else:
        yield from _console(block, terminal)


def _quoted(line: str) -> str:
    return " ".join(f"'{word}'" for word in line.split())


def _console(block: _Block, terminal: str):
    """Commands after `$ `, each with the output below it."""
    step = None
    continued = False
    for number, line in enumerate(block.text.splitlines(), block.line + 1):
        if continued:
            step.text += f"{line}\n"
        elif line.startswith("$ "):
            if step:
                yield step
            step = Step(number, f"{line[2:]}\n", terminal, "", number + 1)
        elif step:
            step.shown += f"{line}\n"
        continued = step is not None and not step.shown and step.text.endswith("\\\n")
    if step:
        yield step


def _show(page: Page, block: _Block, words: list[str]) -> None:
    """Output belongs to the last step in its terminal."""
    terminal = words[1] if words[:1] == ["terminal"] else None
    for item in reversed(page.items):
        if isinstance(item, Skipped) and terminal is None:
            return
        if isinstance(item, Step) and item.terminal != "check" and terminal in (None, item.terminal):
            break
    else:
        raise PageError(f"{page.path}:{block.line}: output of nothing: no block before it is run")
    if item is page.steps[-1] and item.shown is None:
        item.shown, item.shown_line = block.text, block.line
    else:
        # Something that another step brought about, in a terminal whose command still runs.
        page.items.append(Step(block.line, "", item.terminal, block.text, block.line))

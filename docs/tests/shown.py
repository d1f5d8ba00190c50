"""Output as a page shows it: `…` stands for anything within a line, a line that is `…` for any lines."""

import re

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def plain(output: str, complete: bool) -> str:
    """What is left of a terminal's output on paper; without its last line as long as that may not be `complete`."""
    lines = [line.rstrip() for line in ESCAPE.sub("", output).replace("\r", "").split("\n")]
    last = lines.pop()
    return "".join(f"{line}\n" for line in lines) + (f"{last}\n" if last and complete else "")


def end_of(shown: str, output: str, whole: bool) -> int | None:
    """How far into the output reaches what the page shows: all of it where `whole`, else its beginning."""
    pattern = ""
    for line in shown.splitlines():
        if line.strip() == "…":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*?".join(re.escape(part) for part in line.rstrip().split("…")) + r"\n"
    found = re.match(pattern + (r"\Z" if whole else ""), output)
    return found.end() if found else None

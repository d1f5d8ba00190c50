"""Links from page to page: that the file is there, and the heading. Addresses of other sites are not looked at."""

import re
from collections import Counter
from pathlib import Path

from page import prose

LINK = re.compile(r"\]\((?!https?:|mailto:)([^)\s#]*)(?:#([^)\s]+))?\)")
HEADING = re.compile(r"^#+ +(.*?) *#*$")


def broken(path: Path) -> list[str]:
    """What is wrong with the links of a page, a line each."""
    wrong = []
    for number, line in prose(path):
        for name, anchor in LINK.findall(re.sub(r"`[^`]*`", "``", line)):
            target = (path.parent / name).resolve() if name else path
            if not target.exists():
                wrong.append(f"{path}:{number}: there is no {name}")
            elif anchor and target.suffix == ".md" and anchor not in anchors(target):
                wrong.append(f"{path}:{number}: {target.name} has no heading #{anchor}")
    return wrong


def anchors(path: Path) -> set[str]:
    """The names that GitHub gives to a page's headings."""
    seen: Counter[str] = Counter()
    found = set()
    for _, line in prose(path):
        if heading := HEADING.match(line):
            text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading[1])
            slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
            seen[slug] += 1
    return found

"""Follows every page of the documentation, or those that are named: `scripts/test-docs docs/quick-start.md`.

CONTRIBUTING.md ("How the documentation is tested") says how pages are written. What a page says is read in `page`,
done in `reader`; this file only chooses the pages, gives each a machine and reports.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from elsewhere import elsewhere
from links import broken as broken_links
from page import File, Given, Page, PageError, Step, read
from reader import Failed, Reader

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/*.md",
    "clients/*/README.md",
    "clients/*/docs/*.md",
    "crates/*/README.md",
    "deploy/**/*.md",
    "examples/*/README.md",
    "helm/*/README.md",
)
# A machine of its own for each page: only a loopback, all default ports free.
# It ends with its page, and with this process.
MACHINE = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
PAGE_S = 300
# A reader sees that an answer is a refusal: the status of this one says so.
CURL = """#!/bin/sh
case " $* " in *' -f'* | *' --fail'*) ;; *) set -- --fail-with-body "$@" ;; esac
exec {curl} --no-progress-meter "$@"
"""


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--follow"]:
        return follow(Path(arguments[1]))
    paths = [Path(name).resolve() for name in arguments] or sorted({path for glob in PAGES for path in ROOT.glob(glob)})
    broken, pages = [], []
    for path in paths:
        try:
            pages.append(read(path, elsewhere))
            broken += broken_links(path)
        except PageError as error:
            broken.append(str(error))
    for page in pages:
        for block in page.skipped:
            say("skip", page.path, block.line, f"{first(block.text)}: {block.reason}")
    followed = sorted((page for page in pages if page.steps), key=lambda page: -len(page.steps))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        failed = [path for path in pool.map(lambda page: on_own_machine(page.path), followed) if path]
    for message in broken:
        print(f"FAILED {message.removeprefix(f'{ROOT}/')}", flush=True)
    for path in failed:
        print(f"FAILED {named(path)}: see above", flush=True)
    passed = sum(len(page.steps) for page in followed if page.path not in failed)
    print(f"{passed} passed, {len(failed) + len(broken)} failed, {sum(len(page.skipped) for page in pages)} skipped")
    # A run of all pages in which nothing was run has tested nothing.
    return 1 if failed or broken or not (passed or arguments) else 0


def on_own_machine(path: Path) -> Path | None:
    """Follows a page in namespaces of its own. Returns it when that failed."""
    mapped = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = [*MACHINE, *mapped, "--", sys.executable, str(Path(__file__).parent), "--follow", str(path)]
    try:
        return path if subprocess.run(command, check=False, timeout=PAGE_S).returncode else None
    except subprocess.TimeoutExpired:
        say("FAILED", path, 1, f"the page takes longer than {PAGE_S} s")
        return path


def follow(path: Path) -> int:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    page = read(path, elsewhere)
    with tempfile.TemporaryDirectory(prefix="fanfare-docs-") as directory:
        places = [Path(directory) / name for name in ("work", "home", "bin")]
        for place in places:
            place.mkdir()
        (places[2] / "fanfare").symlink_to(os.environ["FANFARE_BIN"])
        (places[2] / "curl").write_text(CURL.format(curl=shutil.which("curl")))
        (places[2] / "curl").chmod(0o755)
        return 0 if all_followed(page, Reader(*places)) else 1


def all_followed(page: Page, reader: Reader) -> bool:
    for item in page.items:
        started = time.monotonic()
        try:
            match item:
                case File():
                    reader.save(item)
                case Given():
                    reader.provide(item)
                case Step():
                    reader.take(item)
        except Failed as failed:
            say("FAILED", page.path, item.line, f"{failed}{details(item)}")
            return False
        if isinstance(item, Step):
            what = first(item.text) if item.text else f"terminal {item.terminal} shows {first(item.shown)}"
            say("ok", page.path, item.line, f"{what}  {time.monotonic() - started:.1f} s")
    return True


def details(item: Step | Given) -> str:
    """What was typed, and what the page shows for it."""
    typed, shown = (item.text, item.shown or "") if isinstance(item, Step) else ("", "")
    parts = [("typed", typed), ("the page shows", shown)]
    return "".join(
        f"  {title}:\n" + "".join(f"    {line}\n" for line in text.splitlines()) for title, text in parts if text
    )


def say(verdict: str, path: Path, line: int, what: str) -> None:
    sys.stdout.write(f"{verdict:<4} {named(path)}:{line}  {what}\n")
    sys.stdout.flush()


def named(path: Path) -> str:
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def first(text: str) -> str:
    line = next((line for line in text.splitlines() if line.strip(" …")), "…")
    return line if len(line) <= 100 else f"{line[:99]}…"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

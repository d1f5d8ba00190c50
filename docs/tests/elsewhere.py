"""Blocks that another test runs, or for which no test has the machine: judged by what their commands begin with."""

REASONS = {
    "helm": "helm/tests renders the chart with it",
    "kubectl": "needs a cluster",
    "docker": "deploy/test runs the containers",
    "make": "builds from source; CI runs the targets themselves",
    "cargo": "builds from source",
}


def elsewhere(text: str) -> str | None:
    """The reason why a block is not run here, when all of its commands are of one such kind."""
    joined = text.replace("\\\n", " ")
    commands = [
        line.removeprefix("$ ").split()
        for line in joined.splitlines()
        if line.strip() and not line.lstrip().startswith("#")
    ]
    kinds = {words[0] for words in commands if words}
    found = [REASONS[kind] for kind in sorted(kinds) if kind in REASONS]
    return found[0] if found and len(found) == len(kinds) else None

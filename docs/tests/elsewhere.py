"""Blocks that another test runs, or for which no test has the machine: judged by their first command."""

REASONS = {
    "helm": "helm/tests renders the chart with it",
    "kubectl": "needs a cluster",
    "docker": "deploy/test runs the containers",
    "make": "builds from source; CI runs the targets themselves",
    "cargo": "builds from source",
}


def elsewhere(text: str) -> str | None:
    """The reason why a block that begins with such a command is not run here."""
    commands = [line.removeprefix("$ ").split() for line in text.splitlines() if not line.lstrip().startswith("#")]
    return next((REASONS.get(words[0]) for words in commands if words), None)

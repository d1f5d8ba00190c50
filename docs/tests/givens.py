"""What a page may take for granted (`<!-- given: redis, node -->`), and how it comes about.

A reader of such a page has these running already. `<token>` and `<API key>` in its commands are replaced by theirs.
"""

import secrets

API_KEY = secrets.token_hex(16)
ENVIRONMENT = {"FANFARE_JWT_HS256_SECRET": secrets.token_hex(32), "FANFARE_API_KEYS": f"docs:{API_KEY}"}

SCRIPTS = {
    "redis": """
redis-server --save '' >redis.log 2>&1 &
until [ "$(redis-cli ping 2>&1)" = PONG ]; do sleep 0.02; done
""",
    # On the Redis that was given before it, or else without.
    "node": """
if [ "$(redis-cli ping 2>&1)" = PONG ]; then export FANFARE_BACKPLANE=redis://127.0.0.1:6379; fi
fanfare serve >node.log 2>&1 &
until curl --silent --fail --output ready.log http://127.0.0.1:9090/readyz; do sleep 0.02; done
""",
}

# Its `jti` is that of the pages on revoking.
TOKEN = "fanfare token --tenant acme --user 42 --channels '**' --publish 'channel:**' --methods '**' --id f3a9\n"

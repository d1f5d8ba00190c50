"""A backend of a dashboard: it counts orders, tells every open dashboard when the figures change, and answers those
that ask for fresh ones. Run it as the README beside it says."""

from __future__ import annotations

import logging
import os
import random
import threading
from typing import Any

from fanfare import FanfareError, Publisher, Request, RequestError, Worker, channel

REDIS_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379")
TENANT_NAME = os.environ.get("TENANT", "acme")
ORDER_INTERVAL_S = float(os.environ.get("ORDER_INTERVAL_S", "2"))

log = logging.getLogger("dashboard")
publisher = Publisher(REDIS_URL)
worker = Worker(REDIS_URL, TENANT_NAME, group="dashboard")


class Orders:
    """The orders of today. A real backend asks its database."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count, self._cents = 0, 0

    def add(self, cents: int) -> None:
        """One more order."""
        with self._lock:
            self._count, self._cents = self._count + 1, self._cents + cents

    def figures(self) -> dict[str, Any]:
        """What a dashboard shows."""
        with self._lock:
            # Money as text: what a browser does to large numbers is nothing for a balance sheet.
            return {"orders": self._count, "revenue": f"{self._cents / 100:.2f}"}


orders = Orders()


@worker.method("dashboard.refresh")
def refresh(request: Request) -> dict[str, Any]:
    """Answers `{"op":"request","method":"dashboard.refresh","data":{"range":"today"}}`."""
    data = {} if request.data is None else request.data
    if not isinstance(data, dict):  # it is whatever the client sent
        raise RequestError("bad_frame", "data is no map")
    wanted = data.get("range", "today")
    if wanted != "today":
        raise RequestError("unavailable", f"there are no figures of {wanted!r}, only of today")
    log.info("%s asks for fresh figures, and waits %.1f s for them", request.user, request.remaining)
    return orders.figures()


def sell(stopped: threading.Event) -> None:
    """Takes an order now and then, and tells whoever looks at the dashboard."""
    while not stopped.wait(ORDER_INTERVAL_S):
        orders.add(random.randint(100, 20_000))  # noqa: S311 - no secret
        try:
            # Durable, so that a page that was offline catches up; one key, since only the latest figures count.
            publisher.publish(
                TENANT_NAME, channel("dashboard"), "dashboard.updated", orders.figures(), key="figures", durable=True
            )
        except FanfareError as error:
            log.warning("the figures were not published: %s", error)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    stopped = threading.Event()
    seller = threading.Thread(target=sell, args=[stopped])
    seller.start()
    worker.run()  # until Ctrl-C or SIGTERM
    stopped.set()
    seller.join()

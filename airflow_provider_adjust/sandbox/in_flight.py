"""The number of requests in flight, in total and per lane. It proves that a sender keeps one in flight per lane."""

from __future__ import annotations

import asyncio

from airflow_provider_adjust.sandbox.connections import client_has_left


class InFlight:
    """Counts requests from the arrival of their last byte to the last byte of their answer."""

    def __init__(self) -> None:
        self._requests = 0
        self._lanes: dict[int, list[asyncio.Transport]] = {}
        self.max_concurrent = 0
        self.max_concurrent_per_lane = 0

    def enter(self, lanes: tuple[int, ...], transport: asyncio.Transport) -> None:
        """Count a request that has arrived."""
        self._requests += 1
        self.max_concurrent = max(self.max_concurrent, self._requests)
        for lane in lanes:
            others = self._lanes.get(lane)
            if others is None:
                self._lanes[lane] = [transport]
                deepest = 1
            else:
                # A sender that gave up on an answer may send again before this process notices that it left.
                others[:] = [other for other in others if not client_has_left(other)]
                others.append(transport)
                deepest = len(others)
            self.max_concurrent_per_lane = max(self.max_concurrent_per_lane, deepest)

    def leave(self, lanes: tuple[int, ...], transport: asyncio.Transport) -> None:
        """Count a request as ended, answered or not."""
        self._requests -= 1
        for lane in lanes:
            # `enter` may have removed the request because its client had left, and then the lane may be gone too.
            transports = self._lanes.get(lane, [])
            if transport in transports:
                transports.remove(transport)
                if not transports:
                    del self._lanes[lane]

"""Requests that are answered together, so that what each needs of a disk is done once for all of them."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

import anyio.to_thread

Q = TypeVar("Q")
A = TypeVar("A")

MOST: Final = 64


class Groups(Generic[Q, A]):
    """Answers in a thread all requests that wait. Those that arrive meanwhile are the next group, so nobody waits for company."""

    def __init__(self, answer_all: Callable[[Sequence[Q]], Sequence[A]]) -> None:
        self._answer_all = answer_all
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []
        self._worker: asyncio.Task[None] | None = None
        self._thread: anyio.CapacityLimiter | None = None

    async def answer(self, request: Q) -> A:
        """The answer to a request. Raises what answering its group raised."""
        answered: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, answered))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await answered

    async def _work(self) -> None:
        self._thread = self._thread or anyio.CapacityLimiter(1)
        while self._waiting:
            group, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            requests = [request for request, _ in group]
            try:
                answers = await anyio.to_thread.run_sync(self._answer_all, requests, limiter=self._thread)
            except Exception as raised:  # noqa: BLE001 - raised again where each answer is awaited
                for _, answered in group:
                    if not answered.done():
                        answered.set_exception(raised)
                continue
            for (_, answered), answer in zip(group, answers, strict=True):
                if not answered.done():  # the caller may have gone
                    answered.set_result(answer)

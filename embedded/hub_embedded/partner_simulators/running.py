"""Runs the simulated partners on loopback, inside this process or as one of its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI


@asynccontextmanager
async def served(app: FastAPI, port: int = 0) -> AsyncIterator[str]:
    """Serve an application on loopback until the block ends; yields its base URL. Port 0 takes a free one."""
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host="127.0.0.1",
            port=port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=1,
        )
    )
    # Its own signal handling would stop the process that hosts it.
    task = asyncio.create_task(server._serve())  # noqa: SLF001
    while not server.started and not task.done():  # noqa: ASYNC110  uvicorn offers no event to await
        await asyncio.sleep(0.01)
    if task.done():
        task.result()
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task

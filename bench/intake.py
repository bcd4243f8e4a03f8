"""Intake's whole HTTP path, beside a bare FastAPI route with the same model and one committed INSERT."""

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
import uvloop

from bench.load import Load, post_all
from bench.measuring import Row, percentile, postgres, report
from bench.sample import SYSTEM, bodies
from hub_intake.service import SERVICE
from hub_kernel.auth import LocalIssuer
from hub_kernel.migrating import migrate
from hub_kernel.runtime import serve
from hub_kernel.settings import Settings

ROUNDS = 3
REQUESTS = 4_000
CONNECTIONS = 64
WARM_UP = 300


def main() -> None:
    """Each round: a fresh process of each server, warmed up, then the same number of new referrals."""
    ours: list[Load] = []
    bare: list[Load] = []
    with postgres() as server, tempfile.TemporaryDirectory() as directory:
        dsn = server.dsn()
        uvloop.run(migrate(dsn, [SERVICE]))
        token = LocalIssuer(Path(directory) / "issuer.key", "referral-hub").token(
            "records_system", subject="bench", system=SYSTEM
        )
        for number in range(ROUNDS):
            ours.append(_round("ours", dsn, directory, token, number))
            bare.append(_round("bare", dsn, directory, token, number))
    rows = [
        Row.of(
            f"post-{CONNECTIONS}",
            "requests/s",
            [load.rate for load in ours],
            {"bare-fastapi": [load.rate for load in bare]},
            p50_ms=round(percentile([t for load in ours for t in load.took], 0.5) * 1_000, 1),
            p99_ms=round(percentile([t for load in ours for t in load.took], 0.99) * 1_000, 1),
            rival_p99_ms=round(percentile([t for load in bare for t in load.took], 0.99) * 1_000, 1),
        )
    ]
    report("intake", rows)


def _round(which: str, dsn: str, directory: str, token: str, number: int) -> Load:
    with _server(which, dsn, directory) as port:
        warm = bodies(WARM_UP, seed=f"{which}-{number}-warm")
        uvloop.run(_post(port, warm, token))
        load = uvloop.run(_post(port, bodies(REQUESTS, seed=f"{which}-{number}"), token))
    if load.statuses != {201: REQUESTS}:
        raise RuntimeError(f"{which} answered {load.statuses}")
    return load


async def _post(port: int, requests: list[bytes], token: str) -> Load:
    return await post_all(
        port, "/v1/referrals", requests, token, connections=CONNECTIONS, content_type="application/json"
    )


@contextmanager
def _server(which: str, dsn: str, directory: str) -> Iterator[int]:
    command = [sys.executable, "-m", "bench.intake", which, dsn, directory]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            if process.stdout is None:
                raise RuntimeError("no output to read the port from")
            yield int(process.stdout.readline())
        finally:
            process.terminate()
            process.wait(timeout=20)


async def _serve_ours(dsn: str, directory: str) -> None:
    async def tell(_hub: object, url: str) -> None:
        sys.stdout.write(url.rpartition(":")[2] + "\n")
        sys.stdout.flush()

    await serve([SERVICE], Settings(data_dir=Path(directory), port=0), dsn, started=tell)


async def _serve_bare(dsn: str) -> None:
    """What a careful developer writes in ten minutes: validate, insert, commit, answer."""
    import asyncpg  # noqa: PLC0415  only this process needs them
    from fastapi import FastAPI, Request  # noqa: PLC0415

    from hub_schemas.referral import Referral  # noqa: PLC0415

    pool = await asyncpg.create_pool(dsn, min_size=8, max_size=8)
    await pool.execute(
        "CREATE TABLE IF NOT EXISTS public.bare (id bigserial PRIMARY KEY, record text, body bytea)"
    )
    app = FastAPI()

    @app.post("/v1/referrals", status_code=201)
    async def submit(request: Request) -> dict[str, int]:
        # The model is strict, so it reads JSON itself: faster than handing FastAPI's parsed values over.
        referral = Referral.model_validate_json(await request.body())
        number = await pool.fetchval(
            "INSERT INTO public.bare (record, body) VALUES ($1, $2) RETURNING id",
            referral.source.record_id,
            referral.model_dump_json().encode(),
        )
        return {"id": number}

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  uvicorn offers no event to await
        await asyncio.sleep(0.02)
    sys.stdout.write(f"{server.servers[0].sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await serving


if __name__ == "__main__":
    uvloop.run(_serve_ours(*sys.argv[2:4]) if sys.argv[1] == "ours" else _serve_bare(sys.argv[2]))

"""The routes of intake."""

from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from fastapi import APIRouter, Depends, Header, Request
from starlette.responses import Response, StreamingResponse

from hub_intake.api.bodies import InformationBody, WithdrawalBody
from hub_intake.api.bulk import LinesResponse, bulk_results
from hub_intake.api.cloudevents import (
    JSON,
    STRUCTURED,
    check_binary,
    is_binary,
    require_content_type,
    unwrap_structured,
)
from hub_intake.api.openapi import json_body, lines_body, referral_body
from hub_intake.api.reading import Reading
from hub_intake.api.receiving import Receipt, Receiving, sender_of
from hub_kernel.auth import Principal
from hub_kernel.web import allow

NDJSON: Final = "application/x-ndjson"

RecordsSystem = Annotated[Principal, Depends(allow("records_system"))]
Reader = Annotated[Principal, Depends(allow("records_system", "assessor", "auditor", "operator"))]
AccessReasonHeader = Annotated[str | None, Header(alias="Access-Reason")]

_encoder = msgspec.json.Encoder()
_RECEIPTS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "All of this was held already; nothing was recorded."},
    201: {"description": "Recorded. Location is the referral."},
}


def routes(receiving: Receiving, reading: Reading) -> APIRouter:
    """Everything intake answers. Bodies are read as bytes, once, by the model itself."""
    router = APIRouter(prefix="/v1/referrals")

    @router.post("", status_code=201, responses=_RECEIPTS, openapi_extra=referral_body())
    async def submit(request: Request, principal: RecordsSystem) -> Response:
        """Send a referral: JSON, or a CloudEvent (structured or binary) that carries it. Safe to repeat."""
        sender = sender_of(principal)
        return _answer(await receiving.submit(await _document(request), sender))

    @router.post("/batch", responses={200: {"content": {NDJSON: {}}}}, openapi_extra=lines_body())
    async def submit_batch(request: Request, principal: RecordsSystem) -> Response:
        """Send many referrals, one a line (NDJSON). One result a line comes back, in order."""
        sender = sender_of(principal)
        _require_content_type(request, NDJSON)
        return LinesResponse(bulk_results(request.stream(), lambda raw: receiving.submit(raw, sender)))

    @router.post(
        "/{referral_id}/amendments", status_code=201, responses=_RECEIPTS, openapi_extra=referral_body()
    )
    async def amend(referral_id: UUID, request: Request, principal: RecordsSystem) -> Response:
        """Send a later version of a referral's record, whole. Safe to repeat."""
        sender = sender_of(principal)
        return _answer(await receiving.amend(referral_id, await _document(request), sender))

    @router.post(
        "/{referral_id}/information",
        status_code=201,
        responses=_RECEIPTS,
        openapi_extra=json_body(InformationBody),
    )
    async def inform(referral_id: UUID, request: Request, principal: RecordsSystem) -> Response:
        """Add what became known later. Safe to repeat under the same information_id."""
        sender = sender_of(principal)
        _require_content_type(request, JSON)
        return _answer(await receiving.inform(referral_id, await request.body(), sender))

    @router.post(
        "/{referral_id}/withdrawal",
        status_code=201,
        responses=_RECEIPTS,
        openapi_extra=json_body(WithdrawalBody),
    )
    async def withdraw(referral_id: UUID, request: Request, principal: RecordsSystem) -> Response:
        """Take a referral back. Safe to repeat for the same reason."""
        sender = sender_of(principal)
        _require_content_type(request, JSON)
        return _answer(await receiving.withdraw(referral_id, await request.body(), sender))

    @router.get("/{referral_id}")
    async def read(
        referral_id: UUID, principal: Reader, access_reason: AccessReasonHeader = None
    ) -> Response:
        """Read a referral as it stands; its document too, for those who may and say why."""
        view = await reading.view(referral_id, principal, access_reason)
        return Response(_encoder.encode(view), media_type=JSON)

    @router.get("/{referral_id}/events", responses={200: {"content": {NDJSON: {}}}})
    async def read_events(
        referral_id: UUID, principal: Reader, access_reason: AccessReasonHeader = None
    ) -> Response:
        """Read a referral's events in order, one a line; sealed parts for an auditor who says why."""
        lines = await reading.events(referral_id, principal, access_reason)
        return StreamingResponse(lines, media_type=NDJSON)

    return router


async def _document(request: Request) -> bytes:
    """The referral's JSON, out of whichever form carries it."""
    if is_binary(request.headers):
        check_binary(request.headers)
        _require_content_type(request, JSON)
        return await request.body()
    if _require_content_type(request, JSON, STRUCTURED) == STRUCTURED:
        return unwrap_structured(await request.body())
    return await request.body()


def _require_content_type(request: Request, *taken: str) -> str:
    return require_content_type(request.headers.get("content-type"), *taken)


def _answer(receipt: Receipt) -> Response:
    return Response(
        _encoder.encode(receipt),
        201 if receipt.outcome == "recorded" else 200,
        {"Location": f"/v1/referrals/{receipt.referral_id}"},
        JSON,
    )

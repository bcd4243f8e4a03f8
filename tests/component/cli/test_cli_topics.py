import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from hub_embedded.kafka_broker import KafkaBroker
from hub_kernel.clock import new_id

HUB = Path(sys.executable).with_name("hub")
PARTNERS = json.dumps(
    {
        "884-childrens_services": {"topic": True, "principal": "User:herefordshire"},
        "885-childrens_services": {"url": "https://partner.example", "token": "t"},
    }
)
FACTS = [
    "hub.intake.facts.v1",
    "hub.triage.facts.v1",
    "hub.partner_gateway.facts.v1",
    "hub.oversight.facts.v1",
]
WEEK, FORTNIGHT = 604_800_000, 1_209_600_000
KEPT_MS = {
    **dict.fromkeys(FACTS, -1),
    "referrals.inbound.v1": WEEK,
    "referrals.replies.v1": WEEK,
    "partner.884.childrens_services.v1": FORTNIGHT,
}


async def hub(*arguments: str, **settings: str) -> tuple[int, str, str]:
    """Run the real command: exit code, standard output, standard error."""
    process = await asyncio.create_subprocess_exec(
        HUB, *arguments, env={"LC_ALL": "C.UTF-8", "COLUMNS": "160", **settings},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    out, error = await process.communicate()
    return process.returncode or 0, out.decode(), error.decode()


@pytest.fixture
def settings(kafka: KafkaBroker) -> dict[str, str]:
    """A broker, and a prefix of this test's own."""
    return {
        "HUB_BUS_URL": f"kafka://{kafka.bootstrap}",
        "HUB_KAFKA_PREFIX": f"{new_id().hex}.",
        "HUB_PARTNERS": PARTNERS,
    }


async def test_what_is_missing_is_made_once_and_listed_with_how_long_it_is_kept(
    settings: dict[str, str],
) -> None:
    first, second = [await hub("topics", "--json", **settings) for _ in range(2)]
    prefix = settings["HUB_KAFKA_PREFIX"]
    for (code, out, error), state in ((first, "made"), (second, "there")):
        assert (code, error) == (0, "")
        assert [json.loads(line) for line in out.splitlines()] == [
            {
                "topic": f"{prefix}{topic}",
                "state": state,
                "partitions": 2,
                "partitions_wanted": 2,
                "retention_ms": kept_ms,
            }
            for topic, kept_ms in KEPT_MS.items()
        ]


async def test_a_topic_with_other_partitions_is_named_and_left_alone(
    settings: dict[str, str], kafka: KafkaBroker
) -> None:
    name = f"{settings['HUB_KAFKA_PREFIX']}{FACTS[0]}"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, 3, 1)])
    finally:
        await admin.close()
    code, out, error = await hub("topics", HUB_LOG_LEVEL="ERROR", **settings)
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if "│" in line]
    assert (code, rows[0]) == (0, [name, "there", "3", "7 days"])
    assert [row[1:] for row in rows[1:]] == [
        ["made", "2", kept] for kept in ("for ever", "for ever", "for ever", "7 days", "7 days", "14 days")
    ]
    assert error == (
        f"{name} has 3 partitions; HUB_BUS_PARTITIONS says 2. It works as it is. Added partitions would take "
        "keys elsewhere.\n"
    )


async def test_on_the_log_bus_there_are_no_topics() -> None:
    assert await hub("topics") == (
        1,
        "",
        "HUB_BUS_URL names the log bus, which has no topics. Set it to kafka://host:port and repeat.\n",
    )


async def test_a_broker_that_does_not_answer_is_told_in_one_line() -> None:
    code, out, error = await hub("topics", HUB_BUS_URL="kafka://127.0.0.1:1", HUB_LOG_LEVEL="ERROR")
    assert (code, out) == (1, "")
    assert error.splitlines()[-1].startswith("Kafka does not answer.")


async def test_partners_that_cannot_be_read_are_told_without_echoing_them(settings: dict[str, str]) -> None:
    wrong = json.dumps({"884-childrens_services": {"topic": True, "principal": "User:*"}})
    code, out, error = await hub("topics", **settings | {"HUB_PARTNERS": wrong})
    assert (code, out, error.startswith("HUB_PARTNERS cannot be used."), "*" in error) == (1, "", True, False)

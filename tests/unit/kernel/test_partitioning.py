import pytest

from hub_kernel.partitioning import murmur2, partition_of


@pytest.mark.parametrize(
    ("key", "signed"),
    [
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ("abc", 479470107),
    ],
)
def test_murmur2_gives_the_values_kafka_publishes(key: str, signed: int) -> None:
    assert murmur2(key.encode()) == signed % 2**32


@pytest.mark.parametrize("partitions", [1, 3, 4, 1024])
def test_a_key_goes_to_the_partition_kafka_would_choose(partitions: int) -> None:
    positive = {"21": -973932308 & 0x7FFFFFFF, "abc": 479470107}
    assert {key: partition_of(key, partitions) for key in positive} == {
        key: value % partitions for key, value in positive.items()
    }


def test_every_partition_gets_keys() -> None:
    assert {partition_of(f"key-{n}", 16) for n in range(500)} == set(range(16))

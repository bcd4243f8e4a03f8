"""The small Kafka cluster that librdkafka carries inside the confluent-kafka wheel, driven from outside.

It speaks Kafka's protocol and can be told to fail: leaders move, brokers go down, requests are answered with
errors. It does not do groups of several members, transactions, admin requests or retention.
"""

import ctypes
from collections.abc import Mapping
from ctypes import POINTER, c_char_p, c_int, c_int16, c_int32, c_size_t, c_void_p
from functools import cache
from importlib import metadata
from types import TracebackType
from typing import Any, Final, Self

BROKERS: Final = 3
PRODUCE, FETCH = 0, 1
"""Keys of requests, as Kafka's protocol numbers them."""
NOT_LEADER, REQUEST_TIMED_OUT, NOT_ENOUGH_REPLICAS = 6, 7, 19
"""Codes of errors, as Kafka's protocol numbers them."""

_PRODUCER: Final = 0
_SIGNATURES: Final[Mapping[str, tuple[Any, tuple[Any, ...]]]] = {
    "rd_kafka_conf_new": (c_void_p, ()),
    "rd_kafka_conf_set": (c_int, (c_void_p, c_char_p, c_char_p, c_char_p, c_size_t)),
    "rd_kafka_new": (c_void_p, (c_int, c_void_p, c_char_p, c_size_t)),
    "rd_kafka_destroy": (None, (c_void_p,)),
    "rd_kafka_err2str": (c_char_p, (c_int,)),
    "rd_kafka_mock_cluster_new": (c_void_p, (c_void_p, c_int)),
    "rd_kafka_mock_cluster_destroy": (None, (c_void_p,)),
    "rd_kafka_mock_cluster_bootstraps": (c_char_p, (c_void_p,)),
    "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, (c_void_p, c_int32)),
    "rd_kafka_mock_topic_create": (c_int, (c_void_p, c_char_p, c_int, c_int)),
    "rd_kafka_mock_partition_set_leader": (c_int, (c_void_p, c_char_p, c_int32, c_int32)),
    "rd_kafka_mock_push_request_errors_array": (None, (c_void_p, c_int16, c_size_t, POINTER(c_int))),
    "rd_kafka_mock_broker_set_down": (c_int, (c_void_p, c_int32)),
    "rd_kafka_mock_broker_set_up": (c_int, (c_void_p, c_int32)),
    "rd_kafka_mock_broker_set_rtt": (c_int, (c_void_p, c_int32, c_int)),
}


class MockCluster:
    """Three brokers, numbered from 1, on free ports of the loopback; gone with ``close`` or the block.

    It keeps at most 5 MB or 100,000 records of a partition. Calls return at once; every one that is refused
    raises ValueError with librdkafka's reason.
    """

    def __init__(self) -> None:
        self._librdkafka = _librdkafka()
        why = ctypes.create_string_buffer(256)
        # The cluster hangs on a client that is otherwise never used, and would complain of that.
        settings = self._librdkafka.rd_kafka_conf_new()
        self._librdkafka.rd_kafka_conf_set(settings, b"log_level", b"0", why, len(why))
        self._client = self._librdkafka.rd_kafka_new(_PRODUCER, settings, why, len(why))
        assert self._client, why.value.decode()
        self._cluster = self._librdkafka.rd_kafka_mock_cluster_new(self._client, BROKERS)
        assert self._cluster, "librdkafka makes no mock cluster"
        self._librdkafka.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)
        self._is_open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def bootstrap(self) -> str:
        """Where the brokers answer: ``host:port,host:port,host:port``."""
        return str(self._librdkafka.rd_kafka_mock_cluster_bootstraps(self._cluster).decode())

    def create_topic(self, name: str, partitions: int = 1) -> None:
        """Makes a topic on all brokers."""
        self._call("rd_kafka_mock_topic_create", name.encode(), partitions, BROKERS)

    def set_leader(self, topic: str, partition: int, broker: int) -> None:
        """Moves the leader; the former one answers NOT_LEADER from now on."""
        self._call("rd_kafka_mock_partition_set_leader", topic.encode(), partition, broker)

    def push_errors(self, api_key: int, *codes: int) -> None:
        """Has the next requests of this kind, to whichever broker, answered with these errors, one each."""
        self._librdkafka.rd_kafka_mock_push_request_errors_array(
            self._cluster, api_key, len(codes), (c_int * len(codes))(*codes)
        )

    def broker_down(self, broker: int) -> None:
        """Cuts the broker's connections and lets nobody in."""
        self._call("rd_kafka_mock_broker_set_down", broker)

    def broker_up(self, broker: int) -> None:
        """Lets clients in again; what the broker held is still there."""
        self._call("rd_kafka_mock_broker_set_up", broker)

    def set_rtt(self, milliseconds: int) -> None:
        """Has every broker answer this much later."""
        for broker in range(1, BROKERS + 1):
            self._call("rd_kafka_mock_broker_set_rtt", broker, milliseconds)

    def close(self) -> None:
        """Ends the brokers and all they hold. Safe to repeat."""
        if self._is_open:
            self._is_open = False
            self._librdkafka.rd_kafka_mock_cluster_destroy(self._cluster)
            self._librdkafka.rd_kafka_destroy(self._client)

    def _call(self, name: str, *arguments: object) -> None:
        code = getattr(self._librdkafka, name)(self._cluster, *arguments)
        if code:
            raise ValueError(self._librdkafka.rd_kafka_err2str(code).decode())


@cache
def _librdkafka() -> Any:
    """The library the wheel brings, loaded past its Python bindings, which do not show the mock cluster."""
    files = metadata.distribution("confluent-kafka").files or []
    [path] = [file for file in files if file.name.startswith("librdkafka") and ".py" not in file.name]
    library = ctypes.CDLL(str(path.locate()))
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library

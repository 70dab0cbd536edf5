"""The parts of Faust and aiokafka that the worker overrides have not changed since it was written.

A failure here means that an upgrade changed one: read the new source, adapt `agents/worker`, run
the tests on a broker, then update the fingerprints to those that the failure prints.
"""

from __future__ import annotations

import hashlib
import inspect
from typing import Any

import aiokafka
import faust
import pytest
from aiokafka.consumer import fetcher
from faust.app.base import App, BootStrategy
from faust.assignor import PartitionAssignor
from faust.assignor.client_assignment import ClientAssignment, ClientMetadata
from faust.serializers.schemas import Schema
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.transport.base import Transport
from faust.transport.consumer import Consumer, Fetcher, ThreadDelegateConsumer
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, ConsumerRebalanceListener
from faust.transport.drivers.aiokafka import Consumer as AIOKafkaConsumer

from driftline.agents.worker import app, fetch_thread, transport

# Overridden, or relied upon by an override.
WATCHED: dict[str, Any] = {
    "Consumer.__init__": Consumer.__init__,
    "Consumer.perform_seek": Consumer.perform_seek,
    "Consumer.getmany": Consumer.getmany,
    "Consumer._drain_messages": Consumer._drain_messages,
    "Consumer.force_commit": Consumer.force_commit,
    "Consumer.commit": Consumer.commit,
    "Consumer.commit_and_end_transactions": Consumer.commit_and_end_transactions,
    "Consumer.wait_empty": Consumer.wait_empty,
    "Consumer.ack": Consumer.ack,
    "Consumer.on_stop": Consumer.on_stop,
    "Consumer.on_buffer_full": Consumer.on_buffer_full,
    "Consumer.on_buffer_drop": Consumer.on_buffer_drop,
    "Consumer.resume_flow": Consumer.resume_flow,
    "Consumer.on_partitions_revoked": Consumer.on_partitions_revoked,
    "Consumer.on_partitions_assigned": Consumer.on_partitions_assigned,
    "Consumer.verify_all_partitions_active": Consumer.verify_all_partitions_active,
    "ThreadDelegateConsumer._getmany": ThreadDelegateConsumer._getmany,
    "AIOKafkaConsumer._new_consumer_thread": AIOKafkaConsumer._new_consumer_thread,
    "AIOKafkaConsumerThread._create_worker_consumer": (
        AIOKafkaConsumerThread._create_worker_consumer
    ),
    "AIOKafkaConsumerThread._fetch_records": AIOKafkaConsumerThread._fetch_records,
    "AIOKafkaConsumerThread.on_start": AIOKafkaConsumerThread.on_start,
    "AIOKafkaConsumerThread.getmany": AIOKafkaConsumerThread.getmany,
    "ConsumerRebalanceListener": ConsumerRebalanceListener,
    "Fetcher": Fetcher,
    "Transport.create_consumer": Transport.create_consumer,
    "Schema.compile": Schema.compile,
    "App._new_transport": App._new_transport,
    "App._create_directories": App._create_directories,
    "App._stop_consumer": App._stop_consumer,
    "App._on_partitions_revoked": App._on_partitions_revoked,
    "App._on_partitions_assigned": App._on_partitions_assigned,
    "BootStrategy": BootStrategy,
    "TableManager.on_start": TableManager.on_start,
    "Recovery._resume_streams": Recovery._resume_streams,
    "PartitionAssignor": PartitionAssignor,
    "ClientAssignment": ClientAssignment,
    "ClientMetadata": ClientMetadata,
    "aiokafka.FetchResult": fetcher.FetchResult,
    "aiokafka.PartitionRecords": fetcher.PartitionRecords,
    "aiokafka.Fetcher.fetched_records": fetcher.Fetcher.fetched_records,
    "aiokafka.Fetcher._get_actions_per_node": fetcher.Fetcher._get_actions_per_node,
    "aiokafka.Fetcher._proc_fetch_request": fetcher.Fetcher._proc_fetch_request,
}
FINGERPRINTS = {
    "Consumer.__init__": "afdc70c0cae55bff",
    "Consumer.perform_seek": "907234e153925494",
    "Consumer.getmany": "b3651b6ff09e9d5b",
    "Consumer._drain_messages": "51f5d28b77953a29",
    "Consumer.force_commit": "46a66c09c294374a",
    "Consumer.commit": "87183690eb528cb9",
    "Consumer.commit_and_end_transactions": "b561c600d8b7b047",
    "Consumer.wait_empty": "e6ba6b8dd2510ab0",
    "Consumer.ack": "15d084b0e9255300",
    "Consumer.on_stop": "a794dedd5fd14367",
    "Consumer.on_buffer_full": "5221a84ed528308f",
    "Consumer.on_buffer_drop": "24d93ad07b578903",
    "Consumer.resume_flow": "a38453ab71324d3b",
    "Consumer.on_partitions_revoked": "901b70cdae5c18f3",
    "Consumer.on_partitions_assigned": "accafbb022f7b720",
    "Consumer.verify_all_partitions_active": "354e715df3536855",
    "ThreadDelegateConsumer._getmany": "e8acf8ed91604cd6",
    "AIOKafkaConsumer._new_consumer_thread": "89ce55d44796a2e9",
    "AIOKafkaConsumerThread._create_worker_consumer": "936e53aab137bb69",
    "AIOKafkaConsumerThread._fetch_records": "dcc2d96f49713c19",
    "AIOKafkaConsumerThread.on_start": "12c5c1cb30e3dbe4",
    "AIOKafkaConsumerThread.getmany": "4d24d3cd32851e55",
    "ConsumerRebalanceListener": "d13d1c47514acfe6",
    "Fetcher": "b056de854066fd66",
    "Transport.create_consumer": "80282e23de326c61",
    "Schema.compile": "fa59f3eddbb54263",
    "App._new_transport": "656aa2daa28e9ddc",
    "App._create_directories": "62e6a6b4922ce26d",
    "App._stop_consumer": "b6ebffb2c2c1f557",
    "App._on_partitions_revoked": "99aa6ba163476c6f",
    "App._on_partitions_assigned": "70e1f11219628b5a",
    "BootStrategy": "91ac558dc759aca4",
    "TableManager.on_start": "cb16baea895f3919",
    "Recovery._resume_streams": "60cc8b191fe8b649",
    "PartitionAssignor": "cdbb62071ab84495",
    "ClientAssignment": "5a5e12b3a3304ccc",
    "ClientMetadata": "67123acd7389ad53",
    "aiokafka.FetchResult": "74da770b5ff58b32",
    "aiokafka.PartitionRecords": "6964bebe83eb07d2",
    "aiokafka.Fetcher.fetched_records": "6432ce7f8eab840c",
    "aiokafka.Fetcher._get_actions_per_node": "e8103476ca3cc2c9",
    "aiokafka.Fetcher._proc_fetch_request": "51e66543d787a186",
}


@pytest.mark.parametrize("name", WATCHED)
def test_overridden_part_has_not_changed(name: str) -> None:
    present = _fingerprint(WATCHED[name])
    assert FINGERPRINTS.get(name) == present, (
        f'{name} changed upstream: read it, adapt agents/worker, then write "{name}": "{present}"'
    )


def test_every_override_is_watched() -> None:
    ours = {
        AIOKafkaConsumer: transport.MicroBatchConsumer,
        AIOKafkaConsumerThread: fetch_thread.FetchThread,
        App: app.App,
        Schema: transport.PassThroughSchema,
        TableManager: app.NoTables,
    }
    watched = {name.rpartition(".")[2] for name in WATCHED}
    for theirs, replacement in ours.items():
        overridden = {
            name
            for name, value in vars(replacement).items()
            if inspect.isfunction(value) and hasattr(theirs, name)
        }
        assert overridden - {"__init__"} <= watched


def test_installed_versions_are_those_that_were_read() -> None:
    assert faust.__version__ == app.FAUST_VERSION
    assert aiokafka.__version__.startswith("0.14.")


def test_another_version_of_faust_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faust, "__version__", "0.15.4")
    with pytest.raises(
        app.UnsupportedFaust,
        match=r"needs faust-streaming 0\.15\.3 exactly.* 0\.15\.4 is installed",
    ):
        app.check_faust()


def _fingerprint(part: Any) -> str:
    return hashlib.blake2b(inspect.getsource(part).encode(), digest_size=8).hexdigest()

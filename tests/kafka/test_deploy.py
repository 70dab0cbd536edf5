"""deploy/ and the compose file agree with the program and with each other."""

from __future__ import annotations

import re
from pathlib import Path

from driftline.schemas.config import load_config
from tests.kafka.brokers import IMAGE

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")


def test_every_broker_is_the_same_version_of_kafka() -> None:
    pom = (ROOT / "deploy" / "kafka" / "pom.xml").read_text(encoding="utf-8")
    version = re.search(r"<kafka.version>(.*)</kafka.version>", pom)
    assert version is not None
    assert f"image: {IMAGE}\n" in COMPOSE
    assert f"apache/kafka:{version[1]}" == IMAGE


def test_the_configuration_of_the_containers_is_valid_and_names_their_broker() -> None:
    config = load_config(ROOT / "deploy" / "driftline.toml")
    assert config.kafka.bootstrap_servers == "kafka:29092"
    assert f"INSIDE://{config.kafka.bootstrap_servers}" in COMPOSE


def test_the_image_copies_existing_files() -> None:
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    copied = [
        name
        for line in re.findall(r"^COPY (.+) \S+$", dockerfile, re.MULTILINE)
        for name in line.split()
    ]
    assert copied
    for name in copied:
        assert (ROOT / name).exists(), name
    admitted = set(
        re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert {name.partition("/")[0] for name in copied} <= admitted

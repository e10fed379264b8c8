"""A cluster is given up once nobody was found for a while, however seldom one looked before."""

from dataclasses import dataclass, field

import pytest

from pipeline.cluster import remote
from pipeline.cluster.remote import Pulse
from pipeline.errors import ClusterError


@dataclass
class Client:
    """A client whose workers come and go, in a time of its own."""

    now: float = 1000.0
    workers: dict[str, int] = field(default_factory=lambda: {"a": 1, "b": 2})
    status: str = "running"

    def nthreads(self) -> dict[str, int]:
        return self.workers

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    client = Client()
    monkeypatch.setattr(remote, "time", client)
    return client


def test_one_look_in_vain_after_a_long_time_is_not_the_end(client: Client) -> None:
    pulse = Pulse(client, "the cluster")
    pulse.check()
    client.now, client.workers = 1300.0, {}
    pulse.check()
    client.now = 1359.0
    pulse.check()
    assert pulse.threads() == 3
    client.now = 1366.0
    with pytest.raises(ClusterError, match="the cluster: no worker has answered for 60 s"):
        pulse.check()


def test_who_comes_back_is_waited_for_anew(client: Client) -> None:
    pulse = Pulse(client, "the cluster")
    client.workers = {}
    pulse.check()
    client.now, client.workers = 1055.0, {"c": 4}
    pulse.check()
    assert pulse.threads() == 4
    client.now, client.workers = 1061.0, {}
    pulse.check()
    client.now = 1119.0
    pulse.check()
    client.now = 1122.0
    pulse.check()  # it was looked 3 s ago, and then it was less than a minute
    client.now = 1124.0
    with pytest.raises(ClusterError, match="no worker has answered"):
        pulse.check()


def test_a_look_in_vain_long_ago_does_not_count(client: Client) -> None:
    pulse = Pulse(client, "the cluster")
    client.workers = {}
    pulse.check()
    client.now = 1600.0
    pulse.check()
    client.now = 1655.0
    pulse.check()
    client.now = 1665.0
    with pytest.raises(ClusterError, match="no worker has answered"):
        pulse.check()

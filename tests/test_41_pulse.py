"""A cluster is given up once nobody was found for a while, however seldom one looked before."""

from dataclasses import dataclass

import pytest

from pipeline.cluster import remote
from pipeline.cluster.remote import Pulse
from pipeline.errors import ClusterError


@dataclass
class Client:
    """A client whose workers come and go, in a time of its own."""

    now: float = 1000.0
    workers: int = 3
    status: str = "running"

    def nthreads(self) -> dict[str, int]:
        return {"a": self.workers} if self.workers else {}

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize(
    "looks",
    [
        [(0, 3), (300, 0), (359, 0), (366, 0)],
        [(0, 0), (55, 4), (61, 0), (119, 0), (122, 0), (124, 0)],  # at 122 it was looked 3 s ago
        [(0, 0), (600, 0), (655, 0), (665, 0)],
    ],
    ids=["one in vain after a long time", "who comes back is waited for anew", "one in vain long ago"],
)
def test_the_last_look_alone_is_the_end(monkeypatch: pytest.MonkeyPatch, looks: list[tuple[float, int]]) -> None:
    """Seconds, and the threads that there are then."""
    client = Client()
    monkeypatch.setattr(remote, "time", client)
    pulse = Pulse(client, "the cluster")
    *before, last = looks
    for client.now, client.workers in ((1000 + at, workers) for at, workers in before):
        pulse.check()
    assert pulse.threads() == max([1, *(workers for _, workers in looks)])  # as when there were some
    client.now, client.workers = 1000 + last[0], last[1]
    with pytest.raises(ClusterError, match="the cluster: no worker has answered for 60 s"):
        pulse.check()


def test_workers_that_start_anew_are_waited_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client()
    monkeypatch.setattr(remote, "time", client)
    pulse = Pulse(client, "the local workers", remote.LOCAL_PATIENCE)
    pulse.check()
    client.workers = 0
    for client.now in (1010, 1075, 1240):
        pulse.check()
    client.now = 1010 + remote.LOCAL_PATIENCE + 6
    with pytest.raises(ClusterError, match="the local workers: no worker has answered for 240 s"):
        pulse.check()

"""Of many machines each monitors the instruments that are plugged into it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchlab import Plugged, bench_lab
from fleetlab import REDIS, Machine, RedisServer
from lab import eventually
from labwaiter.store.events import Events
from labwaiter.store.history import History


@pytest.mark.slow
@pytest.mark.skipif(REDIS is None, reason="no redis-server is here")
def test_an_instrument_is_read_on_its_own_machine(tmp_path: Path, bench: Plugged) -> None:
    here = 'machine = "here"\n'
    watched = f"{here}monitor_every_s = 1\nlimits = {{ hotend = {{ high = 15 }} }}"
    bench.write(smu='machine = "elsewhere"\nmonitor_every_s = 1', relays=here, analyser=here, printer=watched)
    with bench.toml.open("a") as toml:
        toml.write("\n[machines.here]\n[machines.elsewhere]\n")
    redis = RedisServer(tmp_path / "redis")
    lab = bench_lab(tmp_path / "jobs", bench)
    machine = Machine(lab, "here", redis.url, bench.toml)
    try:
        machine.start()
        history = History(lab.settings.layout)
        last = eventually(history.last)
        assert set(last) == {"printer"} and {one.reading for one in last["printer"]} >= {"hotend", "bed"}
        (event,) = eventually(lambda: Events(lab.settings.layout).newest(10))
        assert event.instrument == "printer"
    finally:
        machine.stop()
        lab.close()
        redis.close()

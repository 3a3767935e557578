"""Kills and failures at random instants: N studies in, exactly N sets of results out."""

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.appliance.chaos import (
    KINDS,
    ODD_WAYS,
    Killer,
    Senders,
    Tally,
    check,
    held_by,
    wait_until_done,
)
from tests.runtime.study.tiny_study import write_bundle
from tests.support import peers
from tests.support.appliance import Appliance, appliance, free_port
from tests.support.flaky import flaky_proxy
from tests.support.small_studies import small_study
from tests.support.soak_results import write_soak_results

pytestmark = pytest.mark.requirement("acknowledged", "once")


def run_chaos(
    folder: Path,
    *,
    studies: int,
    every: float,
    least_kills: int,
    seconds: float,
    seed: int = 0,
    odd_every: int = 20,
) -> dict[str, Any]:
    """Stream studies under fire until enough was killed and all are done; returns what happened.

    Args:
        every: Mean seconds between two kills.
        seconds: That it may take.
        odd_every: One of so many studies does not come once and whole.
    """
    bundle, commitment, tally = write_bundle(folder / "tiny.bundle"), free_port(), Tally()
    started = time.monotonic()
    with (
        peers.Orthanc(folder / "pacs", modalities={"SCANSIDE": (peers.LOOPBACK, commitment)}) as pacs,
        flaky_proxy((peers.LOOPBACK, pacs.port), seed) as proxy,
        appliance(
            folder,
            bundle,
            receive={"quiet_seconds": 6, "changed": "replace"},
            send={"commitment_port": commitment},
            destinations=[
                {
                    "kind": "dicom", "name": "PACS", "ae_title": "PACS", "host": peers.LOOPBACK, "port": proxy.port,
                    "commitment_seconds": 8,
                }
            ],
        ) as scanside,
    ):  # fmt: skip
        scanside.wait_for_receiver()
        database = scanside.data / "scanside.db"
        senders = Senders(scanside.receive_port, range(1, studies + 1), 3, tally, database, odd_every)
        killer = Killer(scanside, proxy, seed, every, tally, 2 * least_kills)
        senders.start()
        killer.start()
        try:
            _until(lambda: senders.done() and tally.kills.total() >= least_kills, started + seconds, scanside)
        finally:
            killer.stop()
            senders.stop()
        cases = wait_until_done(scanside, studies, max(60.0, started + seconds - time.monotonic()), _say)
        check(scanside, cases, studies, sum(1 for _ in small_study(1)), held_by(pacs), odd_every)
    return _found(tally, studies, time.monotonic() - started)


def _found(tally: Tally, studies: int, seconds: float) -> dict[str, Any]:
    """What happened, for the results file."""
    return {
        "studies": studies,
        "instances_acknowledged": tally.acknowledged,
        "associations_of_senders": tally.tries,
        "kills": dict(tally.kills),
        "kills_in_all": tally.kills.total(),
        "ways": dict(tally.ways),
        "moods_of_the_pacs": dict(tally.moods),
        "results_of_a_study_that_came_once": dict(KINDS),
        "lost": 0,
        "duplicated": 0,
        "seconds": round(seconds, 1),
    }


def _until(done: Any, deadline: float, scanside: Appliance) -> None:
    while not done():
        assert time.monotonic() < deadline, f"not done in time:\n{scanside.log()[-3000:]}"
        time.sleep(0.2)


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def test_a_few_studies_under_fire(tmp_path: Path) -> None:
    found = run_chaos(tmp_path, studies=5, every=1.5, least_kills=5, seconds=400, odd_every=1)
    assert found["kills_in_all"] >= 5 and set(found["ways"]) == {*ODD_WAYS, "told by procedure steps"}


@pytest.mark.slow
def test_soak(tmp_path: Path) -> None:
    """1,000 studies (or SCANSIDE_SOAK_STUDIES), at least a kill for every two; writes soak.json.

    One in twenty does not come once and whole; of few studies five do not, so that each odd way is among them.
    """
    studies = int(os.environ.get("SCANSIDE_SOAK_STUDIES", "1000"))
    kills, odd_every = (studies + 1) // 2, max(1, min(20, studies // 5))
    seconds = 120 + 15 * studies
    found = run_chaos(
        tmp_path, studies=studies, every=3, least_kills=kills, seconds=seconds, odd_every=odd_every
    )
    assert found["kills_in_all"] >= kills and set(found["ways"]) == {
        *ODD_WAYS,
        "once",
        "told by procedure steps",
    }
    packages = ("pynetdicom", "pydicom", "highdicom", "onnxruntime")
    write_soak_results("soak", f"SCANSIDE_SOAK_STUDIES={studies} make soak", packages, found)

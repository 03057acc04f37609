"""Why multicast does not arrive, between two ends on loopback."""

from __future__ import annotations

import asyncio
from typing import Any

import libcv as cv
import libcv.aio
import pytest
from conftest import reaches


def test_two_ends_find_each_other(group: str) -> None:
    stages: list[str] = []

    async def story() -> tuple[Any, Any]:
        return await asyncio.gather(
            cv.aio.doctor_multicast_send(
                "lo", group=group, receivers=1, time="5s", progress=lambda e: stages.append(e.get("stage", ""))
            ),
            cv.aio.doctor_multicast_receive("lo", group=group, time=5),
        )

    sent, received = asyncio.run(story())
    assert {"greet", "probe"} <= set(stages)
    assert (sent["interface"], sent["group"], received["group"]) == ("lo", group, group)
    assert [(f["check"], f["verdict"]) for f in sent["findings"]] == [("link", "ok"), ("receivers", "ok")]
    (receiver,) = sent["receivers"]
    # Both judge the same counts; a busy machine may be too slow for a gigabit, and then says that.
    for end in (receiver, received):
        verdicts = {f["check"]: f["verdict"] for f in end["findings"]}
        assert verdicts["unicast"] == verdicts["control"] == verdicts["data"] == verdicts["mtu"] == "ok"
        counted = {c["way"]: c for c in end["counts"]}
        assert counted["control"]["received"] == counted["control"]["sent"] == 20 and counted["rate"]["rate"] > 0
    assert receiver["name"] and receiver["address"] and received["sender"]


def test_nobody_is_a_finding(group: str) -> None:
    received = cv.doctor_multicast_receive("lo", group=group, time=0.3)
    assert received["sender"] is None and {"sender": "bad"}.items() <= {f["check"]: f["verdict"] for f in received["findings"]}.items()
    sent = cv.doctor_multicast_send("lo", group=group, time="300ms")
    assert sent["receivers"] == [] and [f["verdict"] for f in sent["findings"] if f["check"] == "receivers"] == ["bad"]


def test_whoever_waits_can_be_told_to_stop(group: str) -> None:
    waiting: list[tuple[cv.Job[Any], str]] = [
        (cv.doctor_multicast_send_job("lo", group=group, time="1h"), "greet"),
        (cv.doctor_multicast_receive_job("lo", group=group, time="1h"), "listen"),
    ]
    for job, stage in waiting:
        reaches(job, stage)
    for job, _ in waiting:
        job.cancel()
        with pytest.raises(cv.Cancelled):
            job.result(timeout=5)

    def stop(event: Any) -> None:
        raise KeyError(event["kind"])

    with pytest.raises(KeyError):
        cv.doctor_multicast_receive("lo", group=group, progress=stop)


def test_what_cannot_be_is_refused(group: str) -> None:
    for call in (cv.doctor_multicast_send, cv.doctor_multicast_receive):
        with pytest.raises(cv.NotFound, match="none0"):
            call("none0", group=group)
        for wrong in ({"group": "nowhere"}, {"group": "127.0.0.1:7786"}, {"time": "soon"}, {"time": -1}, {"time": 3601}, {"time": 1e18}):
            options: dict[str, Any] = {"group": group, **wrong}
            with pytest.raises(cv.Invalid):
                call("lo", **options)
    with pytest.raises(TypeError):
        cv.doctor_multicast_receive("lo", receivers=1)  # type: ignore[call-arg]

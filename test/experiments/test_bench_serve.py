from __future__ import annotations

from rlt_ros.bench import serve


def test_the_round_trip_is_policy_and_overhead() -> None:
    figures = serve.run(requests=3, episodes=1)
    trip, policy, overhead = (
        figures[name]["median"] for name in ("round_trip_ms", "policy_ms", "overhead_ms")
    )
    assert trip > policy > 0
    assert trip > overhead > 0
    assert 0 < figures["decode_share"] < 1
    assert min(figures[name]["best_p99"] for name in ("decode_alone_ms", "wire_alone_ms")) > 0

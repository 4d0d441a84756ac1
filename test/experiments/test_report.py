from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from rlt_ros.cli.main import main
from rlt_ros.report import charts, page, seeds
from rlt_ros.report.report import WINDOW, write_report
from rlt_ros.report.run_files import FinishedRun, RunError, read_run
from rlt_ros.report.seeds import write_seeds_report

WriteRun = Callable[..., Path]

VOID = {"meta"}


class Page(HTMLParser):
    """Checks that elements are closed in order, and collects text, addresses and classes."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.addresses: list[str] = []
        self.classes: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.addresses += [values[key] or "" for key in ("src", "href", "data", "action") if key in values]
        self.classes += (values.get("class") or "").split()
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.classes += (dict(attrs).get("class") or "").split()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data + " "


def test_report_shows_the_outcomes_of_the_summary(write_run: WriteRun) -> None:
    run_dir = write_run("run")
    summary = json.loads((run_dir / "summary.json").read_text())
    text = Page(write_report(run_dir)).text
    for policy in ("base", "demo", "rlt"):
        outcome = summary[policy]
        assert page.percent(outcome["success_rate"]) in text
        assert f"{100 * outcome['success_ci'][0]:.0f} to {100 * outcome['success_ci'][1]:.0f}" in text
        assert f"{outcome['throughput_ci'][0]:.0f} to {outcome['throughput_ci'][1]:.0f}" in text
        assert f"median {outcome['median_steps']:.0f}" in text
    assert f"{summary['throughput_ratio']:.1f}×" in text
    assert f"{summary['speed_ratio']:.1f}×" in text


def test_report_shows_settings_versions_and_lineage(write_run: WriteRun) -> None:
    text = Page(write_report(write_run("run"))).text
    for fact in ("layer_norm", "[256, 256]", "2.13.0", "3f9c2a7b10de4411", "18 min 24 s", "warm-up"):
        assert fact in text


def test_report_needs_nothing_from_outside(write_run: WriteRun) -> None:
    path = write_report(write_run("run"))
    assert Page(path).addresses == []
    assert not re.search(r"https?://|//[a-z]|@import|url\(|<script|<link", path.read_text(encoding="utf-8"))


def test_films_are_inside_the_page(write_run: WriteRun) -> None:
    run_dir = write_run("run")
    (run_dir / "videos").mkdir()
    (run_dir / "videos/start-1.mp4").write_bytes(b"film")
    outcomes = [
        {"policy": "VLA", "outcome": "out of time, 4.0 s"},
        {"policy": "RLT", "outcome": "success, 1.2 s"},
    ]
    index = [{"file": "start-1.mp4", "start": "start 1 of 3", "outcomes": outcomes}]
    (run_dir / "videos/films.json").write_text(json.dumps([*index, {**index[0], "file": "gone.mp4"}]))
    found = Page(write_report(run_dir))
    assert found.addresses == ["data:video/mp4;base64,ZmlsbQ=="]
    assert "Before and after" in found.text
    assert "Start 1 of 3" in found.text and "VLA: out of time, 4.0 s; RLT: success, 1.2 s" in found.text


def test_a_damaged_index_of_films_is_named(write_run: WriteRun) -> None:
    run_dir = write_run("run")
    (run_dir / "videos").mkdir()
    (run_dir / "videos/films.json").write_text("[{}]")
    with pytest.raises(RunError, match=r"films\.json: is damaged"):
        write_report(run_dir)


def test_robot_simulation_and_the_operators_share_are_named(write_run: WriteRun) -> None:
    run_dir = write_run("run")
    summary = json.loads((run_dir / "summary.json").read_text())
    summary.update(robot="ur5e", simulated=True, human_share=0.12)
    (run_dir / "summary.json").write_text(json.dumps(summary))
    text = Page(write_report(run_dir)).text
    assert "simulated ur5e" in text
    assert "An operator commanded 12 % of that time" in text


def test_without_films_there_is_no_section_about_them(write_run: WriteRun) -> None:
    assert "Before and after" not in Page(write_report(write_run("run"))).text


def test_text_of_a_run_cannot_break_the_page(write_run: WriteRun) -> None:
    run_dir = write_run("run", task="<script>alert(1)</script>")
    text = write_report(run_dir).read_text(encoding="utf-8")
    assert "<script>" not in text.lower()


def test_report_of_a_policy_that_never_succeeds(write_run: WriteRun) -> None:
    run_dir = write_run("run")
    summary = json.loads((run_dir / "summary.json").read_text())
    summary["base"] |= {"success_rate": 0.0, "successes": 0, "throughput_per_10min": 0.0}
    summary["base"] |= {"median_steps": None, "median_steps_ci": None}
    summary |= {"throughput_ratio": None, "speed_ratio": None, "takeover_dip": None}
    (run_dir / "summary.json").write_text(json.dumps(summary))
    records = [json.loads(line) for line in (run_dir / "episodes.jsonl").read_text().splitlines()]
    for record in records:
        if record["phase"] == "eval_base":
            record |= {"success": False, "steps": 0}
    (run_dir / "episodes.jsonl").write_text("\n".join(map(json.dumps, records)))
    text = Page(write_report(run_dir)).text
    assert "and 40 failed" in text
    assert "not measured" in text


def test_report_of_a_run_without_measurements(write_run: WriteRun) -> None:
    run_dir = write_run("run")
    (run_dir / "metrics.jsonl").write_text("")
    assert "The learner" not in Page(write_report(run_dir)).text


def test_curves_of_unknown_figures_are_drawn_under_their_own_name(write_run: WriteRun) -> None:
    run_dir = write_run("run")
    with (run_dir / "metrics.jsonl").open("a") as file:
        file.write('{"robot_minutes": 3.0, "gripper_current": 1.5}\n')
    assert "gripper_current" in Page(write_report(run_dir)).text


def test_learning_curve_starts_when_half_a_window_is_known(write_run: WriteRun) -> None:
    run = read_run(write_run("run"))
    from rlt_ros.report.report import learning_curve

    rate, _ = learning_curve(run.episodes("warmup", "online"))
    assert np.isnan(rate[: WINDOW // 2]).all()
    assert np.isfinite(rate[WINDOW // 2 :]).all()


def test_only_the_last_evaluation_of_a_prolonged_run_counts(write_run: WriteRun) -> None:
    run_dir = write_run("run")
    records = [json.loads(line) for line in (run_dir / "episodes.jsonl").read_text().splitlines()]
    trained = next(record for record in reversed(records) if record["phase"] == "online")
    records.insert(-15, {**trained, "robot_minutes": trained["robot_minutes"] + 5})
    (run_dir / "episodes.jsonl").write_text("\n".join(map(json.dumps, records)))
    assert len(read_run(run_dir).episodes("eval_rlt").success) == 15


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("summary.json", None, "summary.json: missing, so the run is not finished"),
        ("summary.json", '{"task": "charger"', r"summary.json: is not JSON .* cut off or damaged"),
        ("summary.json", "[]", "expected a JSON object, found list"),
        ("summary.json", '{"task": "charger"}', "summary.json: lacks base, demo, rlt, seed"),
        ("config.json", None, "config.json: missing"),
        ("episodes.jsonl", None, "episodes.jsonl: missing"),
        ("episodes.jsonl", '{"episode": 0}', "line 1: lacks phase, success"),
        ("episodes.jsonl", '\n{"epi', "line 1: is not JSON"),
        ("metrics.jsonl", '{"robot_minutes": 1}\n{"q": 1}', "line 2: lacks robot_minutes"),
        ("metrics.jsonl", "\udcff", "metrics.jsonl: not text"),
    ],
)
def test_a_damaged_run_is_named_exactly(
    write_run: WriteRun, file: str, content: str | None, message: str
) -> None:
    run_dir = write_run("run")
    if content is None:
        (run_dir / file).unlink()
    else:
        (run_dir / file).write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(RunError, match=message):
        write_report(run_dir)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"phase": "dance"}, "phase 'dance', expected one of warmup, online"),
        ({"steps": -1}, "expected numbers of at least 0"),
        ({"steps": None}, "expected numbers of at least 0"),
        ({"robot_minutes": "3"}, "expected numbers of at least 0"),
    ],
)
def test_a_wrong_episode_is_named(write_run: WriteRun, change: dict[str, object], message: str) -> None:
    run_dir = write_run("run")
    record = {"episode": 0, "phase": "online", "success": True, "steps": 9, "robot_minutes": 0.1, **change}
    (run_dir / "episodes.jsonl").write_text(json.dumps(record))
    with pytest.raises(RunError, match=message):
        write_report(run_dir)


def test_an_old_report_stays_when_the_new_one_fails(write_run: WriteRun) -> None:
    run_dir = write_run("run")
    before = write_report(run_dir).read_bytes()
    (run_dir / "metrics.jsonl").write_text("{")
    with pytest.raises(RunError):
        write_report(run_dir)
    assert (run_dir / "report.html").read_bytes() == before


def test_report_of_three_seeds_shows_their_means(write_run: WriteRun) -> None:
    folders = [write_run(f"run-{seed}", seed=seed) for seed in range(3)]
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in folders]
    path = write_seeds_report(folders)
    assert path == folders[0].parent / "seeds.html"
    text = Page(path).text
    assert page.percent(np.mean([summary["rlt"]["success_rate"] for summary in summaries])) in text
    assert page.times(float(np.exp(np.mean([np.log(s["throughput_ratio"]) for s in summaries])))) in text
    assert "95 % interval over seeds" in text


def test_two_seeds_have_no_interval_over_seeds(write_run: WriteRun) -> None:
    path = write_seeds_report([write_run("a", seed=0), write_run("b", seed=1)])
    assert "an interval needs three seeds" in Page(path).text
    assert "band" not in Page(path).classes


def test_seeds_that_all_reach_everything_do_not_claim_certainty(write_run: WriteRun) -> None:
    runs = [read_run(write_run(f"run-{seed}", seed=seed)) for seed in range(3)]
    measured = seeds.success_over_seeds(runs, "demo")
    assert measured.value == 1.0
    assert measured.bounds is not None
    assert measured.bounds[0] == pytest.approx(0.969, abs=1e-3), "Wilson's interval of 120 of 120"


def test_the_dip_of_several_seeds_is_that_of_their_mean(tmp_path: Path, write_run: WriteRun) -> None:
    def run(name: str, online: str, base: float) -> FinishedRun:
        folder = write_run(name, seed=len(name))
        lines = [json.loads(line) for line in (folder / "episodes.jsonl").read_text().splitlines()]
        sample = next(line for line in lines if line["phase"] == "online")
        lines = [line for line in lines if line["phase"] != "online"]
        lines += [{**sample, "success": mark == "+", "human_share": 0.0} for mark in online]
        (folder / "episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        summary = json.loads((folder / "summary.json").read_text())
        summary["base"]["success_rate"] = base
        (folder / "summary.json").write_text(json.dumps(summary))
        return read_run(folder)

    runs = [run("a", "+" * 15 + "-" * 10, 0.8), run("bb", "-" * 5 + "+" * 15, 0.6)]
    assert seeds.dip_over_seeds(runs) == pytest.approx(0.0)  # one window: 15 and 15 of 20, over 70 %
    runs = [run("ccc", "-" * 12 + "+" * 8, 0.8), run("dddd", "+" * 12 + "-" * 8, 0.6)]
    assert seeds.dip_over_seeds(runs) == pytest.approx(0.2)
    assert seeds.dip_over_seeds([run("eeeee", "+" * 19, 0.6)]) is None


@pytest.mark.parametrize(
    ("second", "message"),
    [({"task": "screw", "seed": 1}, "different tasks"), ({"seed": 0}, "a seed is repeated")],
)
def test_seeds_of_different_experiments_are_not_averaged(
    write_run: WriteRun, second: dict[str, object], message: str
) -> None:
    with pytest.raises(RunError, match=message):
        write_seeds_report([write_run("a", seed=0), write_run("b", **second)])


def test_mean_curve_holds_each_value_until_the_next() -> None:
    x = [np.array([0.0, 1.0, 2.0]), np.array([0.5, 2.0]), np.array([0.0, 2.0])]
    y = [np.array([np.nan, 1.0, 3.0]), np.array([2.0, 4.0]), np.array([3.0, 5.0])]
    grid, mean, band = seeds.mean_curve(x, y)
    assert (grid[0], grid[-1]) == (1.0, 2.0), "only where every curve is known"
    assert mean[0] == pytest.approx((1 + 2 + 3) / 3)
    assert mean[-2] == pytest.approx((1 + 2 + 3) / 3), "not interpolated"
    assert mean[-1] == pytest.approx((3 + 4 + 5) / 3)
    assert band is not None
    assert band[0][0] == pytest.approx(2 - 4.30265 / np.sqrt(3), abs=1e-4)


def test_command_writes_a_page_for_each_run_and_one_for_all(
    write_run: WriteRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [str(write_run(f"run-{seed}", seed=seed)) for seed in range(3)]
    assert main(["report", *folders, "--out", str(tmp_path / "all.html"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["reports"] == [f"{folder}/report.html" for folder in folders]
    assert all(Path(path).exists() for path in [*result["reports"], result["seeds_report"]])


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 100, [0, 20, 40, 60, 80, 100]),
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (-0.7, -0.3, [-0.7, -0.6, -0.5, -0.4, -0.3]),
        (0, 9.5, [0, 2, 4, 6, 8]),
        (1e-5, 4e-5, [1e-5, 2e-5, 3e-5, 4e-5]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert charts.ticks(low, high) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (20000, "20k"), (-0.5, "\N{MINUS SIGN}0.5"), (2e-5, "2e-5"), (250, "250")],
)
def test_axis_numbers_are_short(value: float, text: str) -> None:
    assert charts.format_number(value) == text


@pytest.mark.parametrize(
    ("heights", "expected"),
    [
        ([10.0, 12.0], [10.0, 25.0]),
        ([95.0, 96.0, 100.0], [70.0, 85.0, 100.0]),
        ([0.0, 50.0], [5.0, 50.0]),
    ],
)
def test_labels_are_moved_apart_inside_the_chart(heights: list[float], expected: list[float]) -> None:
    assert charts.spread(heights, 15.0, 5.0, 100.0) == expected


def test_gaps_in_a_curve_are_not_bridged() -> None:
    line = charts.Curve(np.arange(5.0), np.array([1, 2, np.nan, 4, 5.0]), "rlt")
    drawn = re.search(r'class="line" d="([^"]*)"', charts.plot([line], x_label="x", description="d"))
    assert drawn is not None
    assert drawn.group(1).count("M") == 2
    assert "nan" not in drawn.group(1)


def test_a_long_curve_is_thinned_and_keeps_its_ends() -> None:
    line = charts.Curve(np.linspace(0, 1, 10_000), np.linspace(3, 7, 10_000), "rlt")
    drawn = re.search(r'class="line" d="M([^"]*)"', charts.plot([line], x_label="x", description="d"))
    assert drawn is not None
    assert len(drawn.group(1).split("L")) == charts.MAX_POINTS
    assert drawn.group(1).startswith(f"{charts.LEFT:.1f} ")


@pytest.mark.parametrize("rate_text", [(0.996, "99.6 %"), (1.0, "100 %"), (0.004, "0.4 %"), (0.455, "46 %")])
def test_almost_all_is_not_all(rate_text: tuple[float, str]) -> None:
    assert page.percent(rate_text[0]) == rate_text[1]


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium here")
def test_a_browser_lays_the_page_out_without_overflow(write_run: WriteRun, tmp_path: Path) -> None:
    path = write_report(write_run("run"))
    # The page itself has no script; this copy measures itself in a real browser, as narrow as a telephone.
    probe = tmp_path / "probe.html"
    probe.write_text(
        f'<iframe src="{path.as_uri()}" style="width:360px;height:2000px" onload="'
        "const d = this.contentDocument; document.title = [d.documentElement.scrollWidth <= 360,"
        " d.querySelectorAll('svg').length, d.querySelector('h1').textContent].join(' ')"
        '"></iframe>'
    )
    result = subprocess.run(
        [
            "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--allow-file-access-from-files", f"--user-data-dir={tmp_path / 'browser'}",
            "--virtual-time-budget=5000", "--dump-dom", probe.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )  # fmt: skip
    measured = re.search(r"<title>(\w+) (\d+) (.*?)</title>", result.stdout)
    assert measured is not None
    assert measured.group(1) == "true", "the page is wider than the screen"
    assert int(measured.group(2)) >= 19
    assert measured.group(3) == "Charger"

import base64
import html
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from load_tests.sweep.points import Point
from load_tests.sweep.recommendation import Target, recommend
from load_tests.sweep.report import render
from load_tests.sweep.store import Sweep, as_csv, read_sweep
from tests.support.load.sweeps import measured, point, setting

ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def sweep():
    points = [
        point(count, callers, rtfx=40.0 * count**0.5 * callers**0.5, p95_s=0.2 * callers)
        for count in (1, 2)
        for callers in (1, 2, 4)
    ]
    dead = Point(setting=setting(4), concurrency=1, error="asr-server <ended> with status 1")
    return Sweep(
        conditions={"machine": {"processor": "EPYC", "cores": 2}, "checkpoint": "demo"},
        points=(*points, dead),
        target=Target(p95_s=0.5),
        date="2026-11-25",
    )


class Elements(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


@pytest.fixture(scope="module")
def page(sweep):
    return render(sweep)


@pytest.fixture(scope="module")
def elements(page):
    parser = Elements()
    parser.feed(page)
    return parser.found


def test_nothing_outside_the_file_is_needed(elements):
    for tag, attributes in elements:
        assert tag not in ("script", "link", "iframe", "object")
        for name in ("src", "href"):
            assert attributes.get(name, "data:").startswith("data:")


def test_every_picture_is_whole_and_says_what_it_is(elements):
    pictures = [attributes for tag, attributes in elements if tag == "img"]
    assert len(pictures) == 7
    for picture in pictures:
        assert picture["alt"]
        head, _, data = picture["src"].partition(",")
        assert head == "data:image/svg+xml;base64"
        assert ElementTree.fromstring(base64.b64decode(data)).tag.endswith("svg")


def test_the_page_has_the_answer_the_conditions_and_every_point(sweep, page):
    assert "2 instances" in page.split("</p>")[0]
    for words in ("2026-11-25", "EPYC processor, 2 cores", "demo"):
        assert words in page
    assert "asr-server &lt;ended&gt; with status 1" in page
    assert len(re.findall("<tr><td>|<tr class=best><td>", page)) == len(sweep.points)
    assert page.count("class=best") == 1
    assert "ive streams" not in page


def test_the_same_sweep_gives_the_same_page(sweep, page):
    assert render(sweep) == page


def test_the_recommended_point_is_drawn_though_another_setting_is_faster():
    fast = Point(
        setting=setting(2, max_batch_size=64),
        concurrency=4,
        measured=measured(rtfx=90.0, p95_s=3.0),
    )
    points = (point(2, 1, rtfx=40.0, p95_s=0.2), fast)
    page = render(Sweep(conditions={}, points=points, target=Target(), date="today"))
    assert "batch 32" in page.split("</p>")[0]
    assert page.count("data:image/svg+xml") == 7


def test_a_sweep_in_which_every_server_died_has_a_page(sweep):
    page = render(Sweep(conditions={}, points=sweep.points[-1:], target=Target(), date="today"))
    assert "Nothing was measured" in page


def test_only_the_report_loads_matplotlib():
    program = "import sys, load_tests.sweep.__main__; print('matplotlib' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert run.stdout.strip() == "False", run.stderr


def test_the_recorded_report_is_that_of_the_recorded_sweep():
    folder = ROOT / "docs" / "sweep"
    sweep = read_sweep(folder / "sweep.json")
    assert {each.setting.instances for each in sweep.points if each.measured} == {1, 2, 4}
    report = (folder / "report.html").read_text()
    assert len(report) < 2_000_000
    assert html.escape(recommend(sweep.points, sweep.target).sentence) in report
    assert as_csv(sweep.points) == (folder / "sweep.csv").read_text()

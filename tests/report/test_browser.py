"""The page in a real browser: nothing asked for, nothing complained about, all of it readable and reached by keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edgeresnet import report
from edgeresnet.report import summary
from edgeresnet.report.html import extras, noise_page, page
from edgeresnet.runs import Run

from . import browser, runs
from . import test_noise_text as noise

PROGRAM = browser.found()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="no chromium: `apt-get install chromium` brings it"),
]
LONG = "a_name_that_has_no_place_to_break_and_is_longer_than_any_telephone_is_wide_" * 3
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)

# Of every text that is seen: how far its colour is from what is behind it, by WCAG 2's formula; the least of all.
CONTRAST = """
(() => {
  const light = (c) => {
    const [r, g, b] = c.map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const parts = (c) => c.match(/[\\d.]+/g).map(Number);
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const [r, g, b, a = 1] = parts(getComputedStyle(e).backgroundColor);
      if (a === 1) return [r, g, b];
      if (a > 0) throw new Error("half transparent: " + e.outerHTML.slice(0, 80));
    }
    return [255, 255, 255];
  };
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement, style = getComputedStyle(e);
    if (!walk.currentNode.data.trim() || ["SCRIPT", "STYLE", "title"].includes(e.tagName)) continue;
    if (!e.getClientRects().length) continue;
    const [a, b] = [light(parts(e instanceof SVGElement ? style.fill : style.color).slice(0, 3)), light(behind(e))];
    found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.tagName + ": " + walk.currentNode.data.trim()]);
  }
  return { count: found.length, worst: found.sort((x, y) => x[0] - y[0])[0] };
})()
"""
# Whatever ends outside of the screen, but for what lies in a part that can be moved by itself.
OUTSIDE = """
[...document.querySelectorAll("body *:not(#tip)")].filter((e) => {
  const box = e.getBoundingClientRect();
  const inside = e.closest(".wide") || e.closest(".strip > .label");
  return !inside && box.width && (box.right > document.documentElement.clientWidth + 0.5 || box.left < -0.5);
}).map((e) => e.outerHTML.slice(0, 90))
"""
NOW = """
(() => {
  const e = document.activeElement, chart = e.closest("figure.chart");
  return [chart && chart.ariaLabel, chart ? [...chart.querySelectorAll(".mark")].indexOf(e) : -1];
})()
"""
TIP = "(() => { const t = document.getElementById('tip'); return t.hidden ? '' : t.textContent })()"
BOX = """
(() => {
  const tip = document.getElementById("tip"), box = tip.getBoundingClientRect();
  return [tip.textContent, box.left, box.right];
})()
"""
SPOT = """
(() => {
  const m = document.querySelector(".mark.other");
  m.scrollIntoView({ block: "center", behavior: "instant" });
  const b = m.querySelector(".value").getBoundingClientRect();
  return [b.x + b.width / 2, b.y + b.height / 2, m.getAttribute("aria-label")];
})()
"""


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Browser]:
    assert PROGRAM
    with browser.opened(PROGRAM, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def full() -> Run:
    """Return a run with every state, every chart, and names that are hard to place."""
    run = runs.document(problem={"message": LONG, "hint": LONG, "step": "verify:tensorrt"}, verdict="BROKEN")
    run["results"]["onnxruntime"] = runs.result("onnxruntime", classes=["<script>boom()</script>", LONG, "שלום 🦊"])
    run["results"]["tensorrt"] = runs.deferred("tensorrt", "its bundle", "carry it")
    run["results"]["tensorrt_rtx"] = runs.not_measured("tensorrt_rtx", "no driver")
    for word in ("BROKEN", "UNDECIDED", "DEFERRED", "NOT_MEASURED"):
        absent: runs.Json = {"value": None, "low": None, "high": None} if word in ("DEFERRED", "NOT_MEASURED") else {}
        run["verdicts"].append(runs.verdict(word, target="onnxruntime", kind="max_drop_pp", reason=LONG, **absent))
    run["steps"][2]["warnings"] = [runs.warning(LONG)]
    run["steps"][1]["notes"]["widths"][LONG] = [64, 48]
    return runs.decoded(run)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    path = tmp_path_factory.mktemp("page") / "report.html"
    other = runs.document(id="20260102-120000-000000-abcdef")
    other["results"]["openvino"]["variants"]["int8"]["digest"] = "e" * 64
    run = full()
    changed = [each.number for each in summary.changed_images(run.measured)][: extras.PICTURES]
    names, pictures = (dict.fromkeys(changed, each) for each in (LONG, PIXEL))
    found = extras.Extras(others=[runs.decoded(other)], names=names, pictures=pictures)
    path.write_text(page.page(summary.of(run), found), encoding="utf-8")
    return lambda: path


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [380, 1400])
def test_all_of_it_fits_and_can_be_read(
    one: browser.Browser, shown: Callable[[], Path], width: int, dark: bool
) -> None:
    one.open(shown(), width=width, dark=dark)
    one.ask("for (const each of document.querySelectorAll('details')) each.open = true")
    assert one.ask("document.documentElement.scrollWidth") <= width
    assert one.ask(OUTSIDE) == []
    contrast = one.ask(CONTRAST)
    assert contrast["count"] > 500
    assert contrast["worst"][0] >= 4.5, contrast["worst"]


def test_nothing_is_asked_for_and_nothing_complained_about(one: browser.Browser, shown: Callable[[], Path]) -> None:
    one.open(shown(), width=1400)
    assert [url for url in one.requests() if not url.startswith("data:")] == [shown().as_uri()]
    assert one.complaints() == []
    assert one.ask("document.querySelectorAll('figure.chart').length") == 12
    wide = "(f) => f.querySelector('.drawn svg').getBoundingClientRect().width > 100"
    assert one.ask(f"[...document.querySelectorAll('figure.chart')].every({wide})")
    assert one.ask("[...document.images].every((each) => each.complete && each.naturalWidth)")
    assert one.ask("document.body.innerText.includes('<script>boom()</script>')")


@pytest.mark.parametrize(("width", "dark"), [(380, True), (1400, False)])
def test_the_page_of_a_diagnosis(one: browser.Browser, tmp_path: Path, width: int, dark: bool) -> None:
    names = [*(f"layer{number}.conv1" for number in range(70)), LONG]
    layers = tuple(noise.layer(name, 9 - index / 10, 20 + index) for index, name in enumerate(names))
    about = replace(noise.DIAGNOSIS, layers=layers, causes=(noise.OUTLIER, replace(noise.OUTLIER, layer=LONG)))
    path = tmp_path / "noise.html"
    path.write_text(noise_page.render(about, [noise.COMMAND, (LONG, LONG)]), encoding="utf-8")
    one.open(path, width=width, dark=dark)
    one.ask("for (const each of document.querySelectorAll('details')) each.open = true")
    assert one.ask("document.documentElement.scrollWidth") <= width
    assert one.ask(OUTSIDE) == []
    assert one.ask(CONTRAST)["worst"][0] >= 4.5
    assert one.complaints() == []
    assert one.ask("document.querySelectorAll('figure.chart .mark').length") == 20 + len(names)


def test_what_was_slipped_in_would_not_run(one: browser.Browser, shown: Callable[[], Path], tmp_path: Path) -> None:
    """The second wall: even where the first one failed, the page's policy lets nothing run or load."""
    slipped = "<script>document.title = 'run'</script><img src='https://example.org/x.png' onerror='boom()'>"
    path = tmp_path / "slipped.html"
    path.write_text(shown().read_text().replace("<main>", f"<main>{slipped}"))
    one.open(path, width=1400)
    assert one.ask("document.title") != "run"
    assert len(one.complaints()) >= 2
    assert not [event for event in one.events if event["method"] == "Network.responseReceived"
                and event["params"]["response"]["url"].startswith("http")]  # fmt: skip


def test_keys_reach_whatever_can_be_hovered(one: browser.Browser, shown: Callable[[], Path]) -> None:
    one.open(shown(), width=1400)
    reached: dict[str, int] = {}
    for _ in range(300):
        one.press("Tab")
        chart, number = one.ask(NOW)
        if one.ask("document.activeElement === document.body"):
            break
        if number != 0:
            continue
        count = one.ask(f"document.querySelectorAll('figure[aria-label=' + CSS.escape({chart!r}) + '] .mark').length")
        said = {one.ask(TIP)}
        for number in range(1, count):
            one.press("ArrowRight")
            assert one.ask(NOW) == [chart, number]
            said.add(one.ask(TIP))
        assert "" not in said
        reached[chart] = count
    assert list(reached) == one.ask("[...document.querySelectorAll('figure.chart')].map((f) => f.ariaLabel)")
    one.press("Escape")


def test_a_mark_that_is_pointed_at_says_what_it_is(one: browser.Browser, shown: Callable[[], Path]) -> None:
    one.open(shown(), width=380)
    x, y, said = one.ask(SPOT)
    one.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    box = one.ask(BOX)
    assert box[0] == said
    assert box[1] >= 0
    assert box[2] <= 380
    assert one.ask("document.querySelectorAll('.mark title').length") == 0


def test_on_paper_the_numbers_are_open(one: browser.Browser, shown: Callable[[], Path]) -> None:
    one.open(shown(), width=1000, dark=True)
    one.call("Emulation.setEmulatedMedia", media="print", features=[])
    assert one.ask("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert one.ask("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert one.ask(CONTRAST)["worst"][0] >= 4.5
    one.ask("dispatchEvent(new Event('beforeprint'))")
    assert one.ask("document.querySelectorAll('details:not([open], .more)').length") == 0
    one.ask("dispatchEvent(new Event('afterprint'))")
    assert one.ask("document.querySelectorAll('details[open]').length") == 0


def test_without_its_script_the_page_says_the_same(one: browser.Browser, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(report.FORMATS["html"](runs.run()), encoding="utf-8")
    one.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        one.open(path, width=1400)
    finally:
        one.call("Emulation.setScriptExecutionDisabled", value=False)
    assert one.ask("document.querySelectorAll('.mark title').length") > 50
    assert one.complaints() == []

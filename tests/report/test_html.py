"""The page of a run, without a browser: what is on it, what never is, what stands where something is missing."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgeresnet import pipeline, recipe, report
from edgeresnet.errors import ArtifactError
from edgeresnet.portable.result import Accuracy
from edgeresnet.report import summary
from edgeresnet.report.html import extras, page
from edgeresnet.report.html.element import Markup, el
from edgeresnet.report.html.scale import Scale, around
from edgeresnet.runs import Run
from edgeresnet.store import Store

from ..conftest import tiny
from ..images import test_cifar
from . import runs

VOID = {"meta", "link", "img", "br", "hr"}
ODD = ["<script>alert(1)</script>", "\"'><img src=x onerror=alert(1)>", "🦊 & co", "שלום\u202e.exe"]
ODD += ["a</style>b", "a\0b"]


class Read(HTMLParser):
    """Every element with its attributes, the text inside it, and whether all were closed in order."""

    def __init__(self, text: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.found)


def read(run: Run) -> Read:
    return Read(report.FORMATS["html"](run))


def page_of(run: Run, **found: Any) -> str:
    """Return the page of a run of which this was found in its store."""
    return page.page(summary.of(run), extras.Extras(**found))


def test_the_first_screen_has_the_verdict_and_its_numbers() -> None:
    text = read(runs.run()).text
    start = text[: text.index("The vertical line")]
    for words in (
        "KEPT Every promise is kept.",
        "95.00 → 92.00 %",
        "lost: 3.00 points (+1.04 to +5.74)",
        "0.8",
        "× as fast as FP32 (",
        "× as fast as the half-precision variant (",
        "1.00 → 0.25 MB",
        "25 % of FP32's",
        "Ship INT8: 2.5",
    ):
        assert words in start, (words, start)


def test_every_chart_names_its_digest_and_has_its_numbers_beneath() -> None:
    text = report.FORMATS["html"](runs.run())
    figures = re.findall(r"<figure.*?</figure>", text, re.S)
    titles = [re.search(r'aria-label="([^"]+)"', figure)[1] for figure in figures]  # type: ignore[index]
    assert titles == [
        "Promises",
        "Accuracy against latency",
        "Latency on openvino",
        "Classes on openvino, int8 against FP32",
        "Quantization noise, openvino",
        "Noise by layer, openvino",
        "Pruning for openvino: what is faster",
        "Channels that stay",
        "Training",
        "Recovery",
    ]
    for figure in figures:
        assert re.search(r"<figcaption>From [^<]+<code title=\"[0-9a-f]{64}\">[0-9a-f]{12}</code>", figure)
        assert re.search(r"<details><summary>The numbers</summary>.*<tbody><tr>", figure, re.S)
        marks = re.findall(r'<g class="mark[^>]*tabindex="0"><title>[^<]{10,}</title>', figure)
        assert marks, figure[:200]


def test_a_page_asks_for_nothing_from_anywhere() -> None:
    text = report.FORMATS["html"](runs.run())
    seen = Read(text)
    for tag, attributes in seen.found:
        assert tag not in {"iframe", "object", "embed", "base", "form", "audio", "video"}
        assert not any(key.startswith("on") or key == "style" for key in attributes), (tag, attributes)
        for key in ("src", "href", "xlink:href", "srcset", "data"):
            value = attributes.get(key) or "#"
            assert value.startswith(("#", "data:")), (tag, value)
    assert not re.search(r"url\(|@import|https?:|//[a-z]", text)
    policy = next(a["content"] for t, a in seen.found if a.get("http-equiv") == "Content-Security-Policy") or ""
    assert policy.startswith("default-src 'none'; img-src data:;")
    for kind in ("style", "script"):
        inside = re.search(f"<{kind}>(.*?)</{kind}>", text, re.S)[1]  # type: ignore[index]
        allowed = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{allowed}'" in policy


@pytest.mark.parametrize("name", ODD)
def test_odd_names_are_shown_as_text_wherever_they_stand(name: str) -> None:
    plain = read(runs.run())
    run = runs.document(problem={"message": name, "hint": name, "step": name})
    run["results"] = {name: runs.result(name, classes=[name, "dog", "newt"], skipped=[name])}
    run["verdicts"] = [runs.verdict(target=name, reason=name, kind="min_recall_pct", subject=name)]
    run["recipe"]["model"] |= {"arch": name, "checkpoint": name}
    run["steps"][0] |= {"warnings": [runs.warning(name)], "reason": name, "state": "failed"}
    run["steps"][4]["notes"]["kept_float"] = {name: name}
    run["machine"]["cpu"]["model"] = name
    pictures, names = dict.fromkeys((0, 7), "data:image/png;base64,AA=="), {0: name, 7: name}
    text = page_of(runs.decoded(run), names=names, pictures=pictures, no_pictures=name, unread=name)
    seen = Read(text)
    assert {tag for tag, _ in seen.found} <= {tag for tag, _ in plain.found} | {"img", "dl", "dt", "dd"}
    assert seen.count("script") == seen.count("style") == 1
    assert not any(key.startswith("on") for _, attributes in seen.found for key in attributes)
    shown = name.replace("\u202e", "\\u202e").replace("\0", "\\u0000")
    assert seen.text.count(shown) > 20
    assert "\u202e" not in text
    assert "\0" not in text


def test_nothing_but_an_element_is_markup() -> None:
    made = el("p", "<b>", el("b", "&"), ["'", None], title='"<', class_="x", hidden=True, data_x=None)
    assert made == Markup('<p title="&quot;&lt;" class="x" hidden>&lt;b&gt;<b>&amp;</b>&#x27;</p>')
    for wrong in ({"src": "https://example.org/x.png"}, {"href": "javascript:1"}, {"onclick": "1"}, {"style": "x"}):
        with pytest.raises(ValueError, match="would"):
            el("a", **wrong)
    with pytest.raises(ValueError, match="not an element"):
        el("p><script")


def test_a_run_that_failed_halfway_names_the_step() -> None:
    absent = runs.not_measured("openvino", "the run ended before it")
    problem = {"message": "the disk is full", "hint": "free some", "step": "quantize:openvino"}
    changes: dict[str, Any] = {"results": {"openvino": absent}, "verdicts": [], "verdict": "NOT_MEASURED"}
    seen = read(runs.run(problem=problem, steps=runs.steps()[:4], **changes))
    assert "The run ended early in step quantize:openvino. the disk is full free some" in seen.text
    assert "Done before: train, prune, recover, trace." in seen.text
    assert "Requested, and not reached: quantize." in seen.text
    assert "Top-1 not measured Latency not measured Size not measured" in seen.text
    assert "Training" in seen.text  # what is there is drawn
    older = read(runs.run(problem={"message": "x", "hint": ""}, steps=runs.steps()[:1], **changes))
    assert "The run ended early after step train. x" in older.text


def test_the_runner_records_where_it_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("edgeresnet.stages.trace.trace", full)
    store = Store.open(tmp_path / "store")
    with pytest.raises(Exception, match="disk is full"):
        pipeline.run(recipe.parse(tiny(train__epochs=1)), store)
    run = store.load_run()
    assert run.problem is not None
    assert run.problem.step == "trace"
    assert "The run ended early in step trace." in Read(report.html.of_store(run, store)).text
    assert "The run ended early in step trace: " in " ".join(report.FORMATS["terminal"](run).split())


@pytest.mark.parametrize(
    ("absent", "here", "words"),
    [
        (runs.not_measured, "not measured", "NOT_MEASURED Something that was requested was not measured."),
        (
            runs.deferred,
            "not measured here",
            "DEFERRED Nothing is broken; a device must still measure its bundle",
        ),
    ],
)
def test_what_was_not_measured_is_shown_as_not_measured(
    absent: Callable[..., runs.Json], here: str, words: str
) -> None:
    results = {"openvino": runs.result(), "tensorrt": absent("tensorrt", "no driver", "install one")}
    text = read(runs.run(results=results)).text
    assert words in text
    assert "No driver. Install one." in text
    assert f"Top-1 {here} Latency {here} Size {here}" in text


def test_without_labels_or_times_nothing_is_made_up() -> None:
    run = runs.document()
    about = run["results"]["openvino"]
    about["labels"] = None
    for each in about["variants"].values():
        each["latency"] = None
        for key in ("top1", "top5", "flips_lost", "flips_won"):
            del each["accuracy"][key]
    seen = read(runs.decoded(run))
    assert "Top-1 not known the images have no labels" in seen.text
    assert "Latency not measured" in seen.text
    assert "Accuracy against latency" not in seen.text


def test_noise_is_shown_layer_by_layer_where_it_is_known() -> None:
    run = runs.document()
    text = read(runs.decoded(run)).text
    assert "layer1.0: 18.2 dB" in text
    assert "fc: no difference" in text
    assert "Its layers were not measured." not in text
    run["steps"][4]["notes"]["layers"] = {}
    text = read(runs.decoded(run)).text
    assert "Noise by layer" not in text
    assert "Its layers were not measured." in text


@pytest.mark.parametrize("change", ["no verdicts", "no results", "no steps", "one process", "no epoch", "one class"])
def test_a_run_with_little_in_it_has_a_page(change: str) -> None:
    run = runs.document()
    about = run["results"]["openvino"]
    if change == "no verdicts":
        run["verdicts"] = []
    elif change == "no results":
        run |= {"results": {}, "verdicts": []}
    elif change == "no steps":
        run["steps"] = []
    elif change == "one process":
        for each in about["variants"].values():
            each["latency"] = runs.latency(1.0, processes=1)
    elif change == "no epoch":
        run["steps"][2]["notes"] |= {"history": [], "epochs": 0}
        run["steps"][0]["notes"]["history"] = runs.history(1)
    else:
        about["classes"] = ["a"]
        about["labels"] = about["reference_predicted"] = [0] * runs.IMAGES
        for each in about["variants"].values():
            each["predicted"] = [0] * runs.IMAGES
    assert "edgeresnet" in read(runs.decoded(run)).text


@pytest.mark.parametrize(
    ("word", "reason", "advice"),
    [
        ("BROKEN", "9 points lost", "Do not ship INT8: max_drop_pp: 9 points lost."),
        ("UNDECIDED", "about 20 more would decide", "Do not ship INT8 yet: max_drop_pp: about 20 more would decide."),
        (
            "NOT_MEASURED",
            "the clock stood",
            "Do not ship INT8 yet, a measurement is missing: max_drop_pp: the clock stood.",
        ),
    ],
)
def test_the_advice_follows_the_verdict(word: str, reason: str, advice: str) -> None:
    assert advice in read(runs.run(verdicts=[runs.verdict(word, reason=reason)], verdict=word)).text


def test_a_thousand_classes_and_many_images_stay_small() -> None:
    labels = [number % 1000 for number in range(50_000)]
    before, now = list(labels), list(labels)
    for number in range(0, 50_000, 9):
        now[number] = (now[number] + 1) % 1000
    results = {}
    for target in ("onnxruntime", "openvino", "tensorrt", "other"):
        every = {
            name: runs.variant(now if name == "int8" else before, before, labels, 1.0, 1 + number)
            for number, name in enumerate(("fp32", "half", "int8"))
        }
        classes = [f"n{number:08} some longer name of a class" for number in range(1000)]
        about = {"classes": classes, "labels": labels, "reference_predicted": before, "variants": every}
        results[target] = runs.result(target, **about)
    pixels = np.random.default_rng(0).integers(0, 256, (96, 96, 3)).astype(np.uint8)
    picture = extras._uri(Image.fromarray(pixels))
    run = runs.run(results=results)
    changed = [each.number for each in summary.changed_images(run.measured)]
    text = page_of(run, pictures=dict.fromkeys(changed[: extras.PICTURES], picture))
    assert text.count("<img") == extras.PICTURES
    assert len(text) < 3_000_000
    assert "The table has 200 of them, and `--format json` has all." in Read(text).text


def test_a_promise_that_this_version_does_not_know_is_listed_and_not_drawn() -> None:
    later = runs.verdict("BROKEN", target="onnxruntime", kind="max_something_new", reason="it is new")
    text = Read(report.FORMATS["html"](runs.run(verdicts=[later], verdict="BROKEN"))).text
    assert "max_something_new" in text
    assert "it is new" in text


def test_promises_of_a_thousand_classes_stay_small_and_the_worst_are_seen() -> None:
    verdicts = []
    for target in ("onnxruntime", "openvino", "tensorrt"):
        for number in range(1000):
            about: dict[str, Any] = {"target": target}
            about |= {"kind": "min_recall_pct", "subject": f"n{number:08} some longer name of a class"}
            about |= {"limit": 50.0, "value": 60.0 + number / 100, "low": 55.0, "high": 90.0}
            verdicts.append(runs.verdict(**about, reason="60.00 % of it found; promised at least 50"))
    verdicts[1500] |= {"verdict": "BROKEN", "reason": "this one is broken", "value": 10.0, "low": 1.0, "high": 20.0}
    verdicts[1600] |= {"verdict": "UNDECIDED", "reason": "this one is not decided", "value": 51.0}
    verdicts[2700] |= {"verdict": "NOT_MEASURED", "reason": "this one was not measured", "value": None}
    verdicts[2999] |= {"reason": "this one is kept narrowly", "value": 50.1}
    text = report.FORMATS["html"](runs.run(verdicts=verdicts, verdict="BROKEN"))
    assert len(text) < 3_000_000 / 10, "the rest of the page needs its room, too"
    section = Read(re.search(r'<figure[^>]*aria-label="Promises".*?</figure>', text, re.S)[0])  # type: ignore[index]
    assert (
        "The chart shows the 24 worst of 3,000. The table has the 200 worst, and `--format json` has all."
        in section.text
    )
    order = ("is broken", "was not measured", "is not decided", "is kept narrowly")
    found = [section.text.index(f"this one {words}") for words in order]
    assert found == sorted(found)
    assert (section.count("li"), section.count("tr")) == (24, 1 + 200)
    few = Read(report.FORMATS["html"](runs.run(verdicts=verdicts[:24], verdict="KEPT")))
    assert "The chart shows the 24" not in few.text


def test_the_frontier_holds_what_no_other_beats() -> None:
    def point(p50: float, top1: int) -> summary.TradeoffPoint:
        return summary.TradeoffPoint("r", "t", "v", "d", Accuracy(100, 100, top1), p50, "here")

    found = summary.frontier([point(1, 80), point(2, 90), point(3, 85), point(2, 70), point(4, 90), point(5, 95)])
    assert [(each.p50_ms, each.accuracy.score_pct) for each in found] == [(1, 80), (2, 90), (5, 95)]


def test_other_runs_of_the_same_model_are_drawn_next_to_it(tmp_path: Path) -> None:
    mine, other, else_, remote = (runs.document(id=f"2026010{day}-120000-000000-abcdef") for day in range(1, 5))
    for number, each in enumerate((other, else_, remote)):
        each["results"]["openvino"]["variants"]["int8"]["digest"] = runs.digest(200 + number)
    else_["recipe"]["model"]["arch"] = "cifar_resnet20"
    for process in remote["results"]["openvino"]["variants"]["int8"]["latency"]["processes"]:
        process["machine"] = {**runs.MACHINE, "cpu": "Another"}
    store = runs.stored(tmp_path / "store", *map(runs.decoded, (mine, other, else_, remote)))
    (store.root / "runs" / "20260101-000000-000000-abcdef.json").write_text('{"format": 1}')
    seen = Read(report.html.of_store(runs.decoded(mine), store))
    assert "Runs of this store that cannot be read, or are of another format: 1." in seen.text
    assert "Networks of another machine, an emulator or another batch are only in the table: 1." in seen.text
    assert f"{other['id']} {runs.digest(200)[:12]}" in seen.text
    assert f"not drawn {remote['id']} {runs.digest(202)[:12]}" in seen.text
    assert runs.digest(201)[:12] not in seen.text
    drawn = [a for t, a in seen.found if t == "g" and "other" in (a.get("class") or "")]
    assert len(drawn) == 1


@pytest.fixture
def flipped(colours: Callable[[str], Path], tmp_path: Path) -> tuple[Store, Run, Path]:
    """Return a run on real images, two of which are answered differently than before, and their folder."""
    folder = tmp_path / "images"
    for label in ("blue", "green", "red"):
        (folder / label).mkdir(parents=True)
        for path in sorted((colours("evaluation") / label).iterdir())[:4]:
            (folder / label / path.name).write_bytes(path.read_bytes())
    store = Store.open(tmp_path / "store")
    return store, runs.on_images(store, folder), folder


def test_flipped_images_are_shown_with_each_answer(flipped: tuple[Store, Run, Path]) -> None:
    store, run, _ = flipped
    seen = Read(report.html.of_store(run, store))
    pictures = [attributes for tag, attributes in seen.found if tag == "img"]
    assert [each["alt"] for each in pictures] == ["000.png, which is blue", "001.png, which is green"]
    assert all((each["src"] or "").startswith("data:image/png;base64,") for each in pictures)
    assert "blue 000.png FP32 blue correct openvino red incorrect" in seen.text
    assert "on openvino 2 lost, 0 won, 0 incorrect both times" in seen.text
    assert "evaluation" in seen.text[seen.text.index("made from") :]


def test_images_that_changed_or_are_gone_are_not_shown(flipped: tuple[Store, Run, Path]) -> None:
    store, run, folder = flipped
    changed = folder / "blue" / "000.png"
    changed.write_bytes((folder / "green" / "003.png").read_bytes())
    seen = Read(report.html.of_store(run, store))
    assert "The images are not shown: they have changed since they were measured." in seen.text
    assert seen.count("img") == 0
    assert "image 0 blue blue red" in seen.text
    folder.rename(folder.with_name("away"))
    seen = Read(report.html.of_store(run, store))
    assert f"The images cannot be shown: the folder {folder} does not exist" in seen.text
    assert seen.count("img") == 0


def test_images_as_torchvision_keeps_them_are_shown_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    test_cifar.written(tmp_path)
    monkeypatch.setattr("edgeresnet.images.sources.cifar._MD5", {})
    store = Store.open(tmp_path / "store")
    run = runs.on_images(store, {"from": "cifar10", "root": str(tmp_path)})
    seen = Read(report.html.of_store(run, store))
    assert seen.count("img") == 2
    assert "airplane cifar10[0] FP32 airplane correct openvino truck incorrect" in seen.text
    changed = runs.as_json(run)
    changed["recipe"]["images"]["evaluation"] |= {"root": str(tmp_path / "away"), "download": True}
    monkeypatch.setattr("torchvision.datasets.CIFAR10", None)  # called, it would be a TypeError
    seen = Read(report.html.of_store(runs.decoded(changed), store))
    assert f"The images cannot be shown: CIFAR-10 is not in {tmp_path / 'away'}" in seen.text


def test_a_photograph_is_decoded_only_as_large_as_it_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, label in enumerate(("blue", "green", "red")):
        (tmp_path / "images" / label).mkdir(parents=True)
        for image in range(4):
            pixels = np.full((1000, 1600, 3), 60 * number + 10 * image, np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / label / f"{image}.jpg")
    store, real = Store.open(tmp_path / "store"), extras._uri
    run = runs.on_images(store, tmp_path / "images")
    given: list[tuple[int, int]] = []

    def noted(image: Image.Image) -> str:
        given.append(image.size)
        return real(image)

    monkeypatch.setattr(extras, "_uri", noted)
    seen = Read(report.html.of_store(run, store))
    assert seen.count("img") == 2
    assert given == [(400, 250)] * 2


@pytest.mark.parametrize("bits", [8, 16])
def test_a_picture_is_small_and_holds_nothing_else(bits: int) -> None:
    large = np.random.default_rng(0).integers(0, 256, (400, 300, 3)).astype(np.uint8)
    image = Image.fromarray(large)
    if bits == 16:
        image = Image.fromarray(large[..., 0].astype(np.uint16) * 16)
    image.info["comment"] = b"whose camera it was"
    uri = extras._uri(image)
    assert uri.startswith("data:image/jpeg;base64,")
    picture = base64.b64decode(uri.split(",")[1])
    assert len(picture) < 12_000
    assert b"camera" not in picture


def test_a_page_is_cleaned_away_with_its_run_and_a_run_of_another_format_is_refused(tmp_path: Path) -> None:
    store = runs.stored(tmp_path / "store", runs.run())
    path = store.root / "runs" / f"{runs.run().id}.html"
    path.write_text("x")
    store.clean(0)
    assert not path.exists()
    path.with_name("20250101-000000-000000-abcdef.json").write_text('{"format": 1}')
    with pytest.raises(ArtifactError, match="is a run of format 1"):
        store.load_run()


@pytest.mark.parametrize(
    ("low", "high", "log", "ticks"),
    [
        (0.0, 10.0, False, [0, 2, 4, 6, 8, 10]),
        (80.9, 81.3, False, [80.9, 81.0, 81.1, 81.2, 81.3]),
        (0.3, 40.0, True, [0.3, 1, 3, 10, 30]),
        (1.0, 9.0, True, [1, 2, 5]),
    ],
)
def test_ticks_are_round_and_few(low: float, high: float, log: bool, ticks: list[float]) -> None:
    assert Scale(low, high, log).ticks() == ticks


@pytest.mark.parametrize("scale", [Scale(-2.0, 6.0), Scale(0.5, 80.0, True)])
def test_a_scale_goes_both_ways(scale: Scale) -> None:
    assert [scale.at(scale.back(part)) for part in (0.0, 0.25, 1.0)] == pytest.approx([0.0, 0.25, 1.0])
    assert (scale.back(0.0), scale.back(1.0)) == pytest.approx((scale.low, scale.high))


def test_a_scale_holds_what_it_was_made_around() -> None:
    assert around([]).low < around([]).high
    assert around([5.0, 5.0]).at(5.0) == pytest.approx(0.5)
    wide = around([0.3, 40.0, float("inf")])
    assert wide.log
    assert 0 < wide.at(0.3) < wide.at(1) < wide.at(40) < 1
    assert not around([-1.0, 40.0]).log


@pytest.mark.parametrize(
    ("fp32", "words"),
    [
        (0.4, "Ship FP32: INT8 is not faster (0.500 times as fast"),
        (0.8, "INT8 is not shown to be faster than FP32 (1.000 times as fast"),
    ],
)
def test_what_is_slower_is_not_passed_over_and_chance_is_no_gain(fp32: float, words: str) -> None:
    run = runs.document()
    variants = run["results"]["openvino"]["variants"]
    variants["fp32"]["latency"] = runs.latency(fp32)
    for number, process in enumerate(variants["fp32"]["latency"]["processes"]):
        process["host_ms"] = [[value * (1 + 0.02 * (number - 1)) for value in each] for each in process["host_ms"]]
    del variants["half"]
    text = read(runs.decoded(run)).text
    assert words in text
    assert (": no difference is shown" in text[: text.index("The vertical line")]) == (fp32 == 0.8)


@pytest.mark.parametrize("sources", ["x", None, [], {"evaluation": "digits"}])
def test_a_recipe_of_another_form_has_nothing_to_download(sources: object) -> None:
    assert extras._without_download({"images": sources}) == {"images": sources}
    assert extras._without_download({}) == {}

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from edgeresnet import recipe, targets
from edgeresnet.errors import RecipeError
from edgeresnet.portable import judging
from edgeresnet.portable.measure import TimingPlan
from edgeresnet.portable.result import Promise

from .conftest import tiny, write_recipe

pytestmark = pytest.mark.unit

OWN = {"model__arch": "my.module:make"}
PIPELINES = sorted((Path(__file__).parent.parent / "pipelines").glob("[!s]*.yaml"))  # no sweep


def problems_of(raw: dict) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        recipe.parse(raw)
    return list(caught.value.problems)


def test_a_recipe_is_frozen_and_its_digest_is_of_its_meaning() -> None:
    one, same = recipe.parse(tiny()), recipe.parse(tiny(images__evaluation={"from": "digits"}))
    assert one.digest == same.digest
    assert one.digest != recipe.parse(tiny(seed=1)).digest
    with pytest.raises(ValueError, match="frozen"):
        one.seed = 3  # type: ignore[misc]


def test_all_wrong_keys_at_once_each_with_its_path_and_the_nearest_word() -> None:
    raw = tiny(
        modl={"a": 1},
        train__epoch=3,
        train__rate=-1,
        preprocessing__men=[0.5],
        images__trainig="x",
        targets={"openvno": {}, "openvino": {"float_part": "f32"}, "onnxruntime": {"threads": 0}},
        promises__max_drop=1,
    )
    found = "\n".join(problems_of(raw))
    for expected in (
        "modl: unknown key, did you mean model?",
        "train.epoch: unknown key, did you mean epochs?",
        "train.rate: input should be greater than 0 (given: -1)",
        "preprocessing.men: unknown key, did you mean mean?",
        "images.trainig: unknown key, did you mean training?",
        "targets.openvno: the target 'openvno' does not exist (did you mean openvino?)",
        "targets.openvino.float_part: unknown key, did you mean float_parts?",
        "targets.onnxruntime: threads must be at least 1, not 0",
        "promises.max_drop: unknown key, did you mean max_drop_pp?",
    ):
        assert expected in found, found


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train": None}, "model.checkpoint is missing"),
        ({"images__training": None}, "images.training is missing"),
        ({"images__evaluation": None}, "images.evaluation is missing"),
        ({"version": 2}, "version"),
        ({"model__classes": 1}, "model.classes"),
        ({"preprocessing__size": 0}, "size must be between 1"),
        ({"preprocessing__mean": [0.1, 0.2]}, "give both one value per channel"),
        ({"targets": {"openvino": {"float_parts": "f8"}}}, "float_parts must be one of"),
        ({"targets": []}, "targets"),
        ({"train__optimizer": "lion"}, "train.optimizer"),
        ({"trace": {"batch": 0}}, "trace.batch"),
        ({"train__batch": 1}, "train.batch"),
        ({"train__rate": 1e38}, "train.rate: input should be less than or equal to 1"),
        ({"targets": {}}, "promises are judged on targets"),
        ({"targets": {1: {}}}, "target '1' does not exist"),
        ({"promises__max_drop_pp": float("inf")}, "finite number"),
        ({"promises": {"min_miou_pct": 40}}, "promises.min_miou_pct is not a promise of classification: use max_drop"),
        ({"promises": {"min_iou_pct": {"cat": 40}}}, "promises.min_iou_pct is not a promise of classification"),
        ({"promises": {"min_ap_pct": {"cat": 40}}}, "promises.min_ap_pct is not a promise of classification"),
        (
            {"task": "detection", "images": {"training": "a.json"}, "promises": {"min_top1_pct": 40}},
            "promises.min_top1_pct is not a promise of detection: use max_drop_pp, min_map_pct, min_ap_pct",
        ),
        (
            {"task": "detection", "images": {"training": "a.json"}, "train__label_smoothing": 0.1, "promises": {}},
            "train.label_smoothing is for one class per image or pixel, not for boxes: remove it",
        ),
        ({"model__anchors": {"sizes": [[8], [16]]}}, "model.anchors needs `task: detection`"),
        ({"model__anchors": {"sizes": [[8], [16, 22]]}}, "model.anchors: sizes must have as many sizes for each level"),
        (
            {"task": "detection", "images": {}, "verify": {"threshold": 0.5}},
            "verify.threshold is for one class per image",
        ),
        ({"model__anchors": {"sizes": []}}, "model.anchors.sizes: "),
        ({"images__calibration": "evaluation"}, "must not come from the evaluation images"),
        ({"images__evaluation": {"from": "x", "download": True}}, "can only be set with `from: cifar10`"),
        ({"model": {"classes": 10}}, "model.arch: missing"),
        ({"model__checkpoint": "n.onnx"}, "model.arch: remove it: an ONNX file holds its own architecture"),
        ({"model": {"checkpoint": "n.ONNX"}}, "train: an ONNX file cannot be trained"),
        ({"model__candidate": "w.pth"}, "model.candidate: must be an .onnx file"),
        ({"model__candidate": "n.onnx", "targets": {}, "promises": {}}, "model.candidate is judged on targets"),
        ({"model__candidate": "n.onnx", "images__evaluation": None}, "images.evaluation is missing"),
        ({"model__arch_args": {"depth": 20}}, "model.arch_args: only your own function takes arguments"),
        ({"model": {"checkpoint": "w.pth", "arch_args": {"a": 1}}}, "only your own function takes arguments"),
        (OWN | {"model__arch_args": {"depth": None}}, "arch_args.depth: must be a number, a text, true or false"),
        (OWN | {"model__arch_args": {"depth": [1]}}, "arch_args.depth: must be a number, a text, true or false"),
        (OWN | {"model__arch_args": {"depth": float("nan")}}, "model.arch_args.depth: must be a finite number"),
        (OWN | {"model__arch_args": {"a b": 1}}, "model.arch_args: 'a b' cannot be the name of an argument"),
        (OWN | {"model__arch_args": "depth=20"}, "model.arch_args: input should be a valid dictionary"),
    ],
)
def test_every_problem_is_reported(changes: dict, words: str) -> None:
    assert any(words in problem for problem in problems_of(tiny(**changes)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "line"),
        ("- a\n- b", "is not a recipe"),
        ("", "is not a recipe"),
        ("\x00", "recipe.yaml"),
        ("seed: 2026-13-45", "line 1, column 7: has a value that is not a valid timestamp"),
    ],
)
def test_a_file_that_is_not_a_recipe(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(RecipeError, match=words):
        recipe.load(tmp_path / "recipe.yaml")


def test_set_changes_one_key(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, tiny())
    changed = recipe.load(path, ("train.epochs=7", "images.evaluation.count=20", "promises.max_drop_pp=1.5"))
    assert changed.train is not None
    assert changed.train.epochs == 7
    assert changed.images.evaluation is not None
    assert (changed.images.evaluation.source, changed.images.evaluation.count) == ("digits", 20)
    with pytest.raises(RecipeError, match="must be key=value"):
        recipe.load(path, ("train.epochs",))
    with pytest.raises(RecipeError, match="not valid YAML"):
        recipe.load(path, ("model.checkpoint=[1",))
    with pytest.raises(RecipeError) as caught:
        recipe.load(path, ("train.epocs=7",))
    assert "train.epocs: unknown key, did you mean epochs?" in caught.value.problems


def test_the_schema_accepts_what_we_accept_and_refuses_what_we_refuse() -> None:
    schema = json.loads(json.dumps(recipe.schema()))
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid(tiny())
    for path in PIPELINES:
        assert validator.is_valid(yaml.safe_load(path.read_text()))
    onnx = {"model": {"checkpoint": "n.onnx", "candidate": "int8.onnx"}, "train": None}
    assert validator.is_valid(recipe.parse(tiny(**onnx)).to_json())
    assert validator.is_valid(recipe.parse(tiny()).to_json())
    changes: dict[str, Any]
    for changes in ({"model": {"classes": 2}}, {"model__checkpoint": "n.onnx"}):
        assert not validator.is_valid(tiny(**changes))
    for changes in ({"train__epoch": 1}, {"targets": {"nothing": {}}}, {"preprocessing__men": 1}, {"version": 3}):
        assert not validator.is_valid(tiny(**changes))
    assert set(schema["properties"]["targets"]["properties"]) == set(targets.discover())


def test_factories_differ_from_names() -> None:
    assert recipe.module_of_factory("my.module:make") == ("my.module", "make")
    assert recipe.module_of_factory("resnet50") is None
    assert recipe.module_of_factory("path/my model.py:resnet20") == ("path/my model.py", "resnet20")
    assert recipe.module_of_factory("/a/b.py:Net") == ("/a/b.py", "Net")
    for other in ("path/model:make", "path/model.py", "path/model.py:", "model.py:a b", "https://a/b.py:", ":make"):
        assert recipe.module_of_factory(other) is None


def test_arguments_of_a_factory_keep_their_types() -> None:
    given = {"depth": 20, "drop": 0.5, "rate": "1e-3", "wide": True, "kind": "A", "big": 1.0}
    found = recipe.parse(tiny(model__arch="my.module:make", model__arch_args=given)).model.arch_args
    assert found is not None
    assert [(key, type(value)) for key, value in found.items()] == [
        ("depth", int), ("drop", float), ("rate", float), ("wide", bool), ("kind", str), ("big", float),
    ]  # fmt: skip
    words = ("depth=20", "drop=0.5", "rate=1e-3", "wide=true", "kind=A", "name=a=b", "empty=''")
    assert recipe.arguments(words) == {
        "depth": 20, "drop": 0.5, "rate": "1e-3", "wide": True, "kind": "A", "name": "a=b", "empty": "",
    }  # fmt: skip
    none = recipe.parse(tiny(model__arch="my.module:make", model__arch_args={}))
    assert none.digest == recipe.parse(tiny(model__arch="my.module:make")).digest
    for wrong, words_of_it in (
        (("depth",), "--arch-arg 'depth' must be NAME=VALUE"),
        (("a b=1",), "must be NAME=VALUE"),
        (("a=1", "a=2"), "--arch-arg 'a' is given twice"),
        (("a=[",), r"the value of --arch-arg 'a=\[' is not valid YAML"),
    ):
        with pytest.raises(RecipeError, match=words_of_it):
            recipe.arguments(wrong)


def test_every_promise_of_a_recipe_has_its_judge_and_no_judge_is_idle() -> None:
    assert set(recipe.Promises.model_fields) - {"undecided"} == set(judging.PROMISES)


def test_promises_are_one_per_kind_and_class() -> None:
    assert recipe.parse(tiny(promises={}, targets={})).promises.promises() == ()
    given = {"max_drop_pp": 1.0, "min_recall_pct": {"cat": 90, "a b": 80}, "undecided": "fail"}
    assert recipe.parse(tiny(promises=given)).promises.promises() == (
        Promise("max_drop_pp", 1.0),
        Promise("min_recall_pct", 90, "cat"),
        Promise("min_recall_pct", 80, "a b"),
    )


def test_the_timing_plan_is_without_rebuilds() -> None:
    plan = recipe.parse(tiny(verify={"processes": 3, "seconds": 9, "rebuilds": 4})).verify.plan()
    assert plan == TimingPlan(processes=3, seconds=9.0)


@pytest.mark.parametrize("word", ["", None, 3])
def test_where_a_target_is_measured_is_one_of_two_words(word: object) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe.parse(tiny(targets={"openvino": {"where": word, "threads": 0}}))
    assert any(line.startswith("targets.openvino.where: ") and "bundle" in line for line in caught.value.problems)
    assert any("threads must be at least 1" in line for line in caught.value.problems)
    assert recipe.parse(tiny(targets={"openvino": {"where": "bundle"}})).delivery("openvino").where == "bundle"


def test_what_ships_is_int8_where_it_is_quantized_unless_another_precision_is_requested() -> None:
    def ships(**changes: Any) -> str:
        return recipe.parse(tiny(**changes)).ships("openvino")

    quantized = {"quantize": {}, "images__calibration": {"from": "training", "count": 20}}
    assert ships(targets={"openvino": {}}) == "fp32"
    assert ships(targets={"openvino": {}}, **quantized) == "int8"
    assert ships(targets={"openvino": {"precision": "fp16"}}, **quantized) == "half"
    assert ships(targets={"openvino": {"precision": "fp32"}}, **quantized) == "fp32"
    with pytest.raises(RecipeError) as caught:
        ships(targets={"openvino": {"precision": "int8"}})
    assert caught.value.problems == ("quantize is missing: targets.openvino.precision is int8 and needs it",)


def test_every_key_of_the_schema_is_described() -> None:
    """A reference page is made from it, and an editor shows it."""
    schema = recipe.schema()
    sections = {**schema["$defs"], "recipe": schema, **schema["properties"]["targets"]["properties"]}
    for name, section in sections.items():
        for key, node in section.get("properties", {}).items():
            words = node.get("description", "")
            assert words.endswith((".", "}.", "`.")), f"{name}.{key}: {words}"
            assert "\n" not in words


def test_the_schema_has_the_choices_of_dataclasses_too() -> None:
    schema = recipe.schema()
    assert schema["$defs"]["Preprocessing"]["properties"]["order"]["enum"] == ["rgb", "bgr"]
    options = schema["properties"]["targets"]["properties"]["openvino"]["properties"]
    assert options["residual"]["enum"] == ["shortcut", "both", "auto", None]
    for value in options["float_parts"]["enum"]:
        recipe.parse(tiny(targets={"openvino": {"float_parts": value}}))

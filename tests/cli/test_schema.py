"""`edgeresnet schema`: every document that a command prints with --json is as its schema describes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from edgeresnet.store import Store

from ..conftest import tiny, write_recipe
from .conftest import Command, Exported, out_of, refused


def validator(command: Command, document: str) -> jsonschema.Draft202012Validator:
    """Return a validator of what `edgeresnet schema` prints."""
    schema: dict[str, Any] = json.loads(out_of(0, command("schema", document)))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("document", ["run", "result", "sweep"])
def test_other_documents_do_not_fit(command: Command, document: str) -> None:
    found = validator(command, document)
    assert not found.is_valid({})
    assert not found.is_valid([])


def test_without_a_name_it_is_that_of_a_recipe(command: Command) -> None:
    printed = out_of(0, command("schema"))
    assert json.loads(printed)["title"] == "edgeresnet recipe"
    assert printed == out_of(0, command("schema", "recipe"))
    assert "'runs' is not one of" in refused(command("schema", "runs"))


def test_a_sweep_is_as_its_schema_describes_it(command: Command) -> None:
    sweep = validator(command, "sweep")
    raw = yaml.safe_load((Path(__file__).parents[2] / "pipelines" / "sweep-digits.yaml").read_text())
    sweep.validate(raw)
    changes: tuple[dict[str, Any], ...] = (
        {"trials": 0},
        {"trails": 3},
        {"objectives": []},
        {"space": {"prune.macs": {"low": 0.3}}},
        {"space": {"prune.macs": []}},
        {"recipe": {"version": 1, "model": {"arhc": "resnet18"}}},
    )
    for wrong in changes:
        assert not sweep.is_valid(raw | wrong), wrong
    assert sweep.is_valid(raw | {"recipe": "recipe.yaml"})


def test_every_command_prints_runs_as_the_schema_describes_them(
    command: Command, own_store: Store, net: Path, tmp_path: Path
) -> None:
    path = write_recipe(tmp_path, tiny(targets={"onnxruntime": {}, "tensorrt": {"where": "bundle"}}))
    quick = ("--set", "verify.processes=1", "--set", "verify.seconds=0.2")
    run = validator(command, "run")
    for words in (
        ["run", path, "--json", "-q"],
        ["verify", net, "--evaluation", "digits", "--target", "onnxruntime", *quick, "--json", "-q"],
        ["report", "--format", "json"],
        ["show", "--json"],
    ):
        document = json.loads(out_of(0, command(*words, "--store", own_store.root)))
        run.validate(document)
        assert document["format"] == 3
        del document["verdict"]
        assert not run.is_valid(document)


def test_a_devices_result_and_the_run_that_it_is_collected_in_are_as_their_schemas_describe_them(
    command: Command, measured: Exported
) -> None:
    result = json.loads(measured.result.read_text())
    validator(command, "result").validate(result)
    run = json.loads(out_of(0, command("collect", measured.result, "--store", measured.store.root, "--json")))
    validator(command, "run").validate(run)
    assert not validator(command, "run").is_valid(result)

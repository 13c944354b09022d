"""Stored JSON of an older edgeresnet as this one writes it: runs of format 2, and manifests whose warnings are text.

The one place that knows older formats. What comes out is decoded like any other document; a CodecError names what is
not even of the older format.
"""

from __future__ import annotations

from collections.abc import Mapping

from .portable import codec

RUN_FORMAT = 2  # the one older format of runs that is read
Json = Mapping[str, object]


def upgraded_run(run: Json) -> Json:
    """Return a run of format 2 as one of format 3."""
    results = {name: _result(_object(each)) for name, each in _object(run.get("results")).items()}
    steps = [_step(_object(each)) for each in _list(run.get("steps"))]
    verdicts = [_verdict(_object(each)) for each in _list(run.get("verdicts"))]
    return {**run, "format": 3, "results": results, "steps": steps, "verdicts": verdicts}


def upgraded_manifest(manifest: Json) -> Json:
    """Return an artifact's manifest with its warnings as objects."""
    return {**manifest, "warnings": _warnings(manifest.get("warnings", []))}


def _result(result: Json) -> Json:
    if "variants" in result:
        return {**result, "state": "measured"}
    others = {key: value for key, value in result.items() if key != "deferred"}
    return {**others, "state": "deferred" if result.get("deferred") else "not_measured"}


def _step(step: Json) -> Json:
    others = {key: value for key, value in step.items() if key != "stage"}
    stage, target, variant = _id_parts(str(step.get("id")))
    return {
        **others,
        "step": {"stage": stage, "target": target, "variant": variant},
        "warnings": _warnings(step.get("warnings", [])),
    }


def _id_parts(text: str) -> tuple[str, str, str]:
    stage, _, rest = text.partition(":")
    if stage == "trace":  # the network before it was pruned is a variant
        return stage, "", rest
    target, _, variant = rest.partition(":")
    return stage, target, variant


def _verdict(verdict: Json) -> Json:
    kind, _, subject = str(verdict.get("promise")).partition(" ")
    others = {key: value for key, value in verdict.items() if key != "limit"}
    return {**others, "promise": {"kind": kind, "limit": verdict.get("limit"), "subject": subject}}


def _warnings(found: object) -> list[object]:
    return [{"code": "", "text": each, "subject": ""} if isinstance(each, str) else each for each in _list(found)]


def _object(value: object) -> Json:
    found: Json = codec.decode(Mapping[str, object], value)
    return found


def _list(value: object) -> tuple[object, ...]:
    return codec.decode(tuple[object, ...], value)

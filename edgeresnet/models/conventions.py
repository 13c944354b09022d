"""Which of the networks that fit the tensors it is, where `config.json` of transformers or timm says it; or the
configuration in a checkpoint of mmpretrain.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from . import hub, names, openmmlab
from .hub import Convention
from .recognised import Recognised

_PLAIN = re.compile(r"resnet\d+")  # version 1.5, with a max-pool, and nothing else


def decided(found: Recognised | None, convention: Convention | None) -> Recognised | None:
    """Return what was recognised, with the one architecture that the convention leaves.

    Without an architecture where the network has what none of ours has. Unchanged where the convention is about another
    network.
    """
    if found is None or convention is None or not found.archs:
        return found
    if convention.library == openmmlab.LIBRARY:
        return _by_style(found, convention)
    archs = [arch for arch in _with_first_strides(found.archs) if _is(arch, convention)]
    unusual = convention.unusual
    if not archs and convention.first_stage_strided:
        archs = [arch for arch in found.archs if _is(arch, replace(convention, first_stage_strided=False))]
        unusual = unusual or "its first stage has stride 2"
    if not archs:
        return found
    if unusual:
        return replace(found, archs=(), words=f"{found.words}, but {unusual} ({hub.CONFIG})")
    first = convention.stride == hub.V1 and convention.bottleneck
    words = f"{found.words}, strides in each block's first convolution" if first else found.words
    words = f"{words} ({hub.CONFIG} says what tensors do not show)" if len(found.archs) > 1 else words
    return replace(found, archs=(archs[0],), words=words)


def _by_style(found: Recognised, convention: Convention) -> Recognised:
    """Leave the networks whose strides are where the configuration in the file says."""
    builds = {arch: names.written_out(arch) for arch in found.archs}
    wanted = convention.stride == hub.V1
    archs = tuple(arch for arch, build in builds.items() if bool(build and build.first_strided) == wanted)
    if not archs or archs == found.archs:
        return found
    return replace(found, archs=archs, words=f"{found.words} (its configuration says where strides are)")


def _with_first_strides(archs: Iterable[str]) -> Iterator[str]:
    """Yield networks; and those whose stages all halve the size, also with their strides in the first convolutions."""
    for arch in archs:
        yield arch
        build = names.written_out(arch)
        if build and build.halved and build.plan.bottleneck and not build.first_strided:
            yield replace(build, first_strided=True).name


def _is(arch: str, convention: Convention) -> bool:
    """Return whether an architecture is built as the convention says."""
    if convention.arch:
        return arch == convention.arch
    first = convention.stride == hub.V1 and bool(convention.bottleneck)
    build = names.written_out(arch)
    if build is None:
        return _PLAIN.fullmatch(arch) is not None and not (first or convention.first_stage_strided)
    usual = (
        build.pooled
        and build.stem_stride == 2
        and not build.shortcut
        and build.halved == bool(convention.first_stage_strided)
        and not (build.raw or build.averaged or build.activation)
    )
    return usual and build.first_strided == first and build.plan.bottleneck == convention.bottleneck

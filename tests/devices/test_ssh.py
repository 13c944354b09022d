"""What keeps a connection from working is one line with a hint; nothing of a name is read by a shell."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from edgeresnet.devices import book, looking, ssh
from edgeresnet.errors import RecipeError, TargetError

pytestmark = pytest.mark.unit

DEVICE = book.Device(ssh="nvidia@orin.local")


@pytest.mark.parametrize(
    ("code", "errors", "words", "hint"),
    [
        (255, "No ED25519 host key is known for x and you asked for strict checking.\nHost key verification failed.",
         "has a host key that ssh does not know", "`ssh nvidia@orin.local`"),
        (255, "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
         "has another host key", "`ssh-keygen -R orin.local`"),
        (255, "nvidia@orin.local: Permission denied (publickey,password).", "refused your key", "`ssh-copy-id"),
        (255, "/x/config: terminating, 1 bad configuration options", "ssh refuses its configuration", "configuration"),
        (127, "bash: line 1: exec: python3: not found", "has no program python3", "`python:`"),
        (1, "Traceback\nAttributeError: 'file' object has no attribute 'buffer'", "did not start Python", "3.10"),
        (1, "", "did not start Python: This account is currently not available.", "3.10"),
    ],
)  # fmt: skip
def test_a_refusal_is_one_line_with_a_hint(code: int, errors: str, words: str, hint: str) -> None:
    found = ssh.refusal("orin", DEVICE, code, errors, "This account is currently not available.\n")
    assert isinstance(found, TargetError)
    assert words in found.message
    assert hint in found.hint
    assert "\n" not in found.message + found.hint


@pytest.mark.parametrize(
    "errors", ["ssh: connect to host x port 22: Connection refused", "Connection timed out during banner exchange", ""]
)
def test_what_may_pass_is_no_refusal(errors: str) -> None:
    assert isinstance(ssh.refusal("orin", DEVICE, 255, errors, ""), ssh.Dropped)


@pytest.mark.parametrize("name", ["python3", "~/my env/bin/python", "/a'b/$(touch x)/py`touch x`;\"é", "-c"])
def test_a_programs_name_is_one_word_to_a_shell(name: str) -> None:
    *_, line = ssh.command(DEVICE.model_copy(update={"python": name}))
    words = shlex.split(line)
    assert words[:3] == ["exec", name, "-c"]
    assert len(words) == 4
    assert not line.startswith("exec ~/'") or name.startswith("~/")


def test_ssh_asks_for_nothing_and_takes_no_option_from_an_address() -> None:
    words = ssh.command(DEVICE)
    assert words[words.index("--") + 1] == "nvidia@orin.local"
    for wanted in ("-oBatchMode=yes", "-oStrictHostKeyChecking=yes", "-oPasswordAuthentication=no"):
        assert wanted in words
    assert not set(words[-1].split("-c ")[1].strip("'")) & set("'$`\\!"), "a quote of any shell"


@pytest.mark.parametrize("address", ["-oProxyCommand=x", "a b", "x;touch y", "$(x)", "u@h:22", "", "u@-h", "a\nb"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(RecipeError) as caught:
        book.parse({"orin": {"ssh": address}})
    assert caught.value.problems[0].startswith("orin.ssh: must be user@host")


def test_all_wrong_keys_are_reported_at_once() -> None:
    raw = {
        "orin": {"ssh": "x", "pythn": "python3", "timeout_minutes": 0},
        "a b": {"ssh": "x"},
        "nano": {"target": "cuda"},
    }
    with pytest.raises(RecipeError) as caught:
        book.parse(raw)
    found = "\n".join(caught.value.problems)
    for words in (
        "orin.pythn: unknown key, did you mean python?",
        "orin.timeout_minutes: input should be greater than 0",
        "'a b': a name of a device has letters",
        "nano.ssh: missing",
        "nano.target.0: must be one of onnxruntime",
    ):
        assert words in found
    assert len(caught.value.problems) == 5


def test_the_nearest_devices_yaml_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with pytest.raises(RecipeError, match=r"there is no devices\.yaml next to the recipe"):
        book.near(tmp_path, "orin")
    book.add(book.own(), "orin", book.Device(ssh="a@b"))
    assert book.near(tmp_path, "orin")["orin"].ssh == "a@b"
    (tmp_path / "devices.yaml").write_text("nano: {ssh: c@d}\n")
    with pytest.raises(RecipeError, match=r"'orin' is not in devices\.yaml") as caught:
        book.named(("nano", "orin"), book.near(tmp_path, "orin"))
    assert caught.value.hint == "known devices: nano"


def test_adding_keeps_comments_and_replaces_one_entry(tmp_path: Path) -> None:
    path = tmp_path / "devices.yaml"
    path.write_text("# mine\norin:\n  ssh: a@b\n  # its\n  python: x\nnano: {ssh: c@d}  # theirs")
    book.add(path, "tx2", book.Device(ssh="e@f"))
    book.add(path, "orin", book.Device(ssh="g@h", target=("openvino",)))
    assert (
        path.read_text()
        == "# mine\nnano: {ssh: c@d}  # theirs\ntx2: {ssh: e@f}\norin:\n  ssh: g@h\n  target: [openvino]\n"
    )


@pytest.mark.parametrize("text", ["", "- a", "orin: {ssh: x", "orin: {ssh: x}\norin: {ssh: y}", "\0"])
def test_a_file_that_holds_no_devices_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "devices.yaml").write_text(text)
    with pytest.raises(RecipeError) as caught:
        book.read(tmp_path / "devices.yaml")
    assert caught.value.hint


FACTS = looking.Facts(
    identity="0123456789abcdef", host="orin", system="Linux aarch64", board="Orin", python="3.10.12",
    versions={"numpy": "1.21.6", "onnxruntime": "1.23.0"}, free_mb=9000.0, writable=True, clock=1e9, logins=(),
    load=0.1, temperature_c=40.0, cpu_mhz=1500.0, sensors=(), power_mode="MAXN", governor="", holder=None,
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"python": "3.8.10"}, "has Python 3.8.10, and bundles need 3.10"),
        ({"versions": {}}, "has no numpy for python3"),
        ({"versions": {"numpy": "1"}}, "has no onnxruntime CPU for python3"),
        ({"writable": False}, "has no folder ~/edgeresnet that you may write to"),
    ],
)
def test_what_keeps_a_device_from_measuring(changes: dict[str, object], words: str) -> None:
    from dataclasses import asdict

    found = looking.Facts(**{**asdict(FACTS), **changes})
    seen = looking.judged("orin", DEVICE, found, ["onnxruntime"], now=1e9)
    assert seen.reachable
    assert not seen.ready
    assert seen.problems[0].lower() == words.lower()
    assert seen.hint


def test_a_device_that_may_measure_has_notes_alone() -> None:
    seen = looking.judged("orin", DEVICE, FACTS, ["onnxruntime"], now=1e9 - 400 * 86400)
    assert seen.ready
    assert seen.notes == ("its clock is 400 days ahead: times are corrected",)
    assert seen.measures == {"onnxruntime": "1.23.0"}
    other = looking.judged("orin", DEVICE.model_copy(update={"id": "f" * 16}), FACTS, ["onnxruntime"], now=1e9)
    assert other.problems == ("is another device than devices.yaml names",)
    assert "`id: 0123456789abcdef`" in other.hint

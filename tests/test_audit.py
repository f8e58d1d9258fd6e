"""`make audit`: licences of all that is installed, and no clean bill that nobody made out."""

from importlib.metadata import Distribution, distributions

import pytest

from deployments import audit
from deployments.licences import Policy, declared, faults

POLICY = Policy.read()


class Package(Distribution):
    """A package with the given metadata and no files."""

    def __init__(self, *lines: str) -> None:
        self.text = "\n".join(["Metadata-Version: 2.4", "Name: Some.Package", "Version: 1.0+cpu", *lines])

    def read_text(self, filename: str) -> str | None:
        return self.text if filename == "METADATA" else None

    def locate_file(self, path):
        raise FileNotFoundError(path)


def test_every_package_that_is_installed_here_bears_a_licence_that_is_allowed():
    packages = list(distributions())
    assert len(packages) > 100
    assert faults(packages, POLICY) == {}


@pytest.mark.parametrize(
    "lines, says",
    [
        (["License-Expression: MIT"], None),
        (["License: Apache-2.0"], None),
        (["Classifier: License :: OSI Approved :: BSD License"], None),
        (["License-Expression: MIT OR GPL-3.0-only"], None),
        (["License-Expression: MPL-2.0 AND (Apache-2.0 OR MIT)"], None),
        (["License-Expression: (GPL-3.0-only OR MIT) AND (GPL-2.0-only OR ISC)"], None),
        (["License-Expression: MIT AND GPL-3.0-only"], "GPL-3.0-only"),
        (["License-Expression: (MIT AND GPL-3.0-only) OR AGPL-3.0-only"], "is not on the list"),
        (["License-Expression: AGPL-3.0-only"], "AGPL-3.0-only"),
        (["License-Expression: LicenseRef-Proprietary"], "LicenseRef-Proprietary"),
        (["License-Expression: MIT WITH Some-exception"], "MIT WITH Some-exception"),
        (
            [f"Classifier: License :: {mark}" for mark in ("Approved :: MIT License", "Other/Proprietary")],
            "Other/Proprietary",
        ),
        (["License: free for friends"], "free for friends"),
        (["License: " + "x" * 200], "declares no licence"),
        ([], "declares no licence"),
    ],
)  # fmt: skip
def test_a_licence_is_allowed_or_named(lines, says):
    refused = faults([Package(*lines)], POLICY)
    assert (refused == {}) if says is None else says in refused["some-package"]


def test_an_exception_holds_for_what_was_looked_at_and_no_longer():
    policy = Policy(frozenset(), {}, ({"package": "some-*", "declares": "Ours", "reason": "seen"},))
    assert faults([Package("License: Ours")], policy) == {}
    assert "when it was looked at" in faults([Package("License: Ours 2")], policy)["some-package"]


def test_every_exception_has_a_reason():
    assert all(set(e) == {"package", "declares", "reason"} and e["reason"] for e in POLICY.exceptions)


def test_the_expression_goes_before_a_classifier_and_that_before_a_name():
    lines = ["License: C", "Classifier: License :: B", "License-Expression: A"]
    assert [declared(Package(*lines[:n])) for n in (3, 2, 1)] == ["A", "B", "C"]


def answer(name: str, *ids: str) -> dict:
    return {"name": name, "version": "1", "vulns": [{"id": i, "fix_versions": ["2"]} for i in ids]}


KNOWING = answer(audit.PROBE[0], "PYSEC-2017-94")


def test_a_hole_is_named_with_the_version_that_mends_it():
    part = audit.judge([answer("a"), answer("b", "CVE-1"), KNOWING])
    assert (part.good, part.lines) == (False, ("b 1: CVE-1, mended in 2",))
    assert audit.judge([answer("a"), KNOWING]).good


@pytest.mark.parametrize(
    "answers, says",
    [
        (
            [{"name": "a", "skip_reason": "not found"}, answer("b"), KNOWING],
            "told nothing about 1 of 2 packages",
        ),
        ([answer("a"), answer(audit.PROBE[0])], "cannot be believed"),
        ([answer("a")], "cannot be believed"),
        ([{"name": n, "skip_reason": "not found"} for n in ("a", audit.PROBE[0])], "about 1 of 1 packages"),
    ],
)
def test_what_the_service_did_not_answer_counts_as_not_checked(answers, says):
    part = audit.judge(answers)
    assert not part.good
    assert part.says.startswith("NOT CHECKED: ") and says in part.says


def test_a_tool_that_cannot_be_run_makes_no_clean_audit(tmp_path, monkeypatch):
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    parts = [audit.holes([Package("License: MIT")]), audit.bill(tmp_path / "sbom.json")]
    assert [part.good for part in parts] == [False, False]
    assert [part.says.partition(":")[0] for part in parts] == ["NOT CHECKED", "NOT WRITTEN"]


def test_versions_are_asked_for_without_the_name_of_their_build():
    assert audit.requirements([Package()]) == "Some.Package==1.0\npycrypto==2.6.1\n"

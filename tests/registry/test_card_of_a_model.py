from __future__ import annotations

from dataclasses import replace

import yaml

from mmpipe.registry.card import CardCheck, CardContribution, CardMetric, CardSource, ModelCard, render_card

CARD = ModelCard(
    name="digits",
    corpus="fsdd",
    aim="classification of digit",
    says="Names one of 2 classes of digit",
    named="Classes",
    always="It always answers with one of its classes.",
    classes=("zero", "one"),
    inputs=("audio-logmel@1", "image-hogdct@1"),
    architecture="early_weighted",
    status="candidate",
    sentence="early_weighted earned its release: +0.126 [+0.090, +0.150] across 6 group(s).",
    evaluation="6 folds by speaker",
    num_clips=3000,
    num_groups=6,
    confidence=0.95,
    measure="accuracy",
    metrics=(CardMetric(name="accuracy", label="accuracy", value=0.842, low=0.791, high=0.892),),
    contributions=(
        CardContribution(name="early_weighted", kind="fused", worth=0.842, low=0.791, high=0.892, chosen=True),
        CardContribution(name="audio-logmel@1", kind="single modality", worth=0.717, low=0.643, high=0.787),
        CardContribution(name="image-hogdct@1", kind="single modality", worth=0.662, low=0.649, high=0.676),
    ),
    checks=(CardCheck(name="gain", passed=True, value=0.09, limit=0.0, detail="accuracy over audio"),),
    not_checked=("export_parity: nothing was exported",),
    sources=(CardSource(name="audio-logmel@1 dt=2026-11-20", digest="ab" * 32),),
    files=("config.json", "model.safetensors"),
)
HOSTILE = "x\n---\n# <script>alert(1)</script> | `a` \u202egpj [l](javascript:1) \x1b[2J \x7f ![i](http://e.e) 日本"


def front_matter(card: str) -> dict:
    _, matter, _ = card.split("---\n", 2)
    return yaml.safe_load(matter)


def test_the_hub_reads_the_front_matter() -> None:
    matter = front_matter(render_card(CARD))
    (result,) = matter["model-index"][0]["results"]
    assert result["metrics"] == [{"type": "accuracy", "name": "accuracy", "value": 0.842}]
    assert matter["library_name"] == "mmpipe" and "audio-logmel@1" in matter["tags"]


def test_a_person_reads_what_matters() -> None:
    card = render_card(CARD)
    assert "0.791 to 0.892" in card and "| gain | holds | 0.09 | 0 |" in card
    assert "weakest modality is image-hogdct@1: alone it reaches 0.662" in card and "Only 6 group(s)" in card
    assert "Not checked: export\\_parity" in card and "sha256sum -c SHA256SUMS" in card
    assert "was refused" not in card and card == render_card(CARD)


def test_a_refused_version_says_so_first() -> None:
    card = render_card(replace(CARD, status="refused"))
    assert "was refused by the gate" in card.split("## Measured")[0]


def test_hostile_names_are_inert() -> None:
    card = render_card(
        replace(
            CARD,
            corpus=HOSTILE,
            aim=HOSTILE,
            says=HOSTILE,
            classes=(HOSTILE, "one"),
            sentence=HOSTILE,
            checks=(CardCheck(name=HOSTILE, passed=False, value=0.1, limit=0.2, detail=HOSTILE),),
            sources=(CardSource(name=HOSTILE, digest="`</code><script>"),),
        )
    )
    matter = front_matter(card)
    assert matter["model-index"][0]["results"][0]["dataset"]["name"].startswith("x\\u{a}---\\u{a}# <script>")
    body = card.split("---\n", 2)[2]
    assert "<script>alert" not in body and "<script" not in body.replace("`'</code><script>`", "")
    assert not any((ord(c) < 32 and c != "\n") or c in "\x7f\u202e" for c in card)
    assert body.count("\n# ") == 1 and "](" not in body.replace("\\](", "") and "日本" in body
    assert all(line.count("|") - line.count("\\|") == 6 for line in body.splitlines() if "fails" in line)

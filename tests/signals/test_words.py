"""What texts are made of, and in what language they are written."""

from __future__ import annotations

import pytest

from mmpipe.signals.language import identify_language
from mmpipe.signals.stop_words import STOP_WORDS
from mmpipe.signals.words import clean_words, describe_text, repetition_share, split_words

SENTENCES = {
    "en": "The quick brown fox jumps over the lazy dog in the garden.",
    "de": "Der schnelle braune Fuchs springt über den faulen Hund im Garten.",
    "fr": "Il fait très beau aujourd'hui et nous allons à la plage avec les enfants.",
    "es": "La casa es muy bonita y está cerca de la playa donde vive mi abuela.",
    "it": "Questa è una bella giornata di sole e andiamo tutti al mare.",
    "pt": "O menino foi para a escola de manhã com os seus amigos e não voltou.",
    "nl": "Het is vandaag mooi weer in de stad en wij gaan naar het park.",
}


def test_measures_of_a_text() -> None:
    quality = describe_text("The cat, the dog: 42!", "en")
    assert (quality.num_characters, quality.num_words) == (21, 5)
    assert quality.mean_word_length == pytest.approx(14 / 5)
    assert quality.letter_share == pytest.approx(12 / 17)
    assert quality.stop_word_share == pytest.approx(2 / 5)
    assert quality.repetition_share == 0


@pytest.mark.parametrize("text", ["", "  \n", "?!"])
def test_text_without_words(text: str) -> None:
    quality = describe_text(text)
    assert (quality.num_words, quality.mean_word_length, quality.repetition_share) == (0, 0, 0)


def test_repetition_counts_what_was_there_before() -> None:
    once = ["one", "two", "three", "four", "five", "six", "seven", "eight"]
    assert repetition_share(once) == 0
    assert repetition_share(once * 2) == pytest.approx(0.5)
    assert repetition_share(once * 10) == pytest.approx(0.9)
    assert repetition_share(["spam"] * 100) == pytest.approx(99 / 100, abs=0.011)


def test_words_of_many_scripts() -> None:
    assert split_words("L’été, don't well-known naïve Straße 3.5") == (
        *("l’été", "don't", "well-known", "naïve", "straße"),
        *("3", "5"),
    )
    assert split_words("Привет, мир") == ("привет", "мир")


def test_clean_words_drop_the_languages_stop_words() -> None:
    assert clean_words("The cat is on the mat", "en") == ("cat", "mat")
    assert clean_words("Die Katze ist auf der Matte", "de") == ("katze", "matte")
    assert clean_words("The cat", "xx") == clean_words("The cat", "en", {}) == ("the", "cat")


@pytest.mark.parametrize("code", sorted(SENTENCES))
def test_a_language_is_known_by_its_stop_words(code: str) -> None:
    shares = {other: describe_text(SENTENCES[code], other).stop_word_share for other in STOP_WORDS}
    assert max(shares, key=shares.__getitem__) == code


@pytest.mark.parametrize("code", sorted(SENTENCES))
def test_languages_are_identified(code: str) -> None:
    found, probability = identify_language(SENTENCES[code])
    assert found == code
    assert 0.5 <= probability <= 1


@pytest.mark.parametrize("text", ["", "hello there", "12345 67890 12345 67890", "\ud800" * 30])
def test_too_few_letters_have_no_language(text: str) -> None:
    assert identify_language(text) == ("", 0.0)


def test_unsure_guesses_have_no_language() -> None:
    code, probability = identify_language("bin blue at f two now please again", min_confidence=0.99)
    assert code == ""
    assert 0 < probability < 0.99
    assert identify_language("xkcd qwrt zxcv plmk qqqq wwww zzzz")[0] == ""

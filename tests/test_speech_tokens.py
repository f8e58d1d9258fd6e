import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoProcessor, AutoTokenizer, WhisperTokenizer, WhisperTokenizerFast

from dagsverk.speech.errors import ModelError
from dagsverk.speech.languages import LANGUAGES
from dagsverk.speech.model.models import random_model, save_model_folder
from dagsverk.speech.model.tokens import (
    build_byte_tokenizer,
    decode_text,
    encode_text,
    encode_texts,
    labels,
    prompt,
    special_tokens,
)

TOKENIZER = build_byte_tokenizer()
TEXT = st.text() | st.lists(
    st.sampled_from(["<|sv|>", "<|endoftext|>", "<|0.00|>", "<|", "|>", "å", " ", "\n", "🙂"]), max_size=8
).map("".join)


@given(TEXT)
def test_any_text_is_read_back_as_it_was_written(text):
    assert decode_text(TOKENIZER, encode_text(TOKENIZER, text)) == text


@given(TEXT)
def test_a_text_is_its_bytes_and_never_a_special_token(text):
    assert encode_text(TOKENIZER, text) == list(text.encode("utf-8"))


@pytest.mark.slow
@given(st.lists(TEXT, max_size=5))
def test_many_texts_are_encoded_as_each_by_itself(texts):
    assert encode_texts(TOKENIZER, texts) == [encode_text(TOKENIZER, text) for text in texts]


def test_all_special_tokens_of_whisper_are_there_in_its_order():
    order = special_tokens()
    assert [TOKENIZER.convert_tokens_to_ids(token) for token in order] == list(range(256, 364))
    assert order[2:4] == ["<|en|>", "<|zh|>"]
    assert order[101] == "<|yue|>"
    assert len(LANGUAGES) == 100
    assert TOKENIZER.convert_tokens_to_ids(["<|0.00|>", "<|0.02|>", "<|30.00|>"]) == [364, 365, 1864]
    assert len(TOKENIZER) == 1865


@pytest.mark.parametrize(
    ("language", "task", "expected"),
    [
        ("sv", "transcribe", "<|startoftranscript|><|sv|><|transcribe|><|notimestamps|>"),
        ("it", "translate", "<|startoftranscript|><|it|><|translate|><|notimestamps|>"),
    ],
)
def test_the_prompt_says_language_and_task(language, task, expected):
    assert "".join(TOKENIZER.convert_ids_to_tokens(prompt(TOKENIZER, language, task))) == expected


def test_a_language_that_the_model_does_not_know_is_refused():
    english_only = WhisperTokenizer(vocab={"a": 0, "b": 1}, merges=[])
    with pytest.raises(ModelError, match=r"no token <\|startoftranscript\|>.*multilingual"):
        prompt(english_only, "sv")


def test_a_label_is_prompt_text_and_end():
    (label,) = labels(TOKENIZER, "sv", "transcribe", [" hej "])
    assert label == [257, 272, 359, 363, *b"hej", 256]


def published_tokenizer():
    """Of the published kind: pairs of bytes are tokens too, which end within characters and begin there."""
    characters = {token: number for token, number in TOKENIZER.get_vocab().items() if number < 256}
    spelt = {number: character for character, number in characters.items()}
    pairs = [b"he", b" \xf0", b"\x9f\x99", b"a\xc3", "å".encode()]
    merges = [(spelt[first], spelt[second]) for first, second in pairs]
    vocab = {**characters, **{left + right: 256 + place for place, (left, right) in enumerate(merges)}}
    tokenizer = WhisperTokenizer(vocab=vocab, merges=merges)
    tokenizer.add_tokens(special_tokens(), special_tokens=True)
    return tokenizer


PUBLISHED = published_tokenizer()


def test_texts_of_published_models_begin_with_a_space_as_in_their_training():
    (label,) = labels(PUBLISHED, "sv", "transcribe", ["hej"])
    assert decode_text(PUBLISHED, label) == " hej"


def test_what_is_no_text_in_an_output_is_left_out():
    output = [257, 272, 359, 364, *b" hej ", 400, *"då".encode()[:2], 256]
    assert decode_text(TOKENIZER, output) == " hej d"


@pytest.mark.parametrize("tokenizer", [TOKENIZER, PUBLISHED], ids=["ours", "published"])
@given(text=TEXT, share=st.floats(0, 1))
def test_a_text_cut_off_between_any_two_tokens_has_no_broken_character(tokenizer, text, share):
    tokens = encode_text(tokenizer, text)
    assert decode_text(tokenizer, tokens) == text
    assert text.startswith(decode_text(tokenizer, tokens[: round(share * len(tokens))]))


def test_tokens_of_the_published_kind_end_within_characters():
    tokens = encode_text(PUBLISHED, "aå 🙂")
    assert len(tokens) < len("aå 🙂".encode())
    assert [decode_text(PUBLISHED, tokens[:count]) for count in range(1, len(tokens) + 1)] == [
        "a", "aå", "aå ", "aå ", "aå 🙂",
    ]  # fmt: skip


@given(st.lists(st.integers(0, 255)))
def test_whatever_bytes_a_model_writes_only_whole_characters_are_read(written):
    text = decode_text(TOKENIZER, written)
    assert text == bytes(written).decode(errors="ignore")
    assert "\N{REPLACEMENT CHARACTER}" not in text or b"\xef\xbf\xbd" in bytes(written)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("saved")
    save_model_folder(random_model("nano"), place, language="sv")
    return place


@pytest.mark.parametrize("kind", [AutoTokenizer, WhisperTokenizer, WhisperTokenizerFast])
def test_a_saved_folder_gives_others_the_same_tokenizer(folder, kind):
    tokenizer = kind.from_pretrained(folder)
    assert len(tokenizer) == 1865
    assert labels(tokenizer, "sv", "translate", ["å <|sv|>"]) == labels(
        TOKENIZER, "sv", "translate", ["å <|sv|>"]
    )
    tokenizer.set_prefix_tokens(language="swedish", task="transcribe")
    assert tokenizer("hej").input_ids == [257, 272, 359, 363, *b"hej", 256]


def test_the_library_decodes_timestamps_with_the_saved_tokenizer(folder):
    tokenizer = AutoProcessor.from_pretrained(folder).tokenizer
    decoded = tokenizer.decode([364, *b" hej", 414], output_offsets=True)
    assert decoded["offsets"] == [{"text": " hej", "timestamp": (0.0, 1.0)}]

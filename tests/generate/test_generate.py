"""Greedy decoding: the same tokens and scores with a cache and without, and what is said where they are not."""

from __future__ import annotations

import json
import math

import pytest
import torch
import transformers
from jsonschema import Draft202012Validator

import inspector
from inspector.api.schemas import schema
from inspector.cli import main
from inspector.errors import InspectorError, ModelAtFault, UsageError
from inspector.records import Scenario
from inspector.shape_table.generation import allowed, folded
from inspector.source.decoding import decoding_of
from inspector.source.prepared import prepare

SMALL = {"vocab_size": 101, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
CONFIGS = {
    "gpt2": transformers.GPT2Config(n_embd=48, n_layer=3, n_head=4, n_positions=64, **SMALL),
    "llama": transformers.LlamaConfig(
        hidden_size=48, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, intermediate_size=64, **SMALL
    ),
    "mistral": transformers.MistralConfig(
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=64,
        head_dim=12,
        sliding_window=8,
        **SMALL,
    ),
    "t5": transformers.T5Config(
        d_model=48, d_kv=12, d_ff=64, num_layers=2, num_heads=4, decoder_start_token_id=0, **SMALL
    ),
}


def model_of(name, seed=0):
    torch.manual_seed(seed)
    config = CONFIGS[name]
    auto = transformers.AutoModelForSeq2SeqLM if config.is_encoder_decoder else transformers.AutoModelForCausalLM
    model = auto.from_config(config, attn_implementation="eager").eval()
    for parameter in model.parameters():  # so that no token wins by being the first
        torch.nn.init.normal_(parameter, std=0.3)
    return model


@pytest.mark.parametrize("name", CONFIGS)
def test_both_ways_agree_and_are_what_transformers_writes(name):
    model = model_of(name)
    result = inspector.shapes(model, generate=5)
    ids = decoding_of(prepare(model, None, Scenario(device="cpu", padding="none"), None))
    prompt = ids.source.get("input_ids", ids.prompt)
    model.generation_config.eos_token_id = None
    written = model.generate(prompt, do_sample=False, max_new_tokens=5, pad_token_id=0)

    assert result.passed
    assert result.exit_code == 0
    assert [list(row) for row in result.tokens] == written[:, -5:].tolist()
    assert len({token for row in result.tokens for token in row}) > 1
    assert all(step.difference > 0 for step in result.rows[1:])  # two computations, not one looked at twice


def test_a_step_reads_one_token_and_the_cache_grows_by_it():
    result = inspector.shapes(model_of("llama"), batch=3, seq=7, generate=4)
    (kept,) = result.kept

    assert [step.ids for step in result.rows] == [(3, 7), (3, 1), (3, 1), (3, 1)]
    assert [step.whole_ids for step in result.rows] == [(3, 7), (3, 8), (3, 9), (3, 10)]
    assert (kept.names, kept.layers) == (("keys", "values"), "0-2")
    assert kept.shapes == tuple((3, 2, length, 12) for length in (7, 8, 9, 10))
    assert [step.cache_bytes for step in result.rows] == [3 * 2 * 3 * 2 * length * 12 * 4 for length in (7, 8, 9, 10)]
    assert result.rows[0].flops == result.rows[0].whole_flops
    assert all(5 * step.flops < step.whole_flops for step in result.rows[1:])


def test_flops_of_a_step_are_those_of_its_shapes():
    model = model_of("gpt2")
    step = inspector.shapes(model, batch=2, seq=16, generate=2).rows[1]
    alone = inspector.shapes(model, batch=2, seq=1, past=16).summary.flops
    whole = inspector.shapes(model, batch=2, seq=17).summary.flops

    assert (step.flops, step.whole_flops) == (alone, whole)


def test_a_window_keeps_no_more_than_it_sees():
    result = inspector.shapes(model_of("mistral"), seq=12, generate=6)

    assert {shape[2] for shape in result.kept[0].shapes} == {7}  # and the token itself is the eighth
    assert result.passed


def test_an_encoder_is_read_once():
    result = inspector.shapes(model_of("t5"), seq=9, generate=4)
    own, cross = result.kept

    assert [step.ids for step in result.rows] == [(2, 1)] * 4
    assert [shape[2] for shape in own.shapes] == [1, 2, 3, 4]
    assert cross.names == ("cross keys", "cross values")
    assert [shape[2] for shape in cross.shapes] == [9] * 4
    assert result.rows[0].flops > 3 * result.rows[1].flops


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_formats_are_allowed_their_noise_and_no_more(dtype):
    model = model_of("llama").to(getattr(torch, dtype))
    result = inspector.shapes(model, generate=4)

    assert result.passed
    assert result.generation.scenario.dtype == dtype
    assert 0 < result.generation.noise < result.generation.allowed
    assert result.generation.allowed == pytest.approx(2 * result.generation.noise)
    assert "Allowed is twice the noise of the format" in result.to_text()


# what must be noticed


def forgets(model):
    """A cache that loses its first token: what old bugs of rolling buffers do."""
    attention = model.model.layers[1].self_attn
    before = attention.forward

    def forward(hidden_states, *args, past_key_values=None, **named):
        if past_key_values is not None and past_key_values.get_seq_length(1) > 8:
            layer = past_key_values.layers[1]
            layer.keys = layer.keys.clone()
            layer.keys[:, :, 0] = 0
        return before(hidden_states, *args, past_key_values=past_key_values, **named)

    attention.forward = forward
    return model


def test_a_cache_that_forgets_is_a_failure_at_the_step_where_it_does(capsys):
    result = inspector.shapes(forgets(model_of("llama")), seq=7, generate=5)

    assert not result.passed
    assert result.exit_code == 1
    assert result.generation.first_failure == 4  # nine tokens are kept then, for the first time
    assert [step.verdict for step in result.rows] == ["same", "same", "same", "fail", "fail"]
    assert "at step 4" in result.to_text()


class Nan(torch.nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, hidden):
        return self.inner(hidden) * (float("nan") if hidden.shape[1] == 1 else 1.0)


def test_what_is_not_finite_is_a_failure():
    model = model_of("llama")
    model.lm_head = Nan(model.lm_head)
    result = inspector.shapes(model, generate=3)

    assert result.generation.first_failure == 2
    Draft202012Validator(schema("generate")).validate(json.loads(result.to_json()))


def test_a_tie_is_said_and_is_no_failure():
    """Two rows of the table are one: either token is right."""
    model = model_of("llama")
    with torch.no_grad():
        model.lm_head.weight[:] = model.lm_head.weight[:1]
    result = inspector.shapes(model, generate=3)

    assert result.passed
    assert result.generation.close == 3 * 2
    assert "led by less than the allowed difference" in result.to_text()


def test_the_allowance_follows_the_format():
    assert allowed("float32", [1e-6, None], 8.0) == 2e-6
    assert allowed("float32", [0.0], 8.0) == pytest.approx(8 * 2**-23)
    assert allowed("bfloat16", [None], 8.0) == 32 * 8 * 2**-7
    assert math.isclose(allowed("float32", [None], 8.0), 32 * 8 * 2**-23)


def test_layers_that_keep_other_shapes_have_an_entry_of_their_own():
    def step(length):
        return [(f"layers.{n}.keys", (1, 2, min(length, 4 if n % 2 else 99), 8), "float32", 64) for n in range(4)]

    assert [(kept.layers, kept.shapes) for kept in folded([step(4), step(5)])] == [
        ("0-2:2", ((1, 2, 4, 8), (1, 2, 5, 8))),
        ("1-3:2", ((1, 2, 4, 8), (1, 2, 4, 8))),
    ]


# who cannot


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("bert-base-uncased", "bert-base-uncased generates no text"),
        (torch.nn.Linear(4, 4), "Linear generates no text"),
        (transformers.GPT2Model(CONFIGS["gpt2"]).eval(), "gives no scores for a next token"),
    ],
    ids=["an encoder", "no config", "no head"],
)
def test_who_writes_nothing_is_refused(model, said):
    with pytest.raises(InspectorError, match=said):
        inspector.shapes(model, generate=2)


def test_a_model_without_a_cache_is_refused():
    config = transformers.OpenAIGPTConfig(n_embd=48, n_layer=2, n_head=4, n_positions=64, vocab_size=101)

    with pytest.raises(InspectorError, match="keeps no cache"):
        inspector.shapes(transformers.OpenAIGPTLMHeadModel(config).eval(), generate=2)


@pytest.mark.parametrize(
    "option",
    [
        {"ops": True},
        {"layer": 0},
        {"role": "softmax"},
        {"past": 3},
        {"explain": True},
        {"pad": "left"},
        {"pad": "right"},
        {"device": "meta"},
    ],
)
def test_an_option_that_asks_for_something_else_is_refused(option):
    with pytest.raises(UsageError, match=f"--generate does not go with --{next(iter(option))}"):
        inspector.shapes("gpt2", generate=2, **option)


def test_a_text_needs_a_tokenizer():
    with pytest.raises(UsageError, match="nothing here turns text into the tokens of gpt2"):
        inspector.shapes("gpt2", generate=2, text="Hello")
    with pytest.raises(UsageError, match="a text is continued"):
        inspector.shapes("gpt2", text="Hello")


@pytest.fixture
def checkpoint(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {word: number for number, word in enumerate(["<unk>", *(f"w{n}" for n in range(100))])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>").save_pretrained(tmp_path)
    model_of("llama").save_pretrained(tmp_path)
    return tmp_path


def test_a_text_is_continued_in_words(checkpoint, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["shapes", str(checkpoint), "--generate", "3", "--text", "w5 w6 w7", "-q"])
    assert ended.value.code == 0
    assert "w5 w6 w7 w" in capsys.readouterr().out

    result = inspector.shapes(str(checkpoint), generate=3, text="w5 w6 w7")
    assert result.rows[0].ids == (1, 3)
    assert result.generation.texts[0][1].split() == [f"w{token - 1}" for token in result.tokens[0]]


def test_a_broken_tokenizer_is_said_to_be(checkpoint):
    (checkpoint / "tokenizer.json").write_text("{")

    with pytest.raises(ModelAtFault, match="cannot be read"):
        inspector.shapes(str(checkpoint), generate=2, text="w5")


def test_every_format(capsys):
    result = inspector.shapes(model_of("gpt2"), generate=3)

    Draft202012Validator(schema("generate")).validate(json.loads(result.to_json()))
    assert "| keys and values, layers 0-2 " in result.to_markdown()
    assert len(result.to_frame()) == 3
    assert repr(result) == "<Generated by GPT2LMHeadModel: 3 tokens, pass>"
    assert max(map(len, result.to_terminal(width=80, color=False).splitlines())) <= 80

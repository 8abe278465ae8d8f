"""Watching changes nothing and leaves nothing behind."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

from inspector.errors import TraceFailed
from inspector.records import Scenario
from inspector.source import live_subject
from inspector.tracing import observe
from inspector.tracing.run import watch
from inspector.tracing.shadows import Shadows
from inspector.tracing.watcher import Watcher

CPU = Scenario(device="cpu", dtype="float32", weights="random")


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("model_type", ["bert", "gpt2", "llama"])
def test_the_output_is_bitwise_that_of_the_unwatched_model(tiny, model_type, attention):
    scenario, _ = tiny(model_type).settle(
        Scenario(device="cpu", dtype="float32", weights="random", attention=attention)
    )
    module = tiny(model_type).make(scenario)
    inputs = tiny(model_type).inputs(module, scenario)
    with torch.no_grad():
        plain = module(**inputs)

    run = watch(module, tiny(model_type).inputs(module, scenario))

    assert torch.equal(run.output[0], plain[0])
    assert run.seen.ops


def test_an_encoder_layer_of_torch_is_bitwise_its_unfused_self():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True).eval()
    x = torch.randn(2, 5, 16)
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad():
            plain = layer(x)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)

    run = watch(layer, {"src": x})

    assert torch.equal(run.output, plain)


def test_multi_head_attention_is_expanded():
    layer = nn.MultiheadAttention(16, 4, batch_first=True).eval()
    x = torch.randn(2, 5, 16)

    names = [op.name for op in watch(layer, {"query": x, "key": x, "value": x}).seen.ops]

    assert "multi_head_attention_forward" not in names
    assert {"linear", "softmax", "bmm"} <= set(names) or {"linear", "softmax", "baddbmm"} <= set(names)


def test_what_watching_switches_off_is_said():
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True).eval()

    trace = observe(live_subject(layer, (torch.randn(2, 5, 16),)), CPU)

    assert any("fast path" in note for note in trace.notes)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_everything_is_undone_whatever_is_raised(error):
    class Broken(nn.Module):
        def forward(self, x):
            x = x + 1
            raise error("no")

    call = nn.Module.__call__
    with pytest.raises(error):
        watch(Broken(), {"x": torch.ones(2)})

    assert nn.Module.__call__ is call
    assert not torch.overrides._get_current_function_mode_stack()


def test_a_model_that_raises_is_one_clear_line():
    def broken(x):
        return x @ torch.ones(3, 3)

    with pytest.raises(TraceFailed) as caught:
        observe(live_subject(broken, (torch.ones(2, 2),)), CPU)

    assert caught.value.what == "broken: running the model failed"
    assert caught.value.why.startswith("RuntimeError: mat1 and mat2 shapes cannot be multiplied")


def test_arguments_that_are_no_tensors_are_kept(trace_of):
    trace = trace_of("gpt2")
    norm = next(op for op in trace.ops if op.name == "layer_norm")
    softmax = next(op for op in trace.ops if op.name == "softmax")

    assert norm.attribute("eps") == 1e-05
    assert norm.attribute("normalized_shape") == (64,)
    assert softmax.attribute("dim") == -1
    assert (norm.module, norm.module_class) == ("transformer.h.0.ln_1", "LayerNorm")


def test_a_tensor_deep_inside_an_argument_is_a_tensor_and_no_number():
    """What it is counted as here is nobody's business: two equal calls are equal."""

    def cut(x):
        first, last = torch.tensor(1), torch.tensor(3)
        return x[first:last] + x[torch.tensor(1) : torch.tensor(3)]

    trace = observe(live_subject(cut, (torch.ones(5, 2),)), CPU)
    keys = [op.attribute("key") for op in trace.ops if op.name == "getitem"]

    assert keys == [("slice", "tensor", "tensor", None)] * 2


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize(("past", "seq"), [(0, 16), (16, 1)])
@pytest.mark.parametrize("model_type", ["bert", "gpt2", "llama"])
def test_no_tensor_comes_from_nowhere(trace_of, model_type, attention, past, seq):
    if model_type == "bert" and past:
        past, seq = 0, 7
    trace = trace_of(model_type, Scenario(attention=attention, past=past, seq=seq))

    assert trace.orphans == ()


def test_a_tensor_from_nowhere_is_counted():
    hidden = [torch.ones(3)]

    trace = observe(live_subject(lambda x: x * hidden[0], (torch.ones(2, 3),)), CPU)

    assert len(trace.orphans) == 1


def test_a_tensor_that_a_module_keeps_is_a_constant():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = torch.full((3,), 2.0)

        def forward(self, x):
            return x * self.factor

    trace = observe(live_subject(Scaled(), (torch.ones(2, 3),)), CPU)

    assert trace.orphans == ()
    assert [value.name for value in trace.values if value.kind == "constant"] == ["factor"]


def test_watchers_of_two_threads_undo_everything_in_any_order():
    """The first that enters leaves first, while the second is still inside."""
    call, functional = nn.Module.__call__, torch.nn.functional.has_torch_function
    entered, left = threading.Event(), threading.Event()

    def outlast():
        with Watcher(nn.Identity(), Shadows(), keep=False):
            entered.set()
            left.wait(10)

    thread = threading.Thread(target=outlast)
    with Watcher(nn.Identity(), Shadows(), keep=False):
        thread.start()
        entered.wait(10)
    assert nn.Module.__call__ is not call
    left.set()
    thread.join()

    assert nn.Module.__call__ is call
    assert torch.nn.functional.has_torch_function is functional


def test_a_users_module_and_random_numbers_are_left_as_they_were():
    module = nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(0.5))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    state = torch.get_rng_state()

    observe(live_subject(module, lambda b, s, p: (torch.rand(b, 4),)), CPU)

    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert module.training


def test_names_of_modules_do_not_decide_the_order():
    def order(first, second):
        class Masks(nn.Module):
            def forward(self, n):
                return torch.arange(n)

        class Unused(nn.Module):
            def __init__(self):
                super().__init__()
                self.add_module(first, Masks())
                self.add_module(second, Masks())

            def forward(self, x):
                getattr(self, first)(2).ge(1)
                getattr(self, second)(3).lt(1)
                return x + 1

        return [op.name for op in watch(Unused(), {"x": torch.ones(2)}).seen.ops]

    assert order("a", "z") == order("z", "a")


class Replacing(nn.Module):
    """Every part gives its place to another one before it is called: BigBird does so when its input is short."""

    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleList(nn.Linear(4, 4) for _ in range(20))

    def forward(self, x):
        for index in range(len(self.parts)):
            self.parts[index] = nn.Linear(4, 4)
            x = self.parts[index](x)
        return x


def test_a_part_that_is_put_aside_leaves_its_name_to_none():
    trace = observe(live_subject(Replacing(), (torch.ones(2, 4),)), CPU)

    assert [op.name for op in trace.ops if op.module] == []
    assert sum(op.name == "linear" for op in trace.ops) == 20

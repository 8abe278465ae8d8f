"""What may stand around the sublayers of a stream besides sums and norms, each in a model written by hand."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional

hand = SimpleNamespace(**runpy.run_path(str(Path(__file__).parent / "by_hand.py")))
Attend, Model, name, WIDTH, HEADS, VOCABULARY = (
    getattr(hand, word) for word in ("Attend", "Model", "name", "WIDTH", "HEADS", "VOCABULARY")
)


class Feed(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(WIDTH, 96), nn.Linear(96, WIDTH)

    def forward(self, x):
        return self.down(functional.silu(self.up(x)))


class Stack(nn.Module):
    """A table, two blocks that a subclass writes, and a head."""

    def __init__(self, **parts):
        super().__init__()
        self.table, self.last, self.out = nn.Embedding(VOCABULARY, WIDTH), nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 7)
        self.attend = nn.ModuleList(Attend() for _ in range(2))
        self.feed = nn.ModuleList(Feed() for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(8))
        for key, part in parts.items():
            setattr(self, key, part)

    def forward(self, tokens):
        x = self.table(tokens)
        for layer in range(2):
            x = self.block(x, tokens, layer)
        return self.out(self.last(x))

    def block(self, x, tokens, layer):
        x = x + self.attend[layer](self.norms[2 * layer](x))
        return x + self.feed[layer](self.norms[2 * layer + 1](x))


class TwoKinds(Stack):
    """Even tokens and odd ones have norms and feed-forwards of their own."""

    def __init__(self):
        super().__init__(other=nn.ModuleList(Feed() for _ in range(2)))

    def block(self, x, tokens, layer):
        odd = tokens % 2 == 1
        normed = x.masked_scatter(odd.unsqueeze(-1), self.norms[layer](x[odd]))
        normed = normed.masked_scatter(~odd.unsqueeze(-1), self.norms[2 + layer](normed[~odd]))
        x = x + self.attend[layer](normed)
        one, two = self.norms[4 + layer](x[~odd]), self.norms[6 + layer](x[odd])
        x[~odd] += self.feed[layer](one)
        x[odd] += self.other[layer](two)
        return x


def test_each_kind_of_token_has_its_sublayer():
    found = name(TwoKinds())

    ends = {key: found.weights[f"{key}.weight"] for key in ("feed.0.down", "other.1.up", "norms.0", "norms.3")}
    assert ends == {
        "feed.0.down": "mlp.down_proj",
        "other.1.up": "mlp.up_proj",
        "norms.0": "attention.norm",
        "norms.3": "attention.norm",
    }
    assert {found.weights[f"norms.{index}.weight"] for index in (4, 5, 6, 7)} == {"mlp.norm"}
    assert found.weights["last.weight"] == "head.norm"
    assert found.unknown == []


class Decided(Stack):
    """The tokens decide who may look at whom, once for both layers."""

    def __init__(self):
        super().__init__(cut=nn.Linear(WIDTH, 1))

    def forward(self, tokens):
        x = self.table(tokens)
        piece = (self.cut(x).squeeze(-1) > 0).cumsum(-1)
        apart = (piece.unsqueeze(-1) != piece.unsqueeze(-2)).unsqueeze(1)
        mask = apart.to(x.dtype).masked_fill(apart, -1e9)
        for layer in range(2):
            part, normed = self.attend[layer], self.norms[2 * layer](x)
            x = x + part.o(part.merge(part.attend(normed, part.scores(normed) + mask)))
            x = x + self.feed[layer](self.norms[2 * layer + 1](x))
        return self.out(self.last(x))


def test_a_mask_that_tokens_decide_is_a_mask_and_no_stream():
    found = name(Decided())

    assert {("attention.mask", "add"), ("mask.build", "cumsum"), ("mask.build", "ne")} <= found.calls
    assert not any(path == "attention.position_bias" for path in found.paths)
    assert len(found.naming.residuals) == 4
    assert found.weights["attend.1.o.weight"] == "attention.o_proj"


class Shifted(Stack):
    """A learned scale and shift for each channel where others have a norm."""

    def __init__(self):
        super().__init__(scale=nn.Parameter(torch.ones(WIDTH)), shift=nn.Parameter(torch.zeros(WIDTH)))

    def block(self, x, tokens, layer):
        return super().block(x, tokens, layer) * self.scale + self.shift


class Pooled(Stack):
    """Half as many tokens in the second block, and all of them again behind it."""

    def block(self, x, tokens, layer):
        if layer:
            short = functional.avg_pool2d(x[:, None], (2, 1), ceil_mode=True)[:, 0]
            return x + super().block(short, tokens, layer).repeat_interleave(2, dim=1)[:, : x.shape[1]]
        return super().block(x, tokens, layer)


class NormedTwice(Stack):
    def block(self, x, tokens, layer):
        x = self.norms[4 * layer](x + self.attend[layer](x))
        return self.norms[4 * layer + 2](self.norms[4 * layer + 1](x + self.feed[layer](x)))


class Summary(Stack):
    """A vector of each text leaves beside the tokens, from the middle of the model."""

    def __init__(self):
        super().__init__(summary=nn.Linear(WIDTH, WIDTH))

    def forward(self, tokens):
        x = self.block(self.table(tokens), tokens, 0)
        summary = torch.tanh(self.summary(x[:, 0]))
        return self.out(self.last(self.block(x, tokens, 1))), summary


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (Shifted, {("block.scale", "mul"), ("block.scale", "add")}),
        (Pooled, {("block.resample", "avg_pool2d"), ("block.resample", "repeat_interleave")}),
        (NormedTwice, {("attention.post_norm", "layer_norm"), ("mlp.post_norm", "layer_norm")}),
        (Summary, {("head.pooler", "linear"), ("head.pooler", "tanh")}),
    ],
)
def test_what_stands_between_sublayers_is_named(model, expected):
    found = name(model())

    assert expected <= found.calls
    assert found.unknown == []


def test_both_norms_behind_a_sum_end_its_sublayer():
    found = name(NormedTwice())

    assert {found.weights[f"norms.{index}.weight"] for index in (1, 2)} == {"mlp.post_norm"}


class Page(nn.Module):
    """Where a token stands on its page: the edges of a box, as whole numbers, and its middle, as a bias of scores."""

    def __init__(self):
        super().__init__()
        self.body = Stack()
        self.x, self.y, self.wide = (nn.Embedding(1000, WIDTH) for _ in range(3))
        self.bias = nn.Embedding(32, HEADS)

    def forward(self, tokens, box):
        body, edges = self.body, (box.clamp(0, 1) * 900).long()
        where = self.x(edges[..., 0]) + self.y(edges[..., 1]) + self.x(edges[..., 2]) + self.y(edges[..., 3])
        x = body.table(tokens) + where + self.wide((edges[..., 2] - edges[..., 0]).clamp(0, 900))
        middle = box[..., 0::2].mean(-1)
        apart = ((middle[:, None, :] - middle[:, :, None]) * 15 + 16).clamp(0, 31).long()
        bias = self.bias(apart).permute(0, 3, 1, 2)
        for layer in range(2):
            part, normed = body.attend[layer], body.norms[2 * layer](x)
            x = x + part.o(part.merge(part.attend(normed, part.scores(normed) + bias)))
            x = x + body.feed[layer](body.norms[2 * layer + 1](x))
        return body.out(body.last(x))


def test_boxes_are_places_and_words_are_tokens():
    from inspector.roles import infer
    from inspector.source import live_subject
    from inspector.tracing import observe

    torch.manual_seed(0)
    inputs = lambda b, s, p: (torch.randint(0, VOCABULARY, (b, s)), torch.rand(b, s, 4))  # noqa: E731
    trace = observe(live_subject(Page().eval(), inputs), hand.CPU)
    naming = infer(trace)
    roles = {trace.values[op.inputs[1]].name: naming.parts[op.id].path for op in trace.ops if op.name == "embedding"}

    assert roles == {
        "body.table.weight": "embedding.token",  # although it is the smallest table
        **dict.fromkeys(("x.weight", "y.weight", "wide.weight"), "embedding.position"),
        "bias.weight": "attention.position_bias",
    }
    assert len(naming.residuals) == 4  # the bias that both layers read is no stream
    assert [op.name for op in trace.ops if naming.parts[op.id].path == "unknown"] == []


class Canvas(Stack):
    """No text goes in but what was read before: the ids to be made better are drawn."""

    def forward(self, tokens):
        drawn = torch.randint(0, VOCABULARY, tokens.shape)
        return super().forward(torch.where(tokens < 0, tokens, drawn))

    def block(self, x, tokens, layer):
        return super().block(x, tokens, layer)


def test_a_canvas_of_drawn_ids_is_read_as_text_is():
    found = name(Canvas())

    assert found.weights["table.weight"] == "embedding.token"
    assert found.weights["attend.0.q.weight"] == "attention.q_proj"
    assert found.unknown == []


class Delayed(Attend):
    """Values of the token before; the first token's come from zeros that the same projection reads."""

    def forward(self, x):
        before = torch.cat((self.v(x.new_zeros(x.shape[0], 1, WIDTH)), self.v(x)[:, :-1]), dim=1)
        probabilities = self.scores(x).softmax(-1)
        return self.o(self.merge(probabilities @ self.heads(before)))


def test_a_projection_of_zeros_is_that_projection():
    found = name(Model(Delayed))

    values = {found.naming.parts[op.id].path for op in found.trace.ops if "v.weight" in _names(found.trace, op)}
    assert values == {"attention.v_proj"}


def _names(trace, op):
    return {(trace.values[value].name or "").rpartition("sub.")[2][2:] for value in op.inputs}


class Bottlenecks(Stack):
    """Each block has a narrow stream of its own; vectors scale and shift in the place of norms (MobileBERT)."""

    NARROW = 24

    def __init__(self):
        narrow, many = self.NARROW, nn.ModuleList
        super().__init__(
            into=many(nn.Linear(WIDTH, narrow) for _ in range(2)),
            query=many(nn.Linear(WIDTH, narrow) for _ in range(2)),
            key=many(nn.Linear(WIDTH, narrow) for _ in range(2)),
            value=many(nn.Linear(WIDTH, narrow) for _ in range(2)),
            o=many(nn.Linear(narrow, narrow) for _ in range(2)),
            up=many(nn.Linear(narrow, 96) for _ in range(2)),
            down=many(nn.Linear(96, narrow) for _ in range(2)),
            back=many(nn.Linear(narrow, WIDTH) for _ in range(2)),
        )
        self.scale = nn.ParameterList(torch.rand(WIDTH) for _ in range(2))
        self.shift = nn.ParameterList(torch.rand(WIDTH) for _ in range(2))

    def block(self, x, tokens, layer):
        batch, length, _ = x.shape
        heads = [part[layer](x).view(batch, length, HEADS, -1) for part in (self.query, self.key, self.value)]
        query, key, value = (part.transpose(1, 2) for part in heads)
        weights = torch.softmax(query @ key.transpose(-1, -2) / 6**0.5, -1)
        y = self.into[layer](x) + self.o[layer]((weights @ value).transpose(1, 2).reshape(batch, length, -1))
        y = y + self.down[layer](functional.relu(self.up[layer](y)))
        return (x + self.back[layer](y)) * self.scale[layer] + self.shift[layer]


def test_a_block_with_a_stream_of_its_own():
    found = name(Bottlenecks())

    roles = {
        "into": "block.projection",
        "query": "attention.q_proj",
        "o": "attention.o_proj",
        "back": "block.projection",
    }
    assert {key: found.weights[f"{key}.1.weight"] for key in roles} == roles
    assert found.weights["down.0.weight"] == "mlp.down_proj"
    assert {found.weights[f"{key}.{layer}"] for key in ("scale", "shift") for layer in range(2)} == {"block.scale"}
    layers = layers_of_weights(found)
    for layer in range(2):
        assert {layers[f"{key}.{layer}.weight"] for key in ("into", "query", "o", "up", "back")} == {layer}
        assert layers[f"scale.{layer}"] == layers[f"shift.{layer}"] == layer
    assert not found.unknown


class Restarts(Stack):
    """The stream begins anew with what an attention gave: it is added to nothing."""

    def block(self, x, tokens, layer):
        x = self.attend[layer](self.norms[2 * layer](x)) / 2
        return x + self.feed[layer](self.norms[2 * layer + 1](x))


def test_a_stream_that_begins_with_an_attention():
    found = name(Restarts())

    layers = layers_of_weights(found)
    for layer in range(2):
        assert layers[f"norms.{2 * layer}.weight"] == layer
        assert layers[f"feed.{layer}.up.weight"] == layer
        assert {at for key, at in layers.items() if key.startswith(f"attend.{layer}.")} == {layer}
    assert found.weights["norms.2.weight"] == "attention.norm"
    assert ("block.scale", "div") in found.calls
    assert "embedding.scale" not in found.paths
    assert not found.unknown


def layers_of_weights(found):
    """Parameter -> the number of the block that reads it."""
    values, parts = found.trace.values, found.naming.parts
    read = [(values[value], parts[op.id].layer) for op in found.trace.ops for value in op.inputs]
    return {value.name: layer for value, layer in read if value.kind == "parameter"}

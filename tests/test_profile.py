"""Where the time goes: `trustformers.profile`."""

import asyncio
import json
import re
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trustformers as tf

IDS = np.arange(1, 33).reshape(2, 16)
LAYERS = 2


@cache
def bert() -> Any:
    config = tf.BertConfig(
        hidden_size=64, num_hidden_layers=LAYERS, num_attention_heads=4, intermediate_size=128, vocab_size=100
    )
    return tf.BertForSequenceClassification(config, seed=1).eval()


@cache
def gpt2() -> Any:
    config = tf.GPT2Config(n_embd=32, n_layer=LAYERS, n_head=4, vocab_size=60, n_positions=64)
    return tf.GPT2LMHeadModel(config, seed=1).eval()


def measured(work: Callable[[], object]) -> Any:
    with tf.profile() as p:
        work()
    return p


def rows(p: Any, **grouped: bool) -> dict[str, Any]:
    return {row.key: row for row in p.key_averages(**grouped)}


def test_operations_are_counted_with_what_they_cost() -> None:
    bert()(IDS)
    p = measured(lambda: bert()(IDS))
    found = rows(p)
    # Queries, keys and values are one product; then two of the head.
    assert found["linear"].count == 4 * LAYERS + 2
    # Of the last layer only the first position of each text is needed behind the products of its inputs.
    layer = [(32, 64, 3 * 64), (32, 64, 64), (32, 64, 128), (32, 128, 64)]
    last = [(32, 64, 3 * 64), (2, 64, 64), (2, 64, 128), (2, 128, 64)]
    products = layer * (LAYERS - 1) + last + [(2, 64, 64), (2, 64, 2)]
    assert found["linear"].flops == sum(2 * m * k * n for m, k, n in products)
    assert found["attention"].count == LAYERS
    assert found["attention"].flops > 0
    assert found["linear"].bytes > 4 * 64 * 64 * LAYERS
    assert found["linear"].cpu_time == pytest.approx(
        found["linear"].cpu_time_total / found["linear"].count, abs=0.01
    )
    assert found["BertForSequenceClassification"].count == 1
    shaped = [row for row in p.key_averages(group_by_input_shape=True) if row.key == "linear"]
    assert sorted(row.input_shapes for row in shaped)[0] == [[2, 64], [2, 64]]
    assert sum(row.count for row in shaped) == found["linear"].count


def parameters(key: str) -> list[str]:
    """What a module's name stands for: one in braces for several."""
    several = re.fullmatch(r"(.*)\{(.*)\}", key)
    return [several[1] + one for one in several[2].split(",")] if several else [key]


@pytest.mark.parametrize("model", [bert, gpt2])
def test_layers_have_the_names_of_their_parameters(model: Callable[[], Any]) -> None:
    found = rows(measured(lambda: model()(IDS)), group_by_module=True)
    named = [name for name, _ in model().named_parameters()]
    paths = [path for key in found if key != "(outside layers)" for path in parameters(key)]
    assert {path for path in paths if not any(name.startswith(f"{path}.") for name in named)} <= {"lm_head"}
    path = "bert.encoder.layer.1.attention.self" if model is bert else "transformer.h.1.attn"
    assert found[path].count == 1
    layer = found[path.partition(".att")[0]]
    own = [row for key, row in found.items() if key.startswith(path.partition(".att")[0])]
    assert layer.cpu_time_total == pytest.approx(sum(row.self_cpu_time_total for row in own), abs=0.1)


def test_times_add_up_to_the_whole() -> None:
    model = tf.BertModel(tf.BertConfig(num_hidden_layers=2, vocab_size=100), seed=1).eval()
    ids = np.ones((4, 64), np.int64)
    model(ids)
    p = measured(lambda: [model(ids) for _ in range(5)])
    for grouped in ({}, {"group_by_input_shape": True}, {"group_by_module": True}):
        total = sum(row.self_cpu_time_total for row in p.key_averages(**grouped))
        assert total <= p.duration
        # What is missing is Python's share, and what others did to the machine in it.
        assert total >= 0.5 * p.duration


def test_generation_has_its_steps() -> None:
    generate = {"max_new_tokens": 5, "eos_token_id": None, "pad_token_id": 0}
    found = rows(measured(lambda: gpt2().generate(IDS[:1], **generate)))
    counts = {name: found[name].count for name in ("generate", "prefill", "decode", "GPT2LMHeadModel")}
    assert counts == {"generate": 1, "prefill": 1, "decode": 4, "GPT2LMHeadModel": 5}
    assert (
        found["generate"].cpu_time_total >= found["prefill"].cpu_time_total + found["decode"].cpu_time_total
    )


def test_gradients_belong_to_their_operation_and_layer() -> None:
    model = tf.BertForSequenceClassification(bert().config, seed=2).train()
    optimizer = tf.AdamW([parameter.requires_grad_() for parameter in model.parameters()], lr=1e-3)

    def step() -> None:
        model(tf.tensor(IDS), labels=tf.tensor([0, 1])).loss.backward()
        optimizer.step()

    step()
    p = measured(step)
    found = rows(p)
    assert found["linear_backward"].count == found["linear"].count
    assert {"backward", "adamw_", "layer_norm_backward", "matmul"} <= found.keys()
    of = {event.module for event in p.events() if event.name == "linear_backward"}
    assert "bert.encoder.layer.0.attention.self.{query,key,value}" in of
    # The products within it are the layer's too.
    assert any(event.module in of for event in p.events() if event.name == "matmul")


def test_without_a_profile_nothing_is_noted() -> None:
    p = measured(lambda: bert()(IDS))
    before = len(p.events())
    bert()(IDS)
    assert len(p.events()) == before
    assert measured(lambda: None).events() == []


def test_an_inner_profile_has_its_part() -> None:
    with tf.profile() as outer:
        tf.ones(3).exp()
        with tf.profile() as inner:
            tf.ones(3).sqrt()
        tf.ones(3).tanh()
    assert {"exp", "sqrt", "tanh"} <= {event.name for event in outer.events()}
    assert {"exp", "sqrt", "tanh"} & {event.name for event in inner.events()} == {"sqrt"}


def test_an_exception_ends_it_and_goes_on() -> None:
    def broken() -> None:
        tf.ones(3).exp()
        bert()(np.full((1, 4), 1000))

    p = tf.profile()
    with pytest.raises(IndexError), p:
        broken()
    assert "exp" in rows(p)
    assert rows(p)["BertForSequenceClassification"].count == 1
    tf.ones(3).sqrt()
    assert "sqrt" not in rows(p)
    with p:
        tf.ones(3).sqrt()
    assert "exp" not in rows(p)


def test_every_thread_is_measured() -> None:
    started = threading.Barrier(4)

    def work() -> None:
        started.wait(10)
        for _ in range(10):
            bert()(IDS)

    def together() -> None:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    p = measured(together)
    whole = [event for event in p.events() if event.name == "BertForSequenceClassification"]
    assert len(whole) == 40
    for thread in {event.thread for event in whole}:
        own = sum(event.self_cpu_time_total for event in p.events() if event.thread == thread)
        assert own == pytest.approx(sum(one.cpu_time_total for one in whole if one.thread == thread), abs=1)
    assert len({event.thread for event in whole}) == 4
    assert rows(p)["attention"].count == 40 * LAYERS


def test_asynchronous_calls_are_measured() -> None:
    async def both() -> None:
        await asyncio.gather(
            bert().forward_async(IDS), gpt2().generate_async(IDS, max_new_tokens=2, pad_token_id=0)
        )

    found = rows(measured(lambda: asyncio.run(both())))
    assert found["BertForSequenceClassification"].count == found["generate"].count == 1


def test_the_trace_nests(tmp_path: Path) -> None:
    def work() -> None:
        thread = threading.Thread(target=lambda: bert()(IDS))
        thread.start()
        gpt2().generate(IDS[:1], max_new_tokens=3, pad_token_id=0)
        thread.join()

    p = measured(work)
    path = tmp_path / "trace.json"
    p.export_chrome_trace(path)
    trace = json.loads(path.read_text())
    events = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    assert len(events) == len(p.events())
    assert {"cpu_op", "module", "user_annotation"} == {event["cat"] for event in events}
    linear = next(event for event in events if event["name"] == "linear")
    assert linear["args"]["Input Dims"][1]
    assert linear["args"]["flops"] > 0
    threads = {event["tid"] for event in events}
    assert len(threads) == 2
    for thread in threads:
        ends: list[int] = []
        for event in (event for event in events if event["tid"] == thread):
            start, length = (round(event[key] * 1000) for key in ("ts", "dur"))
            while ends and ends[-1] <= start:
                ends.pop()
            assert not ends or start + length <= ends[-1], event
            ends.append(start + length)
    with pytest.raises(OSError, match="No such file"):
        p.export_chrome_trace(tmp_path / "nowhere" / "trace.json")


def test_tables() -> None:
    p = measured(lambda: bert()(IDS))
    assert re.search(r"^Name +Self CPU % +Self CPU .* GFLOP/s +GB/s$", p.table(), re.MULTILINE)
    assert "Self CPU time total: " in str(p)
    assert "bert.encoder.layer.0" in str(p)
    assert p.table(row_limit=1, sort_by="flops").splitlines()[3].startswith("linear")
    assert len(p.table(row_limit=2).splitlines()) == 7
    assert "Input Shapes" in p.table(group_by_input_shape=True)
    assert p.key_averages().table(sort_by="count", row_limit=3).splitlines()[0].startswith("---")
    assert p.key_averages()[-1].key == list(p.key_averages())[-1].key
    assert "events in" in repr(p)


def test_what_cannot_be_is_refused() -> None:
    p = tf.profile()
    with pytest.raises(RuntimeError, match="with statement"):
        p.table()
    with p:
        with pytest.raises(RuntimeError, match="running"):
            p.events()
        with pytest.raises(RuntimeError, match="another one"), p:
            pass
    with pytest.raises(ValueError, match=r'"self_cpu_time_total", .* got "cuda_time_total"'):
        p.table(sort_by="cuda_time_total")
    with pytest.raises(ValueError, match="pass one of the two"):
        p.key_averages(group_by_input_shape=True, group_by_module=True)
    with pytest.raises(IndexError):
        p.key_averages()[1000]

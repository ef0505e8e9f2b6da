"""Trainings take the same steps as transformers' Trainer."""

from pathlib import Path

import curve_cases
import numpy as np
import pytest

import trustformers as tf

RECORDED = curve_cases.recorded()


@pytest.mark.parametrize("case", curve_cases.CURVES, ids=lambda case: case.name)
def test_losses_are_transformers(case: curve_cases.Curve, tmp_path: Path) -> None:
    fields = dict(case.config)
    config = tf.AutoConfig.for_model(fields.pop("model_type"), **fields)
    model = getattr(tf, case.model)(config)
    shapes = {name: tuple(value.shape) for name, value in model.named_parameters()}
    model.load_state_dict(case.weights(shapes), strict=False)
    args = tf.TrainingArguments(str(tmp_path), **case.arguments)
    trainer = tf.Trainer(model, args, train_dataset=case.examples())
    trainer.train()
    steps = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert len(steps) == curve_cases.STEPS
    expected = RECORDED[case.name]
    assert np.mean(expected["loss"][-7:]) < 0.97 * np.mean(expected["loss"][:7]), "something is learned"
    for name, tolerance in (("learning_rate", 1e-9), ("loss", 1e-4), ("grad_norm", 5e-3)):
        np.testing.assert_allclose([entry[name] for entry in steps], expected[name], rtol=tolerance)

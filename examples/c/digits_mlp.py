"""A perceptron for the 8x8 digits, trained and used by main.c: no Python once it is emitted.

    gradwright compile digits_mlp.py --target c --batch 32 --optimizer momentum --out build

In this folder, `make run` does that, builds main.c, trains and predicts.
"""

import gradwright as gw


@gw.network
def digits_mlp(x: gw.f32["batch", 64], label: gw.i32["batch"]):
    h = gw.relu(gw.dense(x, 48, name="fc1"))
    logits = gw.dense(h, 10, name="fc2")
    return gw.outputs(loss=gw.cross_entropy(logits, label), logits=logits)

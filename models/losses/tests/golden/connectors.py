#!/usr/bin/env python3
"""Initial weights of connectors, and margins of OFD, written a second time, for tests/connectors.rs and tests/golden_maps.rs.

    pip install torch==2.15.0 torchvision==0.29.2
    python connectors.py              # writes connectors.json beside this file

Weights: Philox4x32-10 (Salmon et al., SC 2011) in Python's integers, Box-Muller with Python's math. Margins: the mean of a normal variable
where it is below zero, by torch.special.ndtr in f64, as the authors of OFD compute it with scipy.stats.norm.
"""

import json
import math
import pathlib

import torch

MASK = 0xFFFFFFFF


def philox(key, counter):
    k, c = list(key), list(counter)
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & MASK, (a >> 32) ^ c[3] ^ k[1], a & MASK]
        k = [(k[0] + 0x9E3779B9) & MASK, (k[1] + 0xBB67AE85) & MASK]
    return c


def fnv1a(text):
    h = 0xCBF29CE484222325
    for b in text.encode():
        h = ((h ^ b) * 0x100000001B3) % 2**64
    return h


def conv1x1(seed, name, c_in, c_out):
    key = seed ^ fnv1a(name)
    values = []
    for pair in range((c_in * c_out + 1) // 2):
        words = philox((key & MASK, key >> 32), (0, 0x636F6E6E, pair & MASK, pair >> 32))
        radius = math.sqrt(-2 * math.log((words[0] + 0.5) / 2**32)) * math.sqrt(2 / c_in)
        angle = 2 * math.pi * words[1] / 2**32
        values += [radius * math.cos(angle), radius * math.sin(angle)]
    return values[: c_in * c_out]


assert philox((0, 0), (0, 0, 0, 0)) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]  # Random123, kat_vectors
weights = [
    {"seed": seed, "name": name, "c_in": c_in, "c_out": c_out, "values": conv1x1(seed, name, c_in, c_out)}
    for seed, name, c_in, c_out in [(0, "hint", 3, 4), (7, "layer2/conv", 16, 5), (2**64 - 1, "ö", 1, 9)]
]

gamma = torch.tensor([1.0, 0.5, -2.0, 1.5, 0.25, 0.1, 1.0, 1.0, 3.0, 2.0], dtype=torch.float64)
beta = torch.tensor([0.0, 0.3, -1.0, 4.0, -2.5, 0.4, 3.09, -8.5, 9.0, -30.0], dtype=torch.float64)
z = beta / gamma.abs()
negative = torch.special.ndtr(-z)
density = torch.exp(-z * z / 2) / math.sqrt(2 * math.pi)
margins = torch.where(negative > 0.001, beta - gamma.abs() * density / negative, -3 * gamma.abs())
assert (negative <= 0.001).any()

golden = {
    "made_with": {"torch": torch.__version__},
    "weights": weights,
    "margins": {"scale": gamma.tolist(), "shift": beta.tolist(), "margins": margins.tolist()},
}
pathlib.Path(__file__).with_name("connectors.json").write_text(json.dumps(golden, indent=1) + "\n")

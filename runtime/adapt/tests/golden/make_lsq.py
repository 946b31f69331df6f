"""Fake quantization and its gradients as PyTorch computes them, for weights per channel with learned scales.

    python3 make_lsq.py            # writes lsq.json beside this file; needs torch (recorded with the version named in the file)

Oracle: torch._fake_quantize_learnable_per_channel_affine, PyTorch's LSQ (Esser et al., ICLR 2020): y = s * clamp(rne(w / s)),
dw where rne(w / s) is within the clamp, ds = dy * (rne(w / s) - w / s) there and dy * clamp elsewhere, times a gradient factor.
Limbeck's graph has y / s and a scale s0 * exp(theta), so the test multiplies by s what it compares.

w has values far beyond the clamp, on its ends, and near a half.
"""

import json
import os

import numpy as np
import torch

rng = np.random.default_rng(5)
cases = []
for name, dims, axis, qmax in [
    ("conv_int4", (4, 3, 2, 2), 0, 7),
    ("conv_int8", (3, 2, 3, 3), 0, 127),
    ("matmul_int4", (6, 5), 1, 7),
]:
    channels = dims[axis]
    s = rng.uniform(0.02, 0.2, channels).astype(np.float32)
    shape = [1] * len(dims)
    shape[axis] = channels
    w = (rng.normal(0, 0.6 * qmax, dims) * s.reshape(shape)).astype(np.float32)
    flat = w.reshape(-1)
    along = np.broadcast_to(s.reshape(shape), dims).reshape(-1)
    flat[0] = qmax * along[0]          # on the end
    flat[1] = (qmax + 0.4) * along[1]  # beyond, but rounded to the end
    flat[2] = -(qmax + 3) * along[2]   # saturated
    flat[3] = 2.45 * along[3]          # nearly a half (torch multiplies by 1 / s, and may round a half itself otherwise)
    dy = rng.normal(0, 1, dims).astype(np.float32)
    factor = float(1.0 / np.sqrt(w.size / channels * qmax))
    tw, ts = torch.tensor(w, requires_grad=True), torch.tensor(s, requires_grad=True)
    zero = torch.zeros(channels, requires_grad=True)
    y = torch._fake_quantize_learnable_per_channel_affine(tw, ts, zero, axis, -qmax, qmax, factor)
    y.backward(torch.tensor(dy))
    listed = lambda a: [float(v) for v in np.asarray(a, dtype=np.float32).reshape(-1)]
    cases.append({
        "name": name, "dims": list(dims), "axis": axis, "qmax": qmax, "w": listed(w), "s": listed(s), "dy": listed(dy),
        "y": listed(y.detach().numpy()), "dw": listed(tw.grad.numpy()), "ds": listed(ts.grad.numpy()),
    })

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "lsq.json"), "w") as f:
    json.dump({"torch": torch.__version__, "cases": cases}, f, indent=None)
    f.write("\n")

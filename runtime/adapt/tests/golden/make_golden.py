#!/usr/bin/env python3
"""Losses, gradients and training losses of small networks by PyTorch, for tests/pytorch.rs.

    pip install numpy onnx torch==2.15.0 torchvision==0.29.2
    python make_golden.py [NET ...]           # all of them, beside this file; about two minutes

For every net:
    NET.onnx  the graph as PyTorch exports it, without weights: they are graph inputs, with their shapes
    NET.txt   tensors, losses, gradients (norm and products with four random vectors), losses of ten training steps
    NET.bin   whole gradients of the case "both", little-endian f32, of the tensors that NET.txt marks as whole

Weights, samples and random vectors come from a counter: splitmix64, the k-th stream started at mix(k). The Rust test
draws the same numbers, so none of them is stored. PyTorch computes in f64 from f32 weights: what the test measures is the
error of our f32 alone. Where an activation lies on the kink of a ReLU to within f32, two right answers differ by a
thousandth; so the samples are the first run of numbers (`first`) on which PyTorch's own f32 agrees with its f64. Batch
norm is folded, as it is in everything that Limbeck trains.
"""
import copy, io, os, re, sys
import numpy as np, onnx, torch, torchvision
from functools import partial
from torch import nn
import torch.nn.functional as F
from torchvision.models.mobilenetv3 import InvertedResidual, InvertedResidualConfig

HERE = os.path.dirname(os.path.abspath(__file__))
BATCH, STEPS, VECTORS, WHOLE = 4, 10, 4, 64
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
# Streams: tensor k of a net, sample i's input, its teacher logits, random vector j of tensor k.
TENSOR, INPUT, TEACHER, VECTOR = 0, 1 << 20, 2 << 20, 3 << 20


def mix(z):
    with np.errstate(over="ignore"):
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def uniform(stream, n):
    """n numbers in [-1, 1), multiples of 2^-23: exact in f32."""
    with np.errstate(over="ignore"):
        start = mix(np.array([stream], np.uint64) + GOLDEN)
        bits = mix(start + np.arange(1, n + 1, dtype=np.uint64) * GOLDEN) >> np.uint64(40)
    return (bits.astype(np.float64) / 2**23 - 1).astype(np.float32)


def conv(i, o, k, stride=1, groups=1):
    return nn.Conv2d(i, o, k, stride, k // 2, groups=groups)


class ResNet8(nn.Module):
    """MLPerf Tiny image classification."""
    shape = (3, 32, 32)

    def __init__(self):
        super().__init__()
        self.stem = conv(3, 16, 3)
        self.blocks = nn.ModuleList()
        for i, o, s in ((16, 16, 1), (16, 32, 2), (32, 64, 2)):
            self.blocks.append(nn.ModuleList([conv(i, o, 3, s), conv(o, o, 3), nn.Identity() if s == 1 else conv(i, o, 1, s)]))
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        x = F.relu(self.stem(x))
        for a, b, skip in self.blocks:
            x = F.relu(skip(x) + b(F.relu(a(x))))
        return self.fc(x.mean((2, 3)))


class DsCnn(nn.Module):
    """MLPerf Tiny keyword spotting."""
    shape = (1, 49, 10)

    def __init__(self):
        super().__init__()
        layers = [nn.Conv2d(1, 64, (10, 4), 2, (4, 1)), nn.ReLU()]
        for _ in range(4):
            layers += [conv(64, 64, 3, 1, 64), nn.ReLU(), conv(64, 64, 1), nn.ReLU()]
        self.features, self.fc = nn.Sequential(*layers), nn.Linear(64, 12)

    def forward(self, x):
        return self.fc(self.features(x).mean((2, 3)))


def mobilenetv2():
    net = torchvision.models.mobilenet_v2(width_mult=0.35, num_classes=10, norm_layer=nn.Identity)
    net.shape = (3, 96, 96)
    return net


class MobileNetV3Blocks(nn.Module):
    """Blocks of MobileNetV3-small: squeeze and excite, hard sigmoid, hard swish, 5x5, a residual."""
    shape = (3, 48, 48)

    def __init__(self):
        super().__init__()
        block = lambda *a: InvertedResidual(InvertedResidualConfig(*a, 1, 1.0), nn.Identity)
        self.stem = conv(3, 16, 3, 2)
        self.blocks = nn.Sequential(
            block(16, 3, 16, 16, True, "RE", 2), block(16, 3, 72, 24, False, "RE", 2),
            block(24, 5, 96, 40, True, "HS", 2), block(40, 5, 120, 40, True, "HS", 1))
        self.fc1, self.fc2 = nn.Linear(40, 64), nn.Linear(64, 10)

    def forward(self, x):
        x = self.blocks(F.hardswish(self.stem(x)))
        return self.fc2(F.hardswish(self.fc1(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))))


class UNet(nn.Module):
    """Two levels down by max pooling; up by a transposed convolution, then by bilinear interpolation."""
    shape = (3, 32, 32)

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = conv(3, 8, 3), conv(8, 16, 3), conv(16, 32, 3)
        self.up = nn.ConvTranspose2d(32, 16, 2, 2)
        self.d, self.e, self.head = conv(32, 16, 3), conv(24, 8, 3), conv(8, 3, 1)

    def forward(self, x):
        a = F.relu(self.a(x))
        b = F.relu(self.b(F.max_pool2d(a, 2)))
        c = F.relu(self.c(F.max_pool2d(b, 2)))
        d = F.relu(self.d(torch.cat((self.up(c), b), 1)))
        d = F.interpolate(d, scale_factor=2, mode="bilinear")
        return torch.flatten(self.head(F.relu(self.e(torch.cat((d, a), 1)))), 1)


class Dense(nn.Module):
    """x w + b with w (in, out): a MatMul and an Add in ONNX, names kept."""
    def __init__(self, i, o):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.empty(i, o)), nn.Parameter(torch.empty(o))

    def forward(self, x):
        return torch.matmul(x, self.weight) + self.bias


class Block(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads, self.norm1, self.norm2 = heads, nn.LayerNorm(d), nn.LayerNorm(d)
        self.q, self.k, self.v, self.out = (Dense(d, d) for _ in range(4))
        self.up, self.down = Dense(d, 2 * d), Dense(2 * d, d)

    def forward(self, x):
        n, t, d = x.shape
        y = self.norm1(x)
        split = lambda z: z.reshape(n, t, self.heads, d // self.heads).transpose(1, 2)
        q, k, v = split(self.q(y)), split(self.k(y)), split(self.v(y))
        y = F.softmax(q @ k.transpose(2, 3) * (d // self.heads) ** -0.5, -1) @ v
        x = x + self.out(y.transpose(1, 2).reshape(n, t, d))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class TinyViT(nn.Module):
    """Patches of 8, width 64, 2 blocks, 4 heads, mean of the tokens."""
    shape = (3, 32, 32)

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 64, 8, 8)
        self.position = nn.Parameter(torch.empty(1, 16, 64))
        self.blocks = nn.Sequential(Block(64, 4), Block(64, 4))
        self.norm, self.fc = nn.LayerNorm(64), nn.Linear(64, 10)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2) + self.position
        return self.fc(self.norm(self.blocks(x)).mean(1))


NETS = {
    "resnet8": ResNet8, "dscnn": DsCnn, "mobilenetv2": mobilenetv2,
    "mobilenetv3_blocks": MobileNetV3Blocks, "unet": UNet, "tiny_vit": TinyViT,
}
# name: (T, weight of KL times T squared, weight of cross-entropy)
CASES = {"kl": (4.0, 1.0, 0.0), "both": (4.0, 1.0, 0.5)}
# net: rule: learning rate, halved until PyTorch's f32 and f64 agree to a tenth of the test's tolerance: where the loss leaps, they part.
RATES = {
    "resnet8": {"sgd": 0.002, "adamw": 1e-3},
    "dscnn": {"sgd": 0.005, "adamw": 1e-3},
    "mobilenetv2": {"sgd": 0.005, "adamw": 1e-4},
}
# Weight decay of matrices and kernels.
DECAYS = {"sgd": 1e-3, "adamw": 1e-2}


def with_biases(net):
    """A folded batch norm leaves a bias behind."""
    for m in net.modules():
        if isinstance(m, nn.Conv2d) and m.bias is None:
            m.bias = nn.Parameter(torch.zeros(m.out_channels))
    return net.eval()


def draw(net):
    """Fill every parameter: offset + scale * uniform, rounded to f32 at each step. Returns (name, scale, offset)."""
    drawn = []
    for k, (name, p) in enumerate(net.named_parameters()):
        scale, offset = 0.1, 0.0
        if "norm" in name and name.endswith("weight"):
            offset = 1.0
        elif p.dim() >= 2 and name != "position":
            owner = net.get_submodule(name.rsplit(".", 1)[0])
            fan_in = p.shape[0] if isinstance(owner, (Dense, nn.ConvTranspose2d)) else int(np.prod(p.shape[1:]))
            # He where a ReLU follows (all but MobileNet's projections), so that activations and gradients keep their size.
            projects = isinstance(net, torchvision.models.MobileNetV2) and re.fullmatch(r"features\.\d+\.conv\.[12]\.weight", name)
            scale = float(np.float32(((1 if projects else 6) / fan_in) ** 0.5))
        values = uniform(TENSOR + k, p.numel()) * np.float32(scale) + np.float32(offset)
        p.data = torch.from_numpy(values.reshape(p.shape))
        drawn.append((name, np.float32(scale), np.float32(offset)))
    return drawn


def samples(indices, shape, classes):
    x = np.stack([uniform(INPUT + i, int(np.prod(shape))).reshape(shape) for i in indices])
    teacher = np.stack([uniform(TEACHER + i, classes) * np.float32(4) for i in indices])
    return torch.from_numpy(x).double(), torch.from_numpy(teacher).double(), torch.tensor([i % classes for i in indices])


def loss_of(net, case, batch):
    (t, soft, hard), (x, teacher, label) = case, batch
    z = net(x)
    kl = F.kl_div(F.log_softmax(z / t, 1), F.softmax(teacher / t, 1), reduction="batchmean")
    return soft * t * t * kl + hard * F.cross_entropy(z, label)


def first_without_kinks(net):
    """Number of the first sample of a batch whose gradients are the same in f32 and f64 to a tenth of the test's tolerance."""
    exact = copy.deepcopy(net).double()
    classes = exact(torch.zeros(1, *net.shape, dtype=torch.float64)).shape[1]
    for first in range(0, 100 * BATCH, BATCH):
        x, teacher, label = samples(range(first, first + BATCH), net.shape, classes)
        wide = torch.autograd.grad(loss_of(exact, CASES["both"], (x, teacher, label)), list(exact.parameters()))
        narrow = torch.autograd.grad(loss_of(net, CASES["both"], (x.float(), teacher.float(), label)), list(net.parameters()))
        all_ = sum(w.norm() ** 2 for w in wide) ** 0.5
        if all((n - w).norm() <= 1e-5 * w.norm() + 1e-7 * all_ for n, w in zip(narrow, wide)):
            return first
    raise SystemExit("every batch meets a kink")


def export(net, path):
    file = io.BytesIO()
    torch.onnx.export(net, torch.zeros(1, *net.shape), file, dynamo=False, opset_version=17, input_names=["x"],
                      output_names=["logits"], dynamic_axes={"x": {0: "N"}, "logits": {0: "N"}})
    model = onnx.load_from_string(file.getvalue())
    names = dict(net.named_parameters())
    kept = []
    for tensor in model.graph.initializer:
        if tensor.name in names:
            model.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, onnx.TensorProto.FLOAT, tensor.dims))
        else:
            kept.append(tensor)
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    missing = set(names) - {i.name for i in model.graph.input}
    assert not missing, f"the export renamed {missing}"
    onnx.save(model, path)


def train(net, rule, rate, batch, dtype):
    """Losses of ten steps on one batch, from the weights of `net`."""
    net = copy.deepcopy(net).to(dtype)
    batch = (batch[0].to(dtype), batch[1].to(dtype), batch[2])
    decays = lambda p: sum(n > 1 for n in p.shape) > 1
    groups = [{"params": [p for p in net.parameters() if decays(p)], "weight_decay": DECAYS[rule]},
              {"params": [p for p in net.parameters() if not decays(p)], "weight_decay": 0.0}]
    optimiser = (torch.optim.SGD(groups, rate, momentum=0.9) if rule == "sgd" else
                 torch.optim.AdamW(groups, rate, betas=(0.9, 0.999), eps=1e-8))
    losses = []
    for _ in range(STEPS):
        optimiser.zero_grad()
        loss = loss_of(net, CASES["both"], batch)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def make(net_name):
    base = os.path.join(HERE, net_name)
    net = with_biases(NETS[net_name]())
    drawn = draw(net)
    export(net, base + ".onnx")
    first = first_without_kinks(net)
    net = net.double()
    classes = net(torch.zeros(1, *net.shape, dtype=torch.float64)).shape[1]
    names = [name for name, _ in net.named_parameters()]
    whole = {n for n, p in net.named_parameters() if net_name == "resnet8" or p.numel() <= WHOLE}
    out = [f"# {net_name} by torch {torch.__version__}, torchvision {torchvision.__version__}; see make_golden.py"]
    out.append("input " + " ".join(map(str, net.shape)))
    out.append(f"classes {classes}")
    out.append(f"batch {first} {BATCH}")
    for (name, scale, offset), p in zip(drawn, net.parameters()):
        out.append(f"tensor {name} {scale!s} {offset!s} {'whole' if name in whole else 'part'} {' '.join(map(str, p.shape))}")
    batch = samples(range(first, first + BATCH), net.shape, classes)
    for case_name, case in CASES.items():
        net.zero_grad()
        loss = loss_of(net, case, batch)
        loss.backward()
        out.append(f"case {case_name} {case[0]} {case[1]} {case[2]} {loss.item()!r}")
        for k, (name, p) in enumerate(net.named_parameters()):
            g = p.grad.flatten().numpy()
            dots = [float(g @ uniform(VECTOR + k * VECTORS + j, g.size).astype(np.float64)) for j in range(VECTORS)]
            out.append(f"gradient {name} {float(np.linalg.norm(g))!r} " + " ".join(repr(d) for d in dots))
    with open(base + ".bin", "wb") as f:
        for name, p in net.named_parameters():
            if name in whole:
                f.write(p.grad.flatten().numpy().astype("<f4").tobytes())
    for rule, rate in RATES.get(net_name, {}).items():
        losses, narrow = (train(net, rule, rate, batch, dtype) for dtype in (torch.float64, torch.float32))
        while max(abs(n - w) / w for n, w in zip(narrow, losses)) > 1e-5:
            rate /= 2
            losses, narrow = (train(net, rule, rate, batch, dtype) for dtype in (torch.float64, torch.float32))
        out.append(f"training {rule} {rate} {DECAYS[rule]} " + " ".join(map(repr, losses)))
    with open(base + ".txt", "w") as f:
        f.write("\n".join(out) + "\n")
    print(net_name, len(names), "tensors,", sum(p.numel() for p in net.parameters()), "values")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for net_name in sys.argv[1:] or NETS:
        make(net_name)

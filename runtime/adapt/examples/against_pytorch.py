#!/usr/bin/env python3
"""Our training step and PyTorch's, alternately in one run, and the ratios.

    cargo build --profile dist --workspace --example time_step
    pip install torch torchvision                              # large
    python against_pytorch.py TIME_STEP MODELS [--rounds 3] [--batch 1 8 64] [--models resnet8 dscnn mobilenetv2_96]

TIME_STEP is the built example, MODELS a folder with resnet8.onnx, dscnn.onnx and mobilenetv2_96.onnx: the networks below with batch norm
folded. One thread, all weights trained (`--last N`: the last N tensors), SGD with momentum, KL to given logits, batch norm frozen. Each
round runs both, one after the other, each in a process of its own; a ratio is that of the two medians over the rounds, of processor time
per image. Memory: the most that the process held (PyTorch's holds its library; ours the example, the model and a forward net beside).
"""
import argparse
import statistics
import subprocess
import sys

PEER = r'''
import resource, sys, time
import torch
from torch import nn
import torch.nn.functional as F

def conv_bn(i, o, k, stride, groups=1):
    return nn.Sequential(nn.Conv2d(i, o, k, stride, k // 2, groups=groups, bias=False), nn.BatchNorm2d(o))

class ResNet8(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = conv_bn(3, 16, 3, 1)
        self.blocks = nn.ModuleList()
        for i, o, s in ((16, 16, 1), (16, 32, 2), (32, 64, 2)):
            skip = nn.Identity() if s == 1 else conv_bn(i, o, 1, s)
            self.blocks.append(nn.ModuleList([conv_bn(i, o, 3, s), conv_bn(o, o, 3, 1), skip]))
        self.fc = nn.Linear(64, 10)
    def forward(self, x):
        x = F.relu(self.stem(x))
        for a, b, skip in self.blocks:
            x = F.relu(skip(x) + b(F.relu(a(x))))
        return self.fc(x.mean((2, 3)))

class DsCnn(nn.Module):
    def __init__(self):
        super().__init__()
        layers = [nn.Conv2d(1, 64, (10, 4), 2, (4, 1)), nn.BatchNorm2d(64), nn.ReLU()]
        for _ in range(4):
            layers += [conv_bn(64, 64, 3, 1, 64), nn.ReLU(), conv_bn(64, 64, 1, 1), nn.ReLU()]
        self.features, self.fc = nn.Sequential(*layers), nn.Linear(64, 12)
    def forward(self, x):
        return self.fc(self.features(x).mean((2, 3)))

name, batch, last, n = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
torch.manual_seed(0)
torch.set_num_threads(1)
if name == "resnet8":
    net, shape = ResNet8(), (3, 32, 32)
elif name == "dscnn":
    net, shape = DsCnn(), (1, 49, 10)
else:
    import torchvision
    net, shape = torchvision.models.mobilenet_v2(width_mult=0.35), (3, 96, 96)
net.eval()
weights = list(net.parameters())
for w in weights[: len(weights) - last if last else 0]:
    w.requires_grad_(False)
x = torch.randn(batch, *shape)
target = F.softmax(torch.randn_like(net(x).detach()), 1)
optimiser = torch.optim.SGD([w for w in weights if w.requires_grad], 0.01, momentum=0.9)
samples = []
for i in range(n + 3):
    start = time.process_time()
    optimiser.zero_grad()
    F.kl_div(F.log_softmax(net(x), 1), target, reduction="batchmean").backward()
    optimiser.step()
    if i >= 3:
        samples.append((time.process_time() - start) * 1e3 / batch)
samples.sort()
print(samples[len(samples) // 2], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
'''


def ours(program, model, batch, last, n):
    command = [program, model, "--batch", str(batch), "-n", str(n)] + (["--last", str(last)] if last else [])
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\n")
    return dict(pair.split("=") for pair in [line for line in lines if line][-1].split())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("time_step")
    parser.add_argument("folder")
    parser.add_argument("--models", nargs="+", default=["resnet8", "dscnn", "mobilenetv2_96"])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--last", type=int, default=0, help="train the last N tensors only")
    parser.add_argument("--rounds", type=int, default=3)
    a = parser.parse_args()
    print("model batch | ours ms/image, PyTorch ms/image, times faster | step/forward | ours MiB, PyTorch MiB, times less | allocations, heap MiB")
    for model in a.models:
        for batch in a.batch:
            n = {1: 60, 8: 20}.get(batch, 7)
            mine, theirs, memory = [], [], []
            for _ in range(a.rounds):
                mine.append(ours(a.time_step, f"{a.folder}/{model}.onnx", batch, a.last, n))
                peer = subprocess.run(
                    [sys.executable, "-c", PEER, model, str(batch), str(a.last), str(n)], check=True, capture_output=True, text=True
                ).stdout.split()
                theirs.append(float(peer[0]))
                memory.append(float(peer[1]))
            median = lambda key: statistics.median(float(m[key]) for m in mine)
            ms, peer_ms, rss, peer_rss = median("ms_per_image"), statistics.median(theirs), median("rss_mib"), max(memory)
            print(
                f"{model} {batch} | {ms:.3f} {peer_ms:.3f} {peer_ms / ms:.2f} | {median('ratio'):.2f} | "
                f"{rss:.1f} {peer_rss:.0f} {peer_rss / rss:.1f} | {mine[0]['allocations']} {mine[0]['heap_mib']}",
                flush=True,
            )


if __name__ == "__main__":
    main()

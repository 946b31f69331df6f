#!/usr/bin/env python3
"""Losses over feature maps and their gradients by implementations that are not ours, for tests/golden_maps.rs.

    pip install torch==2.15.0 torchvision==0.29.2 torchdistill==1.1.5
    python maps.py                    # writes maps.json beside this file

A case has the recipe's options, student taps, teacher keys, the loss, dL/d student, and who computed it: an unmodified class of torchdistill
where it has one, else the paper's formula written out in PyTorch's operators (marked "formula"), differentiated by autograd. All in f64.
`factor` is what the class's number is multiplied by where its reduction is another than ours, and `why` says so.
"""

import hashlib
import json
import pathlib

import torch
import torch.nn.functional as F
import torchdistill
from torchdistill.losses import mid_level
from torchdistill.models.wrapper import Regressor4VID

HERE = pathlib.Path(__file__).parent
torch.manual_seed(20261125)
torch.set_default_dtype(torch.float64)
cases = []


def draw(*dims):
    """Values of a batch, with both signs."""
    return torch.randn(dims) * 1.5


def case(name, options, student, teacher, loss, source, factor=1.0, why=""):
    """Evaluate `loss` of the student's tensors and keep it with its gradients."""
    student = [s.clone().requires_grad_(True) for s in student]
    value = loss(student, teacher) * factor
    value.backward()

    def batch(x):
        return {"dims": list(x.shape[1:]), "values": x.detach().flatten().tolist()}

    cases.append({
        "name": name, "options": options, "source": source, "factor": factor, "why": why,
        "student": [batch(s) for s in student], "teacher": [batch(t) for t in teacher],
        "loss": value.item(), "gradients": [s.grad.flatten().tolist() for s in student],
    })


def at_paths(values, name="m"):
    """What torchdistill's hooks hand to a loss: outputs of modules m0, m1, ..."""
    return {f"{name}{i}": {"output": v} for i, v in enumerate(values)}


def path(i):
    return {"io": "output", "path": f"m{i}"}


def paired(build):
    """A loss over one pair of modules."""
    return lambda student, teacher: build({"pair": {"student": path(0), "teacher": path(0), "weight": 1}})(
        at_paths(student), at_paths(teacher))


def pooled(loss, size):
    """RepDistiller's way with maps of different sizes: the larger is pooled to the smaller, then the loss."""
    def shrink(x):
        return F.adaptive_avg_pool2d(x, size)
    return lambda student, teacher: loss([shrink(s) for s in student], [shrink(t) for t in teacher])


# FitNets: PyTorch's own
for name, s, t in [("equal", (3, 4, 5, 3), (3, 4, 5, 3)), ("student_larger", (2, 3, 6, 4), (2, 3, 3, 2)), ("teacher_larger", (2, 3, 2, 2), (2, 3, 4, 6))]:
    size = tuple(min(a, b) for a, b in zip(s[2:], t[2:]))
    mean = pooled(lambda student, teacher: F.mse_loss(student[0], teacher[0]), size)
    case(f"fitnets_{name}", 'kind = "fitnets"', [draw(*s)], [draw(*t)], mean, "torch mse_loss")

# AT: both modes
for form in ["code", "paper"]:
    attention = paired(lambda pairs: mid_level.ATLoss(at_pairs=pairs, mode=form))
    options = f'kind = "at"\nform = "{form}"\nteacher = "features"'
    case(f"at_{form}", options, [draw(3, 4, 3, 5)], [draw(3, 6, 3, 5)], attention, "torchdistill ATLoss")
    case(f"at_{form}_one_sample", options, [draw(1, 2, 4, 4)], [draw(1, 2, 4, 4)], attention, "torchdistill ATLoss")
    case(f"at_{form}_pooled", options, [draw(2, 3, 4, 6)], [draw(2, 5, 2, 3)], pooled(attention, (2, 3)), "torchdistill ATLoss")
    # The same student and teacher, the teacher reduced before: the mean of squares stands in the answers file
    features = draw(3, 6, 3, 5)
    case(f"at_{form}_cached", f'kind = "at"\nform = "{form}"', [draw(3, 4, 3, 5)], [features.pow(2).mean(1, keepdim=True)],
         lambda student, teacher: attention(student, [features]), "torchdistill ATLoss", why="the teacher's key is mean_c F^2 of the features that the class saw")

# FSP: torchdistill, and RepDistiller's reduction as a formula
pairs = {"pair": {"student_first": path(0), "student_second": path(1), "teacher_first": path(0), "teacher_second": path(1), "weight": 1}}


def fsp_mean_square(student, teacher):
    def matrix(first, second):
        size = tuple(min(a, b) for a, b in zip(first.shape[2:], second.shape[2:]))
        first, second = F.adaptive_avg_pool2d(first, size), F.adaptive_avg_pool2d(second, size)
        return torch.einsum("bihw,bjhw->bij", first, second) / (size[0] * size[1])
    return (matrix(*student) - matrix(*teacher)).pow(2).mean()


for name, layers in [("equal", [(3, 4, 4), (2, 4, 4)]), ("even", [(3, 6, 4), (4, 3, 2)]), ("uneven", [(2, 5, 4), (3, 3, 3)])]:
    def draw_layers():
        return [draw(3, *dims) for dims in layers]
    case(f"fsp_column_norm_{name}", 'kind = "fsp"\nform = "column-norm"', draw_layers(), draw_layers(),
         lambda student, teacher: mid_level.FSPLoss(pairs)(at_paths(student), at_paths(teacher)), "torchdistill FSPLoss")
    case(f"fsp_mean_square_{name}", 'kind = "fsp"', draw_layers(), draw_layers(), fsp_mean_square, "formula: CVPR 2017 equation 1, mean of squares")


# NST: the paper's matrix form, which is not the form that Limbeck computes
def nst(student, teacher):
    def gram(x):
        q = F.normalize(x.flatten(2), dim=2)
        return torch.einsum("bci,bcj->bij", q, q) / q.shape[1]
    return (gram(student[0]) - gram(teacher[0])).pow(2).sum((1, 2)).mean()


case("nst", 'kind = "nst"', [draw(3, 4, 3, 3)], [draw(3, 4, 3, 3)], nst, "formula: arXiv 1707.01219, |M_s - M_t|_F^2")
case("nst_channels_differ", 'kind = "nst"', [draw(2, 3, 4, 2)], [draw(2, 5, 4, 2)], nst, "formula: arXiv 1707.01219, |M_s - M_t|_F^2")
case("nst_pooled", 'kind = "nst"', [draw(2, 3, 4, 4)], [draw(2, 5, 2, 2)], pooled(nst, (2, 2)), "formula: arXiv 1707.01219, |M_s - M_t|_F^2")


# VID: the class takes the variance, which torchdistill's regressor makes of its parameter
def vid(student, teacher):
    mu, rho = student
    variance = (torch.log(1.0 + torch.exp(rho)) + regressor.eps)[:, :, None, None]
    loss = mid_level.VIDLoss({"pair": {"student": path(0), "teacher": path(0), "weight": 1}})
    return loss({"m0": {"output": (mu, variance)}}, at_paths(teacher))


regressor = Regressor4VID(4, 4, 4, eps=1e-5, init_pred_var=5.0)
# Its parameter at the beginning: the first value of Vid::rho(5.0)
begin = regressor.soft_plus_param[0].item()
for name, rho in [("drawn", draw(3, 4) * 2), ("beginning", torch.full((3, 4), begin)), ("large", draw(3, 4) + 15)]:
    case(f"vid_{name}", 'kind = "vid"', [draw(3, 4, 3, 2), rho], [draw(3, 4, 3, 2)], vid, "torchdistill VIDLoss")

# AB
for margin in [1.0, 0.5]:
    boundary = paired(lambda p: mid_level.AltActTransferLoss(p, margin=margin, reduction="mean"))
    case(f"ab_margin_{margin}", f'kind = "ab"\nmargin = {margin}', [draw(3, 4, 3, 3)], [(draw(3, 4, 3, 3) > 0).double()], boundary, "torchdistill AltActTransferLoss")
case("ab_features", 'kind = "ab"', [draw(2, 3, 2, 4)], [draw(2, 3, 2, 4)], paired(lambda p: mid_level.AltActTransferLoss(p, margin=1.0, reduction="mean")), "torchdistill AltActTransferLoss")


# OFD: written case by case as in the paper, not with the mask of the authors' program
def ofd(margins=None):
    def loss(student, teacher):
        s, t = student[0], teacher[0]
        if margins is None:
            negative = t < 0
            m = (t * negative).sum((0, 2, 3)) / negative.sum((0, 2, 3)).clamp(min=1)
        else:
            m = torch.tensor(margins)
        target = torch.where(t > 0, t, torch.maximum(t, m[None, :, None, None]))
        far = torch.where(target > 0, (s - target) ** 2, torch.where(s <= target, torch.zeros_like(s), (s - target) ** 2))
        return far.sum() / s.shape[0]
    return loss


case("ofd_from_batch", 'kind = "ofd"', [draw(3, 4, 3, 3)], [draw(3, 4, 3, 3)], ofd(), "formula: ICCV 2019, margin ReLU and partial L2")
case("ofd_no_negatives", 'kind = "ofd"', [draw(2, 3, 2, 2)], [draw(2, 3, 2, 2).abs()], ofd(), "formula: ICCV 2019, margin ReLU and partial L2")
case("ofd_margins", 'kind = "ofd"\nmargins = [-0.25, -1.5, -0.75]', [draw(3, 3, 4, 2)], [draw(3, 3, 4, 2)], ofd([-0.25, -1.5, -0.75]), "formula: ICCV 2019, margin ReLU and partial L2")

# FT
for p in [1, 2]:
    def factors(student, teacher):
        return mid_level.FTLoss(p=p)({"translator": {"output": student[0]}}, {"paraphraser": {"output": teacher[0]}})
    case(f"ft_p{p}", f'kind = "ft"\np = {p}', [draw(3, 4, 3, 2)], [draw(3, 4, 3, 2)], factors, "torchdistill FTLoss")
    case(f"ft_p{p}_pooled", f'kind = "ft"\np = {p}', [draw(2, 3, 2, 2)], [draw(2, 3, 4, 4)], pooled(factors, (2, 2)), "torchdistill FTLoss")


# ReviewKD: one class a tap
def review(output_sizes=None):
    def loss(student, teacher):
        losses = [mid_level.HierarchicalContextLoss(f"m{i}", "output", f"m{i}", "output", output_sizes=output_sizes) for i in range(len(student))]
        return sum(one({f"m{i}": {"output": (s, None)}}, at_paths(teacher)) for i, (one, s) in enumerate(zip(losses, student)))
    return loss


shapes = [(2, 2, 8, 8), (2, 3, 5, 5), (2, 4, 2, 2), (2, 5, 1, 1)]
case("review_kd", 'kind = "review-kd"', [draw(*s) for s in shapes], [draw(*s) for s in shapes], review(), "torchdistill HierarchicalContextLoss")
case("review_kd_sizes", 'kind = "review-kd"\ntaps = 1\nsizes = [3, 2]', [draw(2, 3, 6, 6)], [draw(2, 3, 6, 6)], review([3, 2]), "torchdistill HierarchicalContextLoss")
case("review_kd_uneven", 'kind = "review-kd"\ntaps = 1', [draw(3, 2, 7, 7)], [draw(3, 2, 7, 7)], review(), "torchdistill HierarchicalContextLoss")

# ICKD
correlation = paired(mid_level.ChSimLoss)
case("ickd_mean_twice", 'kind = "ickd"\nreduction = "mean-twice"', [draw(3, 4, 3, 3)], [draw(3, 4, 3, 3)], correlation, "torchdistill ChSimLoss")
case("ickd_mean", 'kind = "ickd"', [draw(3, 4, 3, 3)], [draw(3, 4, 3, 3)], correlation, "torchdistill ChSimLoss", factor=3.0,
     why="the class divides by B twice, ours once: times B = 3")
case("ickd_sizes_differ", 'kind = "ickd"\nreduction = "mean-twice"', [draw(2, 3, 4, 4)], [draw(2, 3, 2, 5)], correlation, "torchdistill ChSimLoss")

source = pathlib.Path(mid_level.__file__).read_bytes()
made_with = {"torch": torch.__version__, "torchdistill": torchdistill.__version__, "sha256 of torchdistill/losses/mid_level.py": hashlib.sha256(source).hexdigest()}
lines = ",\n".join(json.dumps(c) for c in cases)
(HERE / "maps.json").write_text(f'{{"made_with": {json.dumps(made_with)},\n"cases": [\n{lines}\n]}}\n')
print(len(cases), "cases")

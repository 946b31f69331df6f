#!/usr/bin/env python3
"""Losses over logits and vectors by implementations that are not ours, for tests/golden_logits.rs.

    pip install torch==2.15.0 numpy && pip install torchdistill==1.1.5 --no-deps
    python logits.py            # writes logits.json beside this file, in f64

Every case: what the loss is given, as the Rust test reads it; `by`, whose loss it is; `times`, what its value is multiplied by where
its reduction is another one; the loss and dL/d student. `by` is torchdistill where it has the class. Else it is PyTorch's autograd of the
published formula, written here once more and in another way than in Rust: masks, explicit probabilities, torch's own loss functions.
"""
import hashlib, json, math, os
import torch
import torch.nn.functional as F
import torchdistill
from torchdistill.losses import mid_level as td

HERE = os.path.dirname(os.path.abspath(__file__))
WHEEL = "fc95f6f877aad22a2b7c3476677ba0df80aa91961efc02afb5a53c8f27f123d9"  # torchdistill-1.1.5-py3-none-any.whl
torch.set_default_dtype(torch.float64)
torch.manual_seed(20260101)
cases = []


def value(x):
    return {"dims": list(x.shape[1:]), "values": x.detach().flatten().tolist()}


def case(name, text, by, loss, student, teacher, labels=None, progress=(50, 100, 10), times=1.0, top=None):
    """`loss` of fresh leaves of `student`, and its gradient."""
    leaves = [s.clone().requires_grad_() for s in student]
    found = times * loss(*leaves)
    found.backward()
    cases.append({
        "name": name, "text": text, "by": by, "times": times,
        "student": [value(s) for s in student], "teacher": [value(t) for t in teacher], "top_k": top,
        "labels": labels, "progress": list(progress),
        "loss": found.item(), "gradients": [value(s.grad)["values"] for s in leaves],
    })


def module(cls, **options):
    """A torchdistill loss of one student and one teacher output."""
    paths = {}
    if cls in (td.RKDLoss, td.SPKDLoss):
        paths = dict(student_output_path="m", teacher_output_path="m")
    elif cls is td.CCKDLoss:
        paths = dict(student_linear_path="m", teacher_linear_path="m")
    else:
        paths = dict(student_module_path="m", student_module_io="output",
                     teacher_module_path="m", teacher_module_io="output")
    loss = cls(**paths, **options)
    return lambda t: lambda s: loss({"m": {"output": s}}, {"m": {"output": t}})


B, C = 6, 10
s, t = 2.0 * torch.randn(B, C), 3.0 * torch.randn(B, C)
y = torch.randint(0, C, (B,))
labels = y.tolist()
onehot = F.one_hot(y, C).bool()

# --- logits -----------------------------------------------------------------------------------------------------------
for T in (1.0, 4.0, 7.5):
    case(f"kd at {T}", f"kind = \"kd\"\ntemperature = {T}", "torchdistill KDLoss without alpha, which leaves T^2 out",
         module(td.KDLoss, temperature=T, beta=1.0)(t), [s], [t], times=T * T)
case("logit-mse", "kind = \"logit-mse\"", "F.mse_loss of centred logits",
     lambda s: F.mse_loss(s - s.mean(1, keepdim=True), t - t.mean(1, keepdim=True)), [s], [t])
case("cross-entropy", "kind = \"cross-entropy\"", "F.cross_entropy", lambda s: F.cross_entropy(s, y), [s], [], labels)

K = 4
z = t - t.max(1, keepdim=True).values
order = torch.argsort(z, dim=1, descending=True)
kept = []
for b in range(B):
    row = order[b].tolist()
    if labels[b] not in row[:K]:
        row = [c for c in row if c != labels[b]]
        row.insert(K - 1, labels[b])
    kept.append(row)
listed = torch.tensor(kept)[:, :K]
inside = torch.zeros(B, C, dtype=torch.bool).scatter_(1, listed, True)
top = {
    "classes": C, "k": K, "index": listed.flatten().tolist(), "z": z.gather(1, listed).flatten().tolist(),
    "lse": torch.logsumexp(z, 1).tolist(),
    "tail_lse": torch.stack([torch.logsumexp((z / T).masked_fill(inside, -math.inf), 1) for T in (1., 2., 4.)], 1).flatten().tolist(),
    "mean": z.mean(1).tolist(), "sd": z.std(1).tolist(),
}


def bins(x, T):
    """K listed probabilities and that of all others."""
    p = F.softmax(x / T, 1)
    return torch.cat([p.gather(1, listed), (p * ~inside).sum(1, keepdim=True)], 1)


for T in (1.0, 2.0, 4.0):
    case(f"kd of the {K} largest at {T}", f"kind = \"kd\"\ntemperature = {T}", "F.kl_div of K + 1 bins",
         lambda s: F.kl_div(bins(s, T).log(), bins(t, T), reduction="batchmean"), [s], [], labels, times=T * T, top=top)
case("kd with a uniform tail", "kind = \"kd\"\ntemperature = 2.0\ntail = \"uniform\"", "F.kl_div",
     lambda s: F.kl_div(F.log_softmax(s / 2, 1), torch.where(inside, F.softmax(t / 2, 1), bins(t, 2)[:, -1:] / (C - K)),
                        reduction="batchmean"), [s], [], labels, times=4.0, top=top)
case("kd of renormalised listed probabilities", "kind = \"kd\"\ntemperature = 2.0\ntail = \"renormalise\"", "F.kl_div",
     lambda s: F.kl_div(F.log_softmax(s / 2, 1), F.softmax((t / 2).masked_fill(~inside, -math.inf), 1),
                        reduction="batchmean"), [s], [], labels, times=4.0, top=top)


def dkd(s, t, T, alpha, beta):
    """Zhao et al. equation 7, with other classes masked by -1000 as mmrazor's DKDLoss and the authors' code mask them."""
    p, q = F.softmax(t / T, 1), F.softmax(s / T, 1)
    pair = lambda p: torch.stack([(p * onehot).sum(1), (p * ~onehot).sum(1)], 1)
    tckd = F.kl_div(pair(q).log(), pair(p), reduction="batchmean")
    nckd = F.kl_div(F.log_softmax(s / T - 1000.0 * onehot, 1), F.softmax(t / T - 1000.0 * onehot, 1), reduction="batchmean")
    return T * T * (alpha * tckd + beta * nckd)


by = "autograd of Zhao et al. equation 7, masked as mmrazor's DKDLoss"
case("dkd", "kind = \"dkd\"\nwarm_up = 0", by, lambda s: dkd(s, t, 4.0, 1.0, 8.0), [s], [t], labels)
case("dkd of ImageNet", "kind = \"dkd\"\nwarm_up = 0\ntemperature = 1\nbeta = 0.5", by,
     lambda s: dkd(s, t, 1.0, 1.0, 0.5), [s], [t], labels)
case("dkd in its third epoch of twenty", "kind = \"dkd\"", by, lambda s: dkd(s, t, 4.0, 1.0, 8.0), [s], [t], labels,
     progress=(25, 1000, 10), times=3 / 20)


def dkd_bins(s, T, alpha, beta):
    """The same of the listed classes and a bucket, which is one of the others."""
    p, q = bins(t, T), bins(s, T)
    own = torch.cat([listed == y[:, None], torch.zeros(B, 1, dtype=torch.bool)], 1)
    pair = lambda p: torch.stack([p[own], p[~own].view(B, -1).sum(1)], 1)
    others = lambda p: p[~own].view(B, -1) / p[~own].view(B, -1).sum(1, keepdim=True)
    kl = lambda p, q: (p * (p / q).log()).sum(1).mean()
    return T * T * (alpha * kl(pair(p), pair(q)) + beta * kl(others(p), others(q)))


case(f"dkd of the {K} largest", "kind = \"dkd\"\nwarm_up = 0", "autograd of the formula over K + 1 bins",
     lambda s: dkd_bins(s, 4.0, 1.0, 8.0), [s], [], labels, top=top)
for tau, beta, gamma in ((1.0, 1.0, 1.0), (3.0, 0.5, 2.0)):
    case(f"dist at {tau}", f"kind = \"dist\"\ntemperature = {tau}\nbeta = {beta}\ngamma = {gamma}", "torchdistill DISTLoss",
         module(td.DISTLoss, tau=tau, beta=beta, gamma=gamma)(t), [s], [t])
for T in (2.0, 4.0):
    case(f"logit-std at {T}", f"kind = \"logit-std\"\ntemperature = {T}",
         "torchdistill LogitStdKDLoss without alpha, which leaves T^2 out",
         module(td.LogitStdKDLoss, temperature=T, beta=1.0)(t), [s], [t], times=T * T)


def wsld(s, T, soft):
    with torch.no_grad():
        ce_s, ce_t = F.cross_entropy(s, y, reduction="none"), F.cross_entropy(t, y, reduction="none")
        weight = 1 - torch.exp(-ce_s / (ce_t + 1e-7))
    return T * T * (weight * soft(s, T)).mean()


by = "autograd of Zhou et al. equation 9, the weight detached as in mmrazor's WSLD"
case("wsld", "kind = \"wsld\"", by,
     lambda s: wsld(s, 2.0, lambda s, T: F.cross_entropy(s / T, F.softmax(t / T, 1), reduction="none")), [s], [t], labels)
case(f"wsld of the {K} largest", "kind = \"wsld\"\ntemperature = 4", by + ", over K + 1 bins",
     lambda s: wsld(s, 4.0, lambda s, T: -(bins(t, T) * bins(s, T).log()).sum(1)), [s], [], labels, top=top)
for T, tikhonov in ((4.0, 0.1), (1.0, 0.5)):
    case(f"skd at {T}", f"kind = \"skd\"\ntemperature = {T}\ntikhonov = {tikhonov}",
         "torchdistill SKDInstanceLoss + SKDDirectionLoss, mode paper",
         lambda s: module(td.SKDInstanceLoss, temperature=T)(t)(s) + module(td.SKDDirectionLoss, tikhonov=tikhonov)(t)(s), [s], [t])


def by_hand(a):
    return torch.where(onehot, torch.tensor(a), torch.tensor((1 - a) / (C - 1)))


case("virtual-teacher", "kind = \"virtual-teacher\"", "nn.KLDivLoss as the authors' loss_kd_regularization calls it",
     lambda s: torch.nn.KLDivLoss()(F.log_softmax(s, 1), F.softmax(by_hand(0.99) / 20, 1)), [s], [], labels, times=1000.0)
soft = by_hand(0.9) ** (1 / 5)
case("virtual-teacher, tempered", "kind = \"virtual-teacher\"\nform = \"tempered\"\ntemperature = 5\ncorrect = 0.9", "F.kl_div",
     lambda s: F.kl_div(F.log_softmax(s / 5, 1), soft / soft.sum(1, keepdim=True), reduction="batchmean"), [s], [], labels,
     times=25.0)
case("ps-kd in its sixth epoch of ten", "kind = \"ps-kd\"", "F.cross_entropy of mixed targets",
     lambda s: F.cross_entropy(s, (1 - 0.48) * onehot + 0.48 * F.softmax(t, 1)), [s], [t], labels, progress=(50, 100, 10))

# --- vectors ----------------------------------------------------------------------------------------------------------
f, g, h = torch.randn(5, 7), torch.randn(5, 7), torch.randn(5, 11)
m = torch.randn(5, 3, 2, 2)
for name, x in (("sp", f), ("sp of maps", m)):
    case(name + ", l1", "kind = \"sp\"\nnorm = \"l1\"", "torchdistill SPKDLoss, batchmean, which normalises by sums of magnitudes",
         module(td.SPKDLoss, reduction="batchmean")(h), [x], [h])
    like = lambda x: F.normalize(x.flatten(1) @ x.flatten(1).T)
    case(name, "kind = \"sp\"", "F.mse_loss of Tung and Mori equations 2 to 4", lambda s: F.mse_loss(like(s), like(h)), [x], [h])
for distance, angle in ((25.0, 50.0), (1.0, 0.0), (0.0, 2.0)):
    case(f"rkd {distance} {angle}", f"kind = \"rkd\"\ndistance = {distance}\nangle = {angle}", "torchdistill RKDLoss, mean",
         module(td.RKDLoss, dist_factor=distance, angle_factor=angle, reduction="mean")(h), [f], [h])
wide = f.clone()
wide[0] *= 30
case("rkd with an outlier", "kind = \"rkd\"", "torchdistill RKDLoss, mean",
     module(td.RKDLoss, dist_factor=25.0, angle_factor=50.0, reduction="mean")(h), [wide], [h])


def pkt(s):
    loss = td.PKTLoss("m", "output", "m", "output")
    return loss({"m": {"output": s}}, {"m": {"output": h.clone()}})


case("pkt", "kind = \"pkt\"", "torchdistill PKTLoss", pkt, [f], [h])
for gamma, order in ((0.4, 2), (0.2, 4)):
    kernel = {"type": "gaussian", "gamma": gamma, "max_p": order}
    case(f"cc rbf-root {order}", f"kind = \"cc\"\nform = \"rbf-root\"\ngamma = {gamma}\norder = {order}",
         "torchdistill CCKDLoss, batchmean", module(td.CCKDLoss, kernel_config=kernel, reduction="batchmean")(h), [f], [h])


def kernel(x):
    x = F.normalize(x)
    return sum(math.exp(-0.8) * 0.8 ** p / math.factorial(p) * (x @ x.T) ** p for p in range(3))


case("cc rbf", "kind = \"cc\"\nform = \"rbf\"", "F.mse_loss of Peng et al. equation 9",
     lambda s: F.mse_loss(kernel(s), kernel(h)), [f], [h])


def correlation(s):
    delta = torch.abs(s - g)
    return (delta[:-1] * delta[1:]).sum(1).mean()


case("cc difference", "kind = \"cc\"", "autograd of RepDistiller's formula", correlation, [f], [g])


def srd(exponent, norm):
    loss = td.SRDLoss("f", "o", "f", "o", "l", "o", "l", "o", exponent=exponent)
    none = torch.zeros(1, 3)  # equal logits: its KL term is zero
    return lambda s: loss({"f": {"o": norm(s)}, "l": {"o": none}}, {"f": {"o": norm(g)}, "l": {"o": none}})


by = "torchdistill SRDLoss, which is 2 L + KL"
case("srd", "kind = \"srd\"", by + ", of F.batch_norm", srd(4.0, lambda x: F.batch_norm(x, None, None, training=True)),
     [f], [g], times=0.5)
case("srd without normalisation", "kind = \"srd\"\nbatch_norm = false\nexponent = 3", by, srd(3.0, lambda x: x), [f], [g], times=0.5)


def edges(x):
    d = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").masked_fill(torch.eye(5, dtype=torch.bool), 0) ** 2
    return d / d.max()


def moved(x, y):
    v = ((x - y) ** 2).sum(1)
    return v / v.max()


f2, h2 = torch.randn(5, 7), torch.randn(5, 7)
case("irg", "kind = \"irg\"", "autograd of the formula of Knowledge-Distillation-Zoo's IRG for two layers, without its pooling",
     lambda a, b: 0.1 * F.mse_loss(b, h2) + 5 * (F.mse_loss(edges(a), edges(g)) + F.mse_loss(edges(b), edges(h2))) / 2
     + 5 * F.mse_loss(moved(a, b), moved(g, h2)), [f, f2], [g, h2])

# --- with memory ------------------------------------------------------------------------------------------------------
N, D, K, P = 8, 4, 5, 3
loss = td.CRDLoss("s", "s", "t", input_size=D, output_size=N, num_negative_samples=K, num_samples=N, temperature=0.07, momentum=0.5, eps=0.0)
single = lambda x: x.float().double()  # our banks are f32
loss.memory_v1, loss.memory_v2 = single(F.normalize(torch.randn(N, D))), single(F.normalize(torch.randn(N, D)))
crd = {"by": "torchdistill CRDLoss on F.normalize, with eps = 0, banks rounded to f32 between steps", "n": N, "d": D,
       "banks": [loss.memory_v1.flatten().tolist(), loss.memory_v2.flatten().tolist()], "steps": []}
for step in range(3):
    a, b = torch.randn(P, D).requires_grad_(), torch.randn(P, D).requires_grad_()
    own = torch.randperm(N)[:P]
    contrast = torch.randint(0, N, (P, K + 1))
    contrast[:, 0] = own
    supplement = {"pos_idx": own, "contrast_idx": contrast}
    found = loss({"s": {"output": F.normalize(a), "input": supplement}}, {"t": {"output": F.normalize(b)}}).sum()
    found.backward()
    loss.memory_v1, loss.memory_v2 = single(loss.memory_v1), single(loss.memory_v2)
    crd["steps"].append({
        "student": [value(a), value(b)], "own": own.tolist(), "negatives": contrast[:, 1:].tolist(), "loss": found.item(),
        "gradients": [value(a.grad)["values"], value(b.grad)["values"]],
        "banks": [loss.memory_v1.flatten().tolist(), loss.memory_v2.flatten().tolist()],
    })

# --- a discriminator --------------------------------------------------------------------------------------------------
games = []
for form in ("wgan-gp", "log", "hinge"):
    net = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.LeakyReLU(0.2), torch.nn.Linear(8, 5), torch.nn.LeakyReLU(0.2),
                              torch.nn.Linear(5, 1))
    real, fake = torch.randn(4, 6) + 0.5, torch.randn(4, 6).requires_grad_()
    e = torch.rand(4)
    d_real, d_fake = net(real).squeeze(1), net(fake.detach()).squeeze(1)
    if form == "wgan-gp":
        between = (e[:, None] * real + (1 - e[:, None]) * fake.detach()).requires_grad_()
        slope = torch.autograd.grad(net(between).sum(), between, create_graph=True)[0]
        of_net = d_fake.mean() - d_real.mean() + 10 * ((slope.norm(dim=1) - 1) ** 2).mean()
    elif form == "log":
        of_net = (F.binary_cross_entropy_with_logits(d_real, torch.ones(4))
                  + F.binary_cross_entropy_with_logits(d_fake, torch.zeros(4)))
    else:
        of_net = F.relu(1 - d_real).mean() + F.relu(1 + d_fake).mean()
    parameters = list(net.parameters())
    before = [p.detach().flatten().tolist() for p in parameters]
    gradients = torch.autograd.grad(of_net, parameters, allow_unused=True)
    flat = [x for p, d in zip(parameters, gradients) for x in (torch.zeros_like(p) if d is None else d).flatten().tolist()]
    d_fake = net(fake).squeeze(1)
    of_student = F.binary_cross_entropy_with_logits(d_fake, torch.ones(4)) if form == "log" else -d_fake.mean()
    of_student.backward()
    optimiser = torch.optim.Adam(parameters, lr=4e-4, betas=(0.0, 0.9))
    for _ in range(3):
        for p, d in zip(parameters, gradients):
            p.grad = torch.zeros_like(p) if d is None else d.clone()
        optimiser.step()
    games.append({
        "form": form, "by": "torch autograd with create_graph, torch.optim.Adam", "parameters": before, "e": e.tolist(),
        "student": value(fake), "teacher": value(real), "net_loss": of_net.item(), "net_gradient": flat,
        "loss": of_student.item(), "gradient": value(fake.grad)["values"],
        "after_three_equal_steps": [x for p in parameters for x in p.detach().flatten().tolist()],
    })

source = os.path.join(os.path.dirname(torchdistill.__file__), "losses", "mid_level.py")
head = {
    "made_by": "logits.py", "torch": torch.__version__.split("+")[0], "torchdistill": torchdistill.__version__,
    "sha256": {"torchdistill-1.1.5-py3-none-any.whl": WHEEL,
               "torchdistill/losses/mid_level.py": hashlib.sha256(open(source, "rb").read()).hexdigest()},
}
with open(os.path.join(HERE, "logits.json"), "w") as out:
    # A line a case, so that a change shows which
    lines = lambda items: "[\n" + ",\n".join(json.dumps(item) for item in items) + "\n]"
    out.write(json.dumps(head)[:-1] + ",\n\"cases\": " + lines(cases) + ",\n\"crd\": " + json.dumps(crd)
              + ",\n\"adversarial\": " + lines(games) + "}\n")
print(len(cases), "cases")

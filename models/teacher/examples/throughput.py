"""Teaching against onnxruntime on the same teacher and threads, in turn in one run; then bytes per view against the formulas.

    python throughput.py LIMBECK TEACHER.onnx IMAGES [--limit 2000] [--rounds 3] [--threads 2]

LIMBECK is the program (a build with optimisation: `cargo build --release -p limbeck-cli`), TEACHER.onnx has its card beside it, IMAGES is
an image folder. Needs numpy and onnxruntime. limbeck decodes and normalises every image and writes its answers; onnxruntime is only given
tensors that are in memory already, so it has the easier work. Rates are images a second; the last column is limbeck's over that row's.
"""

import argparse
import multiprocessing
import os
import re
import statistics
import subprocess
import tempfile
import time

import numpy
import onnxruntime


def session(model, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def infer(model, threads, batch, images):
    """Seconds for `images` images; loading is not counted."""
    net = session(model, threads)
    name, shape = net.get_inputs()[0].name, net.get_inputs()[0].shape[1:]
    x = numpy.random.default_rng(0).standard_normal((batch, *shape), dtype=numpy.float32)
    net.run(None, {name: x})
    start = time.perf_counter()
    for _ in range(images // batch):
        net.run(None, {name: x})
    return (time.perf_counter() - start) * images / (images // batch * batch)


def one_process(args):
    return infer(*args)


def ort(model, threads, processes, batch, images):
    """Images a second with `processes` processes of `threads` threads."""
    if processes == 1:
        return images / infer(model, threads, batch, images)
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        seconds = pool.map(one_process, [(model, threads, batch, images // processes)] * processes, chunksize=1)
    return images / max(seconds)


def limbeck(program, arguments):
    done = subprocess.run([program, "teach", *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    return done.stderr


def bytes_per_view(program, model, images, out, head):
    """From two files that differ in their number of samples only."""
    sizes = []
    for limit in (200, 400):
        file = os.path.join(out, f"bytes-{limit}.answers")
        limbeck(program, ["--teacher", model, "--data", images, "--limit", str(limit), "--head", head, "--out", file, "--restart"])
        sizes.append(os.path.getsize(file))
        os.remove(file)
    return (sizes[1] - sizes[0]) / 200


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("limbeck")
    parser.add_argument("model")
    parser.add_argument("images")
    parser.add_argument("--limit", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--head", action="append", default=[], help="HEAD==BYTES: a head and what its formula says")
    a = parser.parse_args()
    n, threads = a.limit, a.threads
    rows = {"limbeck teach": []}
    peers = {}
    for batch in (1, 16, 64):
        peers[f"onnxruntime, 1 process of {threads} threads, batch {batch}"] = (threads, 1, batch)
        peers[f"onnxruntime, {threads} processes of 1 thread, batch {batch}"] = (1, threads, batch)
    with tempfile.TemporaryDirectory() as out:
        for _ in range(a.rounds):
            file = os.path.join(out, "t.answers")
            said = limbeck(a.limbeck, ["--teacher", a.model, "--data", a.images, "--limit", str(n), "--threads", str(threads),
                                       "--out", file, "--restart"])
            os.remove(file)
            rows["limbeck teach"].append(float(re.search(r"([\d.]+) images/s", said).group(1)))
            for name, (t, p, batch) in peers.items():
                rows.setdefault(name, []).append(ort(a.model, t, p, batch, n))
        ours = statistics.median(rows["limbeck teach"])
        for name, rates in rows.items():
            rate = statistics.median(rates)
            print(f"{name:55} {rate:8.0f} /s   {min(rates):.0f}..{max(rates):.0f}   {ours / rate:.2f}")
        for pair in a.head:
            head, formula = pair.rsplit("==", 1)
            print(f"{head:30} {bytes_per_view(a.limbeck, a.model, a.images, out, head):10.2f} B/view, records {formula}")


if __name__ == "__main__":
    main()

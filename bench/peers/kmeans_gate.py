"""scikit-learn's KMeans and the same gate in PyTorch, one JSON line a run; and the data for both sides.

usage: kmeans_gate.py data FOLDER            x_kmeans.npy [20000, 768], x_gate.npy [11000, 768], y_gate.npy [11000, 8]
       kmeans_gate.py kmeans X.npy K STARTS SEED THREADS [lloyd|elkan]
       kmeans_gate.py mlp X.npy Y.npy EPOCHS SEED THREADS
Needs numpy; scikit-learn for kmeans, torch for mlp. Times are of fitting alone, after a short warm-up of each library.
"""
import json
import sys
import time

import numpy as np


def blobs(rng, n, d=768, k=24, noise=2.0):
    """k unequal Gaussian blobs on the unit sphere, where embeddings lie."""
    c = rng.standard_normal((k, d)).astype(np.float32)
    z = rng.choice(k, n, p=rng.dirichlet(np.full(k, 2.0)))
    x = c[z] + noise * rng.standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True), z


def data(folder):
    rng = np.random.default_rng(0)
    np.save(folder + "/x_kmeans.npy", blobs(rng, 20000)[0])
    x, z = blobs(rng, 11000)
    y = (rng.standard_normal((24, 8)) > 0.6)[z]
    np.save(folder + "/x_gate.npy", x)
    np.save(folder + "/y_gate.npy", np.where(rng.random(y.shape) < 0.03, ~y, y).astype(np.float32))


def kmeans(path, k, starts, seed, threads, algorithm="lloyd"):
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits
    x = np.load(path)
    with threadpool_limits(threads):
        KMeans(k, n_init=1, max_iter=2, random_state=0).fit(x[:2000])
        t, c = time.perf_counter(), time.process_time()
        m = KMeans(k, n_init=starts, random_state=seed, algorithm=algorithm).fit(x)
        return {"engine": "scikit-learn " + algorithm, "what": "kmeans", "s": time.perf_counter() - t,
                "cpu_s": time.process_time() - c, "threads": threads, "inertia": float(m.inertia_), "iterations": m.n_iter_}


def mlp(x, y, epochs, seed, threads):
    import torch
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    x, y = torch.from_numpy(np.load(x)), torch.from_numpy(np.load(y))
    net = torch.nn.Sequential(torch.nn.Linear(x.shape[1], 256), torch.nn.ReLU(), torch.nn.Linear(256, y.shape[1]))
    opt = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.01, fused=True)
    bce = torch.nn.BCEWithLogitsLoss()

    def epoch():
        total = 0.0
        order = torch.randperm(len(x))
        for i in range(0, len(x), 128):
            j = order[i:i + 128]
            loss = bce(net(x[j]), y[j])
            loss.backward()
            opt.step()
            opt.zero_grad(set_to_none=True)
            total += float(loss.detach()) * len(j) / len(x)
        return total

    bce(net(x[:128]), y[:128]).backward()
    opt.zero_grad(set_to_none=True)
    t, c = time.perf_counter(), time.process_time()
    for _ in range(epochs):
        loss = epoch()
    return {"engine": "torch " + torch.__version__, "what": "mlp", "s": time.perf_counter() - t,
            "cpu_s": time.process_time() - c, "threads": threads, "loss": loss}


if sys.argv[1] == "data":
    data(sys.argv[2])
elif sys.argv[1] == "kmeans":
    print(json.dumps(kmeans(sys.argv[2], *map(int, sys.argv[3:7]), *sys.argv[7:])))
else:
    print(json.dumps(mlp(sys.argv[2], sys.argv[3], *map(int, sys.argv[4:7]))))

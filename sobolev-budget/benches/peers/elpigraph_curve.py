"""A principal curve by ElPiGraph, the peers' side of the comparison at equal length.

    pip install elpigraph-python==0.3.4
    python elpigraph_curve.py POINTS.csv OUT.csv NODES

POINTS.csv holds a point a line, coordinates separated by commas, no header. OUT.csv gets the nodes of the curve in the
same form, from one end to the other. Prints one JSON object. `seconds` is wall time of the second of two equal calls,
`cpu_seconds` its processor time, `first_seconds` wall time of the first, which also compiles. One core: with several the
package is known to hang.
"""
import os

for name in ("NUMBA", "OMP", "OPENBLAS", "MKL"):
    os.environ[f"{name}_NUM_THREADS"] = "1"

import importlib.metadata
import json
import sys
import time

import elpigraph
import numpy as np


def walk(edges):
    """The nodes of a path in the order in which the edges pass them, from the end with the smaller number."""
    neighbours = {}
    for a, b in edges:
        neighbours.setdefault(a, []).append(b)
        neighbours.setdefault(b, []).append(a)
    ends = [node for node, near in neighbours.items() if len(near) == 1]
    assert len(ends) == 2 and all(len(near) <= 2 for near in neighbours.values()), "not a path"
    path, last = [min(ends)], None
    while step := [node for node in neighbours[path[-1]] if node != last]:
        last = path[-1]
        path.append(step[0])
    assert len(path) == len(neighbours), "not connected"
    return path


source, target, nodes = sys.argv[1], sys.argv[2], int(sys.argv[3])
points = np.loadtxt(source, delimiter=",", ndmin=2)
seconds, cpu_seconds = [], []
for _ in range(2):
    start, cpu_start = time.perf_counter(), time.process_time()
    curve = elpigraph.computeElasticPrincipalCurve(points, nodes, Mu=0.01, Lambda=0.001, n_cores=1)[0]
    seconds.append(time.perf_counter() - start)
    cpu_seconds.append(time.process_time() - cpu_start)
order = walk(curve["Edges"][0].tolist())
np.savetxt(target, curve["NodePositions"][order], delimiter=",", fmt="%.17g")
print(json.dumps(dict(
    peer="elpigraph-python", version=importlib.metadata.version("elpigraph-python"), seconds=seconds[1],
    cpu_seconds=cpu_seconds[1], first_seconds=seconds[0], nodes=len(order))))
